//! Where secrets rest: tunnel keys, the device key, service tokens.
//!
//! One file each, in a directory that is closed to others: of mode 0600 and 0700 on Linux; on Windows for the system and
//! administrators, content sealed by the machine's key. [`memory`] is the twin. What is read is zeroised when dropped; no
//! error and no `Debug` shows content.

mod file;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;

pub use file::FileStore;

use std::{io, path::PathBuf};
use zeroize::Zeroizing;

/// The longest secret, in bytes: room for an MDM file with its tokens, and a bound on what a damaged store makes us read.
pub const MAX_SECRET: usize = 1 << 20;

/// Keeps secrets by name. Names are 1 to 100 of `a-z`, `0-9`, `.`, `_`, `-`, and do not begin with a dot.
pub trait Secrets: Send + Sync {
    /// The secret called `name`; `None` when there is none.
    ///
    /// # Errors
    /// A bad name, or it cannot be read.
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError>;

    /// Stores `secret` under `name`, replacing what was there. It is on the disk when this returns.
    ///
    /// # Errors
    /// A bad name, too long, or it cannot be written; the former secret is kept then.
    fn put(&self, name: &str, secret: &[u8]) -> Result<(), SecretError>;

    /// Removes the secret; false when there was none.
    ///
    /// # Errors
    /// A bad name, or it cannot be removed.
    fn remove(&self, name: &str) -> Result<bool, SecretError>;
}

/// Why a secret could not be had or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// An unusable name.
    #[error("secret name {got:?} is not 1 to 100 of `a-z`, `0-9`, `.`, `_`, `-` without a leading dot")]
    Name {
        /// Asked for.
        got: String,
    },
    /// Too long to be one.
    #[error("secret {name:?} has {got} bytes, more than {MAX_SECRET}")]
    TooLong {
        /// Which.
        name: String,
        /// Its length.
        got: u64,
    },
    /// Somebody else has made it, who may read what is put there, or has put it there.
    #[error(
        "{} belongs to {owner}: expected the system, administrators or this user; look at what it is and remove it",
        path.display()
    )]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The store failed.
    #[error("failed to {action} {}: check owner, mode and free space", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}

/// Makes a directory that nobody but this service (and administrators) may enter, with its parents, or closes one that is
/// there to everybody else.
///
/// # Errors
/// It cannot be made, or is somebody else's.
pub fn private_directory(path: &std::path::Path) -> Result<(), SecretError> {
    imp::make_private(path)
}

fn check(name: &str) -> Result<(), SecretError> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (1..=100).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('.') {
        Ok(())
    } else {
        Err(SecretError::Name { got: name.chars().take(120).collect() })
    }
}

fn check_length(name: &str, length: u64) -> Result<(), SecretError> {
    if length <= MAX_SECRET as u64 { Ok(()) } else { Err(SecretError::TooLong { name: name.to_owned(), got: length }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{memory::MemoryStore, *};

    /// What both stores promise.
    fn keeps_secrets(store: &dyn Secrets) {
        assert_eq!(store.get("device-key").unwrap(), None);
        store.put("device-key", &[7; 32]).unwrap();
        store.put("token", b"").unwrap();
        assert_eq!(*store.get("device-key").unwrap().unwrap(), [7; 32]);
        assert!(store.get("token").unwrap().unwrap().is_empty());
        store.put("device-key", b"short").unwrap();
        assert_eq!(*store.get("device-key").unwrap().unwrap(), b"short");
        assert!(store.remove("device-key").unwrap());
        assert!(!store.remove("device-key").unwrap());
        assert_eq!(store.get("device-key").unwrap(), None);
        for bad in ["", ".hidden", "../up", "a/b", "UPPER", &"x".repeat(101)] {
            assert!(matches!(store.put(bad, b"x"), Err(SecretError::Name { .. })), "{bad:?}");
            assert!(matches!(store.get(bad), Err(SecretError::Name { .. })), "{bad:?}");
        }
        let long = vec![0; MAX_SECRET + 1];
        assert!(matches!(store.put("long", &long), Err(SecretError::TooLong { .. })));
    }

    #[test]
    fn the_memory_store_keeps_secrets() {
        keeps_secrets(&MemoryStore::default());
    }

    #[cfg(any(unix, windows))]
    #[test]
    fn the_file_store_keeps_secrets() {
        let scratch = crate::files::scratch::Scratch::new();
        keeps_secrets(&FileStore::open(&scratch.path("secrets")).unwrap());
    }

    #[test]
    fn no_content_is_shown() {
        let store = MemoryStore::default();
        store.put("token", b"hunter2").unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));
        let error = store.put("BAD", b"hunter2").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
