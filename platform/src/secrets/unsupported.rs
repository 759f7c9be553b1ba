//! Systems whose secret store is not written yet.

use super::SecretError;
use crate::Unsupported;
use std::{fs::File, io, path::Path};
use zeroize::Zeroizing;

const WHAT: Unsupported = Unsupported { what: "the secret store" };

pub(super) const SEAL: usize = 0;

pub(super) fn make_private(_: &Path) -> Result<(), SecretError> {
    Err(WHAT.into())
}

pub(super) fn check_owner(_: &File, _: &Path) -> Result<(), SecretError> {
    Err(WHAT.into())
}

pub(super) fn seal(_: &str, _: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    Err(WHAT.into())
}

pub(super) fn open(_: &str, _: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<Vec<u8>>> {
    Err(WHAT.into())
}
