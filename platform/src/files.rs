//! Files that are either the old or the new, whenever the process or the machine dies.

#[cfg(windows)]
use crate::win32::security;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};
#[cfg(windows)]
use windows_sys::Win32::{Foundation::GENERIC_WRITE, Storage::FileSystem::WRITE_DAC};
use zeroize::Zeroizing;

/// How a temporary file's name ends; it begins with a dot.
const TEMPORARY: &str = ".tmp";

/// Replaces the file at `path` by `bytes`: readable and writable by its owner alone (mode 0600; on Windows the system,
/// administrators, and a user who is none), whole or not at all, and on the disk when this returns.
///
/// # Errors
/// The directory is missing, not writable, or full. The former file is untouched then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path)?;
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing more can be done about it; a later start cleans up.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_parent(path)
}

/// What an administrator has put at `path`, the first `most` bytes of it.
///
/// On Windows anybody may make files and directories where the vendor's are (`C:\ProgramData`), so a file that belongs to
/// neither the system, nor administrators, nor this process's user is refused.
///
/// # Errors
/// There is no such file, it is somebody else's, or it cannot be read.
pub fn read_trusted(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    #[cfg(windows)]
    security::check_owner(std::os::windows::io::AsHandle::as_handle(&file))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that grows by whole lines: readable and writable by its owner alone (mode 0600). A line is with the system when
/// [`line`](Self::line) returns, so it outlives the process; a machine that loses power may lose the last ones.
#[derive(Debug)]
pub struct Growing(File);

impl Growing {
    /// Opens the file, making it if need be.
    ///
    /// # Errors
    /// The directory is missing or not writable.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map(Self)
    }

    /// Adds a line, which must not hold a line feed.
    ///
    /// # Errors
    /// The disk is full or failed. Part of the line may be there then.
    pub fn line(&mut self, text: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(text.len() + 1);
        line.extend_from_slice(text);
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// Removes the file; false when there was none. The removal is on the disk when this returns.
///
/// # Errors
/// The directory is not writable.
pub fn remove_synced(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what writers that were killed have left in `directory`. Only one process may write there.
///
/// # Errors
/// The directory cannot be listed, or a file in it not be removed.
pub fn clean_temporaries(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The permission bits of the file at `path`; `None` on systems whose files have none.
///
/// # Errors
/// There is no such file.
pub fn mode(path: &Path) -> io::Result<Option<u32>> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    let mode = Some(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777);
    #[cfg(not(unix))]
    let mode = Some(metadata).and(None);
    Ok(mode)
}

/// Makes `link` a symbolic link to the file `original`.
///
/// # Errors
/// The system refuses, as Windows does to users without that privilege, or only pretends, as Wine does.
pub fn link(original: &Path, link: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::os::unix::fs::symlink(original, link)?;
    #[cfg(windows)]
    std::os::windows::fs::symlink_file(original, link)?;
    fs::symlink_metadata(link).map(drop)
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Ok(path.with_file_name(format!(".{name}.{}-{number}{TEMPORARY}", process::id())))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::access_mode(&mut options, GENERIC_WRITE | WRITE_DAC);
    let mut file = options.open(path)?;
    // Before there is anything to read in it.
    #[cfg(windows)]
    security::closed("")?.put_on(std::os::windows::io::AsHandle::as_handle(&file))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename or removal in the file's directory last.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Windows opens no directories, and its renames are logged by the file system.
    if cfg!(unix) { File::open(parent)?.sync_all() } else { Ok(()) }
}

/// A directory for one test; removed when dropped.
#[cfg(test)]
pub(crate) mod scratch {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            static NUMBER: AtomicU64 = AtomicU64::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("vestibule-platform-{}-{number}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use scratch::Scratch;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let scratch = Scratch::new();
        let path = scratch.path("state");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(&scratch.path("")), ["state"]);
        assert!(mode(&path).unwrap().is_none_or(|mode| mode == 0o600));
        assert!(remove_synced(&path).unwrap());
        assert!(!remove_synced(&path).unwrap());
    }

    #[test]
    fn a_growing_file_is_private_and_goes_on_where_it_ended() {
        let scratch = Scratch::new();
        let path = scratch.path("log");
        Growing::open(&path).unwrap().line(b"one").unwrap();
        Growing::open(&path).unwrap().line(b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert!(mode(&path).unwrap().is_none_or(|mode| mode == 0o600));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_rest() {
        let scratch = Scratch::new();
        let path = scratch.path("state");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();
        assert!(write_atomic(&path, b"new").is_err(), "a directory that is not empty cannot be replaced by a file");
        assert_eq!(names(&scratch.path("")), ["state"]);
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
    }

    #[test]
    fn half_written_files_of_the_dead_are_cleaned() {
        let scratch = Scratch::new();
        fs::write(scratch.path(".state.999-0.tmp"), "half").unwrap();
        fs::write(scratch.path("state"), "whole").unwrap();
        clean_temporaries(&scratch.path("")).unwrap();
        assert_eq!(names(&scratch.path("")), ["state"]);
    }
}
