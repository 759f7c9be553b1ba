use super::{LocalError, Peer};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const CONTROL: &str = "/run/vestibule/control.sock";

/// Waits for connections; its socket file is removed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl Listener {
    /// Listens at `path` with mode 0660; a socket left behind by a process that is gone gives way.
    ///
    /// # Errors
    /// The path is in use by a living process, is no socket, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, LocalError> {
        Self::bind_with(path, 0o660, 0o777)
    }

    /// As [`Self::bind`], for nobody but this user: mode 0600, and 0700 for a directory that has to be made.
    ///
    /// # Errors
    /// As there.
    pub fn bind_private(path: &Path) -> Result<Self, LocalError> {
        Self::bind_with(path, 0o600, 0o700)
    }

    fn bind_with(path: &Path, mode: u32, directory: u32) -> Result<Self, LocalError> {
        let io = |action| move |cause| LocalError::Io { action, path: path.to_owned(), cause };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(directory).create(parent);
            made.map_err(io("create the directory of"))?;
        }
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(LocalError::NotASocket { path: path.to_owned() });
            }
            if UnixStream::connect(path).is_ok() {
                return Err(LocalError::InUse { path: path.to_owned() });
            }
            fs::remove_file(path).map_err(io("remove the stale"))?;
        }
        let socket = UnixListener::bind(path).map_err(io("listen on"))?;
        let mut listener = Self { socket, path: path.to_owned(), file: None };
        listener.file = identity(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        Ok(listener)
    }

    /// Removes the socket file, so that nobody finds it any more; dropping the listener does it, too.
    pub fn remove(&self) {
        // Somebody else may listen there by now.
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// True while the socket file is there, and ours.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.file.is_some() && identity(&self.path) == self.file
    }

    /// The next connection; blocks.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Stream> {
        self.socket.accept().map(|(stream, _)| Stream(stream))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What tells a file from another one of the same name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(target_os = "linux")]
fn credentials(stream: &UnixStream) -> io::Result<(String, Option<u32>)> {
    use nix::{sys::socket, unistd::User};
    let told = socket::getsockopt(stream, socket::sockopt::PeerCredentials)?;
    let user = User::from_uid(told.uid().into()).ok().flatten();
    Ok((user.map_or_else(|| told.uid().to_string(), |user| user.name), u32::try_from(told.pid()).ok()))
}

#[cfg(not(target_os = "linux"))]
fn credentials(_: &UnixStream) -> io::Result<(String, Option<u32>)> {
    Ok(("somebody".to_owned(), None))
}

/// One connection.
#[derive(Debug)]
pub struct Stream(UnixStream);

impl Stream {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or it may not be used by this user.
    pub fn connect(path: &Path) -> Result<Self, LocalError> {
        UnixStream::connect(path).map(Self).map_err(|cause| LocalError::Io {
            action: "connect to",
            path: path.to_owned(),
            cause,
        })
    }

    /// Who is at the other end of an accepted connection. Whoever got here was let in by the socket's mode.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn peer(&self) -> io::Result<Peer> {
        let (user, process) = credentials(&self.0)?;
        Ok(Peer { user, process, administrator: true })
    }

    /// Limits how long each single read and write may block.
    ///
    /// # Errors
    /// The system's.
    pub fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(limit))?;
        self.0.set_write_timeout(Some(limit))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vestibule-local-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn carries_bytes_with_mode_0660_and_leaves_no_file() {
        let root = directory("bytes");
        let path = root.join("sub/control.sock");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let server = std::thread::spawn(move || {
            let mut line = [0; 3];
            let mut stream = listener.accept().unwrap();
            stream.read_exact(&mut line).unwrap();
            stream.write_all(&line).unwrap();
            stream.peer()
        });
        let mut stream = Stream::connect(&path).unwrap();
        stream.write_all(b"abc").unwrap();
        let mut line = [0; 3];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"abc");
        let peer = server.join().unwrap();
        let process = cfg!(target_os = "linux").then(std::process::id);
        assert_eq!(peer.unwrap().process, process);
        assert!(!path.exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_private_socket_is_its_users_alone_and_a_later_one_is_left_in_place() {
        let root = directory("private");
        let path = root.join("sub/control.sock");
        let first = Listener::bind_private(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(first.is_in_place());
        fs::remove_file(&path).unwrap();
        assert!(!first.is_in_place());
        let second = Listener::bind_private(&path).unwrap();
        drop(first);
        assert!(second.is_in_place());
        drop(second);
        assert!(!path.exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_stale_socket_gives_way_a_living_one_and_a_file_do_not() {
        let root = directory("stale");
        let path = root.join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        let living = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(LocalError::InUse { .. })));
        drop(living);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(LocalError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_dir_all(root).unwrap();
    }
}
