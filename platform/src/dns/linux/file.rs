//! `/etc/resolv.conf` under another text, with what is needed to put it back after a crash.
//!
//! ```text
//! STATE/resolv.conf.former   what was there: a copy, or the same symbolic link; absent when there was nothing
//! STATE/resolv.conf.ours     what we wrote; as long as it stands there, the former is to be put back
//! STATE/resolv.conf.next     what we are about to write
//! ```
//!
//! Both are on the disk before the file is changed, so that a process may be killed at any moment. What is found in the
//! file counts: if it is neither text of ours, somebody else has changed it, and it stays.

use crate::{dns::DnsError, files};
use nix::libc;
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// The file that is replaced, and where its former self is kept.
#[derive(Clone, Debug)]
pub(super) struct Held {
    path: PathBuf,
    former: PathBuf,
    ours: PathBuf,
    next: PathBuf,
}

impl Held {
    pub(super) fn new(path: &Path, state: &Path) -> Self {
        let kept = |name: &str| state.join(format!("resolv.conf.{name}"));
        Self { path: path.to_owned(), former: kept("former"), ours: kept("ours"), next: kept("next") }
    }

    /// Puts `text` in the file's place, keeping the former at the first time.
    pub(super) fn replace(&self, text: &str) -> Result<(), DnsError> {
        if exists(&self.ours) {
            if !self.in_place() {
                return Err(DnsError::Displaced { path: self.path.clone() });
            }
        } else {
            self.keep()?;
        }
        let note = |path: &Path| files::write_atomic(path, text.as_bytes()).map_err(failed("write", path));
        note(&self.next)?;
        if !exists(&self.ours) {
            note(&self.ours)?;
        }
        put(&self.path, text.as_bytes(), 0o644).map_err(failed("write", &self.path))?;
        fs::rename(&self.next, &self.ours).map_err(failed("write", &self.ours))
    }

    /// Whether the file is as we wrote it.
    pub(super) fn in_place(&self) -> bool {
        // A link is not what we wrote, whatever it points at.
        let plain = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        let Ok(found) = fs::read(&self.path) else { return false };
        let wrote = |path: &Path| fs::read(path).is_ok_and(|wrote| wrote == found);
        plain && (wrote(&self.ours) || wrote(&self.next))
    }

    /// The text that was there.
    pub(super) fn former(&self) -> Result<String, DnsError> {
        let target = fs::read_link(&self.former);
        super::read(&target.map_or_else(|_| self.former.clone(), |target| seen_from(&self.path, &target)))
    }

    /// Puts the former file back, unless somebody else has changed ours; true when it was put back.
    pub(super) fn restore(&self) -> Result<bool, DnsError> {
        if !exists(&self.ours) {
            return self.forget().map(|()| false);
        }
        let ours = self.in_place();
        if ours {
            self.put_back().map_err(failed("put back", &self.path))?;
        } else {
            tracing::warn!(path = %self.path.display(), "somebody else has changed it: it is left as it is");
        }
        self.forget().map(|()| ours)
    }

    fn put_back(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.former) {
            Ok(metadata) if metadata.is_symlink() => {
                let temporary = self.path.with_file_name(TEMPORARY);
                let _ = fs::remove_file(&temporary);
                symlink(fs::read_link(&self.former)?, &temporary)?;
                fs::rename(&temporary, &self.path)
            }
            Ok(metadata) => put(&self.path, &fs::read(&self.former)?, metadata.permissions().mode() & 0o777),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&self.path),
            Err(error) => Err(error),
        }
    }

    /// Keeps what is there now.
    fn keep(&self) -> Result<(), DnsError> {
        self.forget()?;
        let kept = match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_symlink() => {
                fs::read_link(&self.path).and_then(|target| symlink(target, &self.former))
            }
            Ok(metadata) => fs::read(&self.path).and_then(|bytes| {
                files::write_atomic(&self.former, &bytes)?;
                fs::set_permissions(&self.former, metadata.permissions())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        kept.map_err(failed("keep", &self.former))
    }

    /// Drops the notes; the one that says that something is to be put back goes first.
    fn forget(&self) -> Result<(), DnsError> {
        for path in [&self.ours, &self.next, &self.former] {
            files::remove_synced(path).map_err(failed("remove", path))?;
        }
        Ok(())
    }
}

/// Beside the file, until it takes its name.
const TEMPORARY: &str = ".resolv.conf.vestibule";

/// Where a link leads: a relative target is relative to the link's directory.
fn seen_from(link: &Path, target: &Path) -> PathBuf {
    link.parent().map_or_else(|| target.to_owned(), |parent| parent.join(target))
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Replaces the file as a whole; one that is a mount of its own, as in containers, is written over.
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_file_name(TEMPORARY);
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    let Err(error) = renamed else { return Ok(()) };
    let _ = fs::remove_file(&temporary);
    // A read-only /etc and a mount of its own: the file itself may be writable.
    let fixed = [libc::EBUSY, libc::EXDEV, libc::EROFS, libc::EACCES];
    if !error.raw_os_error().is_some_and(|code| fixed.contains(&code)) {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DnsError {
    let path = path.to_owned();
    move |cause| DnsError::File { action, path, cause }
}
