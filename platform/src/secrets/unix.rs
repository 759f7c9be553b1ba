//! Mode 0700 for the directory, 0600 for the files; content as it is.

use super::SecretError;
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};
use zeroize::Zeroizing;

/// Makes the directory, or closes it to everybody else.
pub(super) fn make_private(directory: &Path) -> Result<(), SecretError> {
    let failed = |action| move |cause| SecretError::Io { action, path: directory.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make"))?;
    let found = fs::metadata(directory).map_err(failed("look at"))?;
    if found.permissions().mode() & 0o7777 != 0o700 {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed("close to others"))?;
    }
    Ok(())
}

/// The directory's mode keeps everybody else from putting files there.
#[allow(clippy::unnecessary_wraps, reason = "the signature is shared")]
pub(super) fn check_owner(_: &File, _: &Path) -> Result<(), SecretError> {
    Ok(())
}

/// How much longer what is stored may be than the secret.
pub(super) const SEAL: usize = 0;

#[allow(clippy::unnecessary_wraps, reason = "the signature is shared")]
pub(super) fn seal(_: &str, secret: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(secret.to_vec()))
}

#[allow(clippy::unnecessary_wraps, reason = "the signature is shared")]
pub(super) fn open(_: &str, stored: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(stored)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{
        files::scratch::Scratch,
        secrets::{FileStore, Secrets as _},
    };
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    #[test]
    fn directory_and_files_are_closed_to_others() {
        let scratch = Scratch::new();
        let directory = scratch.path("secrets");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let store = FileStore::open(&directory).unwrap();
        store.put("token", b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&directory), mode(&directory.join("token"))), (0o700, 0o600));
    }
}
