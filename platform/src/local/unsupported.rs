use super::{LocalError, Peer};
use std::{
    convert::Infallible,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const CONTROL: &str = "vestibule/control";

pub(super) fn wireguard(name: &str) -> PathBuf {
    Path::new("wireguard").join(name)
}

/// Waits for connections; cannot be made on this system.
#[derive(Debug)]
pub struct Listener(Infallible);

impl Listener {
    /// Always refuses.
    ///
    /// # Errors
    /// [`LocalError::Unsupported`].
    pub fn bind(path: &Path) -> Result<Self, LocalError> {
        Err(LocalError::Unsupported { path: path.to_owned() })
    }

    /// Always refuses.
    ///
    /// # Errors
    /// [`LocalError::Unsupported`].
    pub fn bind_private(path: &Path) -> Result<Self, LocalError> {
        Self::bind(path)
    }

    /// Removes the socket file.
    pub fn remove(&self) {
        match self.0 {}
    }

    /// True while the socket file is there, and ours.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        match self.0 {}
    }

    /// The next connection.
    ///
    /// # Errors
    /// Never: there is no such listener.
    pub fn accept(&self) -> io::Result<Stream> {
        match self.0 {}
    }
}

/// One connection; cannot be made on this system.
#[derive(Debug)]
pub struct Stream(Infallible);

impl Stream {
    /// Always refuses.
    ///
    /// # Errors
    /// [`LocalError::Unsupported`].
    pub fn connect(path: &Path) -> Result<Self, LocalError> {
        Err(LocalError::Unsupported { path: path.to_owned() })
    }

    /// Who is at the other end of an accepted connection.
    ///
    /// # Errors
    /// Never: there is no such connection.
    pub fn peer(&self) -> io::Result<Peer> {
        match self.0 {}
    }

    /// Limits how long each single read and write may block.
    ///
    /// # Errors
    /// Never: there is no such stream.
    pub fn set_timeout(&self, _limit: Duration) -> io::Result<()> {
        match self.0 {}
    }
}

impl Read for Stream {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for Stream {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
