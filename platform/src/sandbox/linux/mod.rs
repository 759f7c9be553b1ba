//! Linux namespaces.

mod confine;
mod host;
mod link;

pub(super) use confine::{Link, confine, missing, settle, small_disk};
pub(super) use host::Namespace;
pub(super) use link::{cable, mislead, readdress, route};

use super::SandboxError;
use std::io;

/// Names the step in which a system call failed.
fn step<T>(step: &'static str, result: Result<T, impl Into<io::Error>>) -> Result<T, SandboxError> {
    result.map_err(|cause| SandboxError::Step { step, cause: cause.into() })
}
