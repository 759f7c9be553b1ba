use super::{LocalError, Peer};
use nix::unistd::{Uid, User};
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

pub(super) fn wireguard(name: &str) -> PathBuf {
    Path::new("/var/run/wireguard").join(format!("{name}.sock"))
}

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
            check_directory(parent)
                .map_err(io("look at the directory of"))?
                .map_or(Ok(()), |trouble| Err(LocalError::Directory { path: parent.to_owned(), trouble }))?;
        }
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(LocalError::NotASocket { path: path.to_owned() });
            }
            if let Ok(living) = UnixStream::connect(path) {
                check_listener(&living, path)?;
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

/// Whether what this user makes or answers may be relied on: root's, or this process's own.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == Uid::effective().as_raw()
}

/// Their login name, else the number.
fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// What is wrong with the directory, if anything.
fn check_directory(directory: &Path) -> io::Result<Option<String>> {
    const OTHERS_MAY_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let found = fs::metadata(directory)?;
    Ok(if !is_trusted(found.uid()) {
        Some(format!("belongs to {}", name_of(found.uid())))
    } else if found.mode() & (OTHERS_MAY_WRITE | STICKY) == OTHERS_MAY_WRITE {
        Some("may be written to by everybody".to_owned())
    } else {
        None
    })
}

/// Who listens, where the system tells.
fn check_listener(stream: &UnixStream, path: &Path) -> Result<(), LocalError> {
    let told = credentials(stream);
    let told = told.map_err(|cause| LocalError::Io { action: "tell who listens on", path: path.to_owned(), cause })?;
    match told {
        Some((uid, _)) if !is_trusted(uid) => Err(LocalError::Squatted { path: path.to_owned(), owner: name_of(uid) }),
        _ => Ok(()),
    }
}

/// User and process at the other end: who connected, or who listens. `None` where the system does not tell.
#[cfg(target_os = "linux")]
fn credentials(stream: &UnixStream) -> io::Result<Option<(u32, Option<u32>)>> {
    use nix::sys::socket;
    let told = socket::getsockopt(stream, socket::sockopt::PeerCredentials)?;
    Ok(Some((told.uid(), u32::try_from(told.pid()).ok())))
}

#[cfg(not(target_os = "linux"))]
fn credentials(_: &UnixStream) -> io::Result<Option<(u32, Option<u32>)>> {
    Ok(None)
}

/// One connection.
#[derive(Debug)]
pub struct Stream(UnixStream);

impl Stream {
    /// Connects to the listener at `path`, unless it is of somebody who is not to be trusted.
    ///
    /// # Errors
    /// Nobody listens there, it may not be used by this user, or it is neither root's nor this user's.
    pub fn connect(path: &Path) -> Result<Self, LocalError> {
        let failed = |cause| LocalError::Io { action: "connect to", path: path.to_owned(), cause };
        let stream = UnixStream::connect(path).map_err(failed)?;
        check_listener(&stream, path)?;
        Ok(Self(stream))
    }

    /// Who is at the other end of an accepted connection. Whoever got here was let in by the socket's mode.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn peer(&self) -> io::Result<Peer> {
        let told = credentials(&self.0)?;
        let (user, process) = told.map_or_else(|| ("somebody".to_owned(), None), |(uid, pid)| (name_of(uid), pid));
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
    fn a_directory_that_everybody_may_write_to_is_refused_unless_it_is_sticky() {
        let root = directory("shared");
        let path = root.join("control.sock");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        match Listener::bind(&path) {
            Err(LocalError::Directory { path: named, .. }) => assert_eq!(named, root),
            other => panic!("expected a refused directory, got {other:?}"),
        }
        assert!(!path.exists());
        fs::set_permissions(&root, fs::Permissions::from_mode(0o1777)).unwrap();
        drop(Listener::bind(&path).unwrap());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_root_and_oneself_are_trusted() {
        let me = Uid::effective().as_raw();
        assert!(is_trusted(0) && is_trusted(me) && !is_trusted(me + 1));
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
