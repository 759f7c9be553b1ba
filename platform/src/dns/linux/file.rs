//! `/etc/resolv.conf` under another text, with what is needed to put it back after a crash.
//!
//! ```text
//! STATE/resolv.conf.former   what was there: a copy, or the same symbolic link; absent when there was nothing
//! STATE/resolv.conf.ours     what we wrote; as long as it stands there, the former is to be put back
//! STATE/resolv.conf.next     what we are about to write
//! ```
//!
//! All are on the disk before the file is changed, so that a process may be killed at any moment. What is found in the
//! file counts: if it is neither text of ours, somebody else has changed it, and it stays. Where the notes are lost, the
//! file itself [tells](Former) what was there, and they are written again.

use super::former::Former;
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
    state: PathBuf,
    former: PathBuf,
    ours: PathBuf,
    next: PathBuf,
}

impl Held {
    pub(super) fn new(path: &Path, state: &Path) -> Self {
        let kept = |name: &str| state.join(format!("resolv.conf.{name}"));
        let (former, ours, next) = (kept("former"), kept("ours"), kept("next"));
        Self { path: path.to_owned(), state: state.to_owned(), former, ours, next }
    }

    /// Puts `text` in the file's place, keeping the former at the first time.
    pub(super) fn replace(&self, text: &str) -> Result<(), DnsError> {
        self.recall()?;
        if exists(&self.ours) {
            if !self.in_place() {
                return Err(DnsError::Displaced { path: self.path.clone() });
            }
        } else {
            self.keep()?;
        }
        let text = self.kept()?.noted_in(text, &self.state);
        let note = |path: &Path| files::write_atomic(path, &text).map_err(failed("write", path));
        note(&self.next)?;
        if !exists(&self.ours) {
            note(&self.ours)?;
        }
        put(&self.path, &text, 0o644).map_err(failed("write", &self.path))?;
        fs::rename(&self.next, &self.ours).map_err(failed("write", &self.ours))
    }

    /// Whether the file is as we wrote it.
    pub(super) fn in_place(&self) -> bool {
        // A link is not what we wrote, whatever it points at.
        let plain = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        let Ok(found) = fs::read(&self.path) else { return false };
        let wrote = |path: &Path| fs::read(path).is_ok_and(|wrote| wrote == found);
        let noted = exists(&self.ours);
        let ours = || wrote(&self.ours) || wrote(&self.next);
        plain && if noted { ours() } else { Former::told_by(&found, &self.state).is_some() }
    }

    /// Notes that were lost are written again from what the file tells.
    fn recall(&self) -> Result<(), DnsError> {
        let plain = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        if exists(&self.ours) || !plain {
            return Ok(());
        }
        let found = fs::read(&self.path).map_err(failed("read", &self.path))?;
        let Some(former) = Former::told_by(&found, &self.state) else { return Ok(()) };
        tracing::warn!(state = %self.state.display(), path = %self.path.display(), "notes were lost; the file tells");
        fs::create_dir_all(&self.state).map_err(failed("make", &self.state))?;
        files::remove_synced(&self.former).map_err(failed("remove", &self.former))?;
        former.keep_at(&self.former).map_err(failed("write", &self.former))?;
        files::write_atomic(&self.ours, &found).map_err(failed("write", &self.ours))
    }

    /// The text that was there.
    pub(super) fn former(&self) -> Result<String, DnsError> {
        self.recall()?;
        match self.kept()? {
            Former::None => Ok(String::new()),
            Former::Link(target) => super::read(&seen_from(&self.path, &target)),
            Former::File { bytes, .. } => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    fn kept(&self) -> Result<Former, DnsError> {
        Former::at(&self.former).map_err(failed("read", &self.former))
    }

    /// Puts the former file back, unless somebody else has changed ours; true when it was put back.
    pub(super) fn restore(&self) -> Result<bool, DnsError> {
        self.recall()?;
        if !exists(&self.ours) {
            return self.forget().map(|()| false);
        }
        let ours = self.in_place();
        if ours {
            self.put_back(&self.kept()?).map_err(failed("put back", &self.path))?;
        } else {
            tracing::warn!(path = %self.path.display(), "somebody else has changed it: it is left as it is");
        }
        self.forget().map(|()| ours)
    }

    fn put_back(&self, former: &Former) -> io::Result<()> {
        match former {
            Former::Link(target) => {
                let temporary = self.path.with_file_name(TEMPORARY);
                let _ = fs::remove_file(&temporary);
                symlink(target, &temporary)?;
                fs::rename(&temporary, &self.path)
            }
            Former::File { bytes, mode } => put(&self.path, bytes, *mode),
            Former::None => fs::remove_file(&self.path),
        }
    }

    /// Keeps what is there now.
    fn keep(&self) -> Result<(), DnsError> {
        self.forget()?;
        let kept = Former::at(&self.path).and_then(|former| former.keep_at(&self.former));
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
