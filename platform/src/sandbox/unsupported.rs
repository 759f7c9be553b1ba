//! Systems without namespaces.

use super::{End, Ended, OnSignal, SandboxError};
use std::{ffi::OsString, io, net::IpAddr};

pub(super) fn missing() -> Vec<String> {
    vec![SandboxError::Unsupported.to_string()]
}

pub(super) fn confine(_arguments: &[OsString], _on_signal: OnSignal) -> Result<Ended, SandboxError> {
    Err(SandboxError::Unsupported)
}

pub(super) fn settle() -> Result<Link, SandboxError> {
    Err(SandboxError::Unsupported)
}

pub(super) fn small_disk(_path: &std::path::Path, _bytes: u64) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}

#[derive(Debug)]
pub(super) enum Link {}

impl Link {
    pub(super) fn report(&mut self, _bytes: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn asked_to_end(&self) -> bool {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum Namespace {}

impl Namespace {
    pub(super) fn new(_name: &str) -> Result<Self, SandboxError> {
        Err(SandboxError::Unsupported)
    }

    pub(super) fn name(&self) -> &str {
        match *self {}
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        _work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<crossbeam_channel::Receiver<T>, SandboxError> {
        match *self {}
    }
}

pub(super) fn cable(_a: &End<'_>, _b: &End<'_>) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}

pub(super) fn route(_: &super::Namespace, _: IpAddr, _: u8, _: IpAddr) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}

pub(super) fn mislead(_end: &End<'_>, _other: &End<'_>, _astray: bool) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}

pub(super) fn readdress(_: &super::Namespace, _: &str, _: (IpAddr, u8), _: (IpAddr, u8)) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}
