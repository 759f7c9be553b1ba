//! Where the world of memory keeps its files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Room(PathBuf);

impl Room {
    /// A new one in the directory `place`.
    pub(crate) fn new(place: &Path) -> io::Result<Self> {
        let path = place.join(format!("vestibule-world-{}-{}", std::process::id(), crate::world::host::udp::wall_ns()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
