//! One file per secret, atomic and synced.

use super::{MAX_SECRET, SecretError, Secrets, check, check_length};
use crate::files;
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Secrets in files of a directory that one process owns.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Opens the store, making the directory (and its parents) if need be, closing it to everybody else, and removing
    /// what a killed predecessor left half-written.
    ///
    /// # Errors
    /// The directory cannot be made, or is not ours.
    pub fn open(directory: &Path) -> Result<Self, SecretError> {
        let failed = |action| move |cause| SecretError::Io { action, path: directory.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make"))?;
        let found = fs::metadata(directory).map_err(failed("look at"))?;
        if found.permissions().mode() & 0o7777 != 0o700 {
            fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed("close to others"))?;
        }
        files::clean_temporaries(directory).map_err(failed("clean"))?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        check(name)?;
        Ok(self.directory.join(name))
    }
}

impl Secrets for FileStore {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        let path = self.path(name)?;
        let failed = |cause| SecretError::Io { action: "read", path: path.clone(), cause };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        check_length(name, length)?;
        // One byte more than the file has, so that reading to its end never moves the secret to a larger buffer.
        let mut secret = Zeroizing::new(Vec::with_capacity(MAX_SECRET.min(length as usize) + 1));
        let room = secret.capacity() as u64;
        file.by_ref().take(room).read_to_end(&mut secret).map_err(failed)?;
        Ok(Some(secret))
    }

    fn put(&self, name: &str, secret: &[u8]) -> Result<(), SecretError> {
        let path = self.path(name)?;
        check_length(name, secret.len() as u64)?;
        files::write_atomic(&path, secret).map_err(|cause| SecretError::Io { action: "write", path, cause })
    }

    fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let path = self.path(name)?;
        files::remove_synced(&path).map_err(|cause| SecretError::Io { action: "remove", path, cause })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::scratch::Scratch;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directory_and_files_are_closed_to_others() {
        let scratch = Scratch::new();
        let directory = scratch.path("secrets");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let store = FileStore::open(&directory).unwrap();
        store.put("token", b"x").unwrap();
        assert_eq!((mode(&directory), mode(&directory.join("token"))), (0o700, 0o600));
    }

    #[test]
    fn the_half_written_secret_of_a_killed_process_is_ignored_and_cleaned() {
        let scratch = Scratch::new();
        let directory = scratch.path("secrets");
        FileStore::open(&directory).unwrap().put("token", b"whole").unwrap();
        let half = directory.join(".token.4711-0.tmp");
        fs::write(&half, b"ha").unwrap();
        let store = FileStore::open(&directory).unwrap();
        assert_eq!(*store.get("token").unwrap().unwrap(), b"whole");
        assert!(!half.exists());
    }

    #[test]
    fn a_blown_up_file_is_refused_before_it_is_read() {
        let scratch = Scratch::new();
        let store = FileStore::open(&scratch.path("secrets")).unwrap();
        fs::write(scratch.path("secrets/token"), vec![0; MAX_SECRET + 1]).unwrap();
        let got = MAX_SECRET as u64 + 1;
        assert!(matches!(store.get("token"), Err(SecretError::TooLong { got: found, .. }) if found == got));
    }
}
