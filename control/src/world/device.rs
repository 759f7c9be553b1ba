//! The device as the world runs it: `vestibule service run` in a process of its own, its MDM file, and its sessions.

use super::Transport;
use super::gateway::Facts;
use crate::daemon::HttpVersions;
use crate::daemon::ipc::{
    Request, State, Status,
    client::{CallError, call},
};
use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::local::{LocalError, Stream};

/// Longest wait for an answer of the session source.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the device did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// Its control socket.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its session source cannot be reached.
    #[error("the device's session source")]
    Sessions(#[from] LocalError),
    /// A file or a socket.
    #[error("the device: cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// A session event was not taken.
    #[error("the device answered the session event `{event}` with `{answer}`")]
    Refused {
        /// The event.
        event: String,
        /// The answer.
        answer: String,
    },
    /// It never got there.
    #[error("the device did not get to `{wanted}` in {seconds} s; it says: {status}")]
    NeverCame {
        /// What was waited for.
        wanted: String,
        /// How long.
        seconds: u64,
        /// The last status in one line.
        status: String,
    },
}

/// The service token in the MDM file.
#[derive(Clone)]
pub(crate) struct Token {
    /// Client id.
    pub id: String,
    /// Client secret.
    pub secret: String,
}

/// Where a device keeps what.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The MDM file.
    pub mdm: PathBuf,
    /// What the daemon remembers.
    pub state: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// Its session source.
    pub sessions: PathBuf,
    /// Which versions of HTTP it may use.
    pub http: HttpVersions,
}

impl Paths {
    /// Paths below `room`, for tunnels over `transport`.
    pub(crate) fn below(room: &Path, transport: Transport) -> Self {
        Self {
            mdm: room.join("mdm.xml"),
            state: room.join("device"),
            control: room.join("control.sock"),
            sessions: room.join("sessions.sock"),
            http: transport.http(),
        }
    }

    /// `vestibule service run ...`
    pub(crate) fn command(&self, gateway: &Facts) -> Vec<String> {
        let arguments = [
            ("--mdm", self.mdm.display().to_string()),
            ("--state", self.state.display().to_string()),
            ("--gateway", gateway.url.clone()),
            ("--pin", gateway.certificate_sha256.to_string()),
            ("--control", self.control.display().to_string()),
            ("--sessions", self.sessions.display().to_string()),
            ("--interface", "vestibule0".to_owned()),
            ("--http", self.http.name().to_owned()),
        ];
        let mut words = vec!["service".to_owned(), "run".to_owned()];
        words.extend(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        words
    }

    /// Writes the MDM file beside its place and moves it there whole, as deployment tools do.
    pub(crate) fn write_mdm(&self, token: &Token, multi_user: bool) -> Result<(), DeviceError> {
        self.write_file(mdm(token, multi_user).as_bytes())
    }

    /// Puts any bytes in the MDM file's place.
    pub(crate) fn write_file(&self, bytes: &[u8]) -> Result<(), DeviceError> {
        let partial = self.mdm.with_extension("new");
        let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, &self.mdm));
        written.map_err(|cause| DeviceError::Io { action: "write mdm.xml", cause })
    }
}

/// A device whose daemon runs.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its paths.
    pub paths: Paths,
    sessions: BufReader<Stream>,
}

impl Device {
    /// Waits for the daemon's session source, and sits down at the desktop.
    pub(crate) fn sit_down(paths: Paths) -> Result<Self, DeviceError> {
        let until = Instant::now() + PATIENCE;
        let sessions = loop {
            match Stream::connect(&paths.sessions) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        let limit = sessions.set_timeout(PATIENCE);
        limit.map_err(|cause| DeviceError::Io { action: "limit the session source", cause })?;
        Ok(Self { paths, sessions: BufReader::new(sessions) })
    }

    /// Something happens at the device's desktop.
    pub(crate) fn session(&mut self, event: &str) -> Result<(), DeviceError> {
        let fail = |cause| DeviceError::Io { action: "tell a session event", cause };
        let stream = self.sessions.get_mut();
        writeln!(stream, "{event}").and_then(|()| stream.flush()).map_err(fail)?;
        let mut answer = String::new();
        self.sessions.read_line(&mut answer).map_err(fail)?;
        if answer.trim() == "ok" {
            return Ok(());
        }
        Err(DeviceError::Refused { event: event.to_owned(), answer: answer.trim().to_owned() })
    }

    /// What the daemon says of itself.
    pub(crate) fn status(&self) -> Result<Status, DeviceError> {
        Ok(call(&self.paths.control, &Request::Status)?)
    }

    /// Waits until the status is as wanted.
    pub(crate) fn until(
        &self,
        wanted: &str,
        patience: Duration,
        reached: impl Fn(&Status) -> bool,
    ) -> Result<Status, DeviceError> {
        let until = Instant::now() + patience;
        loop {
            let last = match self.status() {
                Ok(status) if reached(&status) => return Ok(status),
                Ok(status) => format!("{} {:?}", status.summary, status.last_error),
                Err(error) => crate::causes::chain(&error),
            };
            if Instant::now() > until {
                let wanted = wanted.to_owned();
                return Err(DeviceError::NeverCame { wanted, seconds: patience.as_secs(), status: last });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until traffic runs under `identity`.
    pub(crate) fn until_identity(&self, identity: &str, patience: Duration) -> Result<Status, DeviceError> {
        self.until(&format!("connected as {identity}"), patience, |status| {
            status.state == State::Connected && status.identity.as_deref() == Some(identity)
        })
    }
}

/// The vendor's file for a connection before login, with the token filled in.
pub(crate) fn mdm(Token { id, secret }: &Token, multi_user: bool) -> String {
    let multi_user = if multi_user { "\n  <key>multi_user</key>\n  <true/>" } else { "" };
    format!(
        "<dict>{multi_user}
  <key>pre_login</key>
  <dict>
    <key>organization</key>
    <string>mycompany</string>
    <key>auth_client_id</key>
    <string>{id}</string>
    <key>auth_client_secret</key>
    <string>{secret}</string>
  </dict>
  <key>configs</key>
  <array>
    <dict>
      <key>organization</key>
      <string>mycompany</string>
      <key>display_name</key>
      <string>Default</string>
    </dict>
  </array>
</dict>
"
    )
}
