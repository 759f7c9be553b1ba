//! A device in a namespace: its daemon, its MDM file, and the verbs that ask it.

use crate::admin::Token;
use crate::gateway::Gateway;
use crate::netns::Namespace;
use crate::process::Process;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use vestibule_control::daemon::ipc::client::{CallError, call};
use vestibule_control::daemon::ipc::{Request, State, Status};

/// A running `vestibule service run`.
#[derive(Debug)]
pub struct Device {
    process: Process,
    paths: Paths,
}

/// Where a device keeps what.
#[derive(Clone, Debug)]
pub struct Paths {
    room: PathBuf,
    /// The MDM file.
    pub mdm: PathBuf,
    /// The daemon's control socket.
    pub control: PathBuf,
    /// The scripted session source.
    pub sessions: PathBuf,
}

impl Paths {
    /// Paths below `room`.
    #[must_use]
    pub fn below(room: &Path) -> Self {
        Self {
            room: room.to_owned(),
            mdm: room.join("mdm.xml"),
            control: room.join("control.sock"),
            sessions: room.join("sessions.sock"),
        }
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.room.join("device")
    }

    /// Puts an MDM file in place as a whole, as deployment tools do.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn deploy(&self, content: impl AsRef<[u8]>) {
        let partial = self.mdm.with_extension("new");
        let written = fs::write(&partial, content).and_then(|()| fs::rename(&partial, &self.mdm));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.mdm.display()));
    }

    /// Something happens at the desktop: `logon alice s1`, `logoff s1`.
    ///
    /// # Errors
    /// The daemon is not there, or does not take it.
    pub fn session(&self, event: &str) -> std::io::Result<()> {
        let mut stream = UnixStream::connect(&self.sessions)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        writeln!(stream, "{event}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer.trim() == "ok" { Ok(()) } else { Err(std::io::Error::other(format!("{event}: `{answer}`"))) }
    }

    /// Runs a verb that asks the daemon.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn verb(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(crate::vestibule());
        let output = command.args(words).arg("--control").arg(&self.control).output();
        let output = output.unwrap_or_else(|error| panic!("vestibule {words:?}: {error}"));
        Outcome {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// How a verb ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

/// The vendor's file for a connection before login.
#[must_use]
pub fn mdm(token: &Token) -> String {
    let Token { client_id, secret, .. } = token;
    format!(
        "<dict>
  <key>pre_login</key>
  <dict>
    <key>organization</key>
    <string>mycompany</string>
    <key>auth_client_id</key>
    <string>{client_id}</string>
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

impl Device {
    /// Starts one whose files are below `paths`; `wrapper` are the words before `vestibule` (a clock that is off).
    ///
    /// # Panics
    /// When it does not answer within 20 s.
    #[must_use]
    pub fn start(namespace: &Namespace, paths: &Paths, gateway: &Gateway, wrapper: &[&str]) -> Self {
        let log = paths.room.join("device.log");
        let (url, pin) = (gateway.fact("url"), gateway.fact("certificate_sha256"));
        Self::start_towards(namespace, paths, url, pin, wrapper, log)
    }

    /// As [`Self::start`], with a gateway that need not be there.
    ///
    /// # Panics
    /// When it does not answer within 20 s.
    #[must_use]
    pub fn start_towards(
        namespace: &Namespace,
        paths: &Paths,
        url: &str,
        pin: &str,
        wrapper: &[&str],
        log: PathBuf,
    ) -> Self {
        // What a killed one left would be taken for the new one's.
        let _ = fs::remove_file(&paths.control);
        let mut command = crate::process::wrapped(namespace, wrapper);
        command.args(["service", "run", "--gateway", url, "--pin", pin, "--mdm"]).arg(&paths.mdm);
        command.arg("--state").arg(paths.state());
        command.arg("--control").arg(&paths.control).arg("--sessions").arg(&paths.sessions);
        let mut process = namespace.start(command, log);
        let control = paths.control.clone();
        process.wait_for("the daemon's control socket", Duration::from_secs(20), || {
            call::<Status>(&control, &Request::Status).ok()
        });
        Self { process, paths: paths.clone() }
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// It gives no answer.
    pub fn status(&self) -> Result<Status, CallError> {
        call(&self.paths.control, &Request::Status)
    }

    /// Waits until its status is as wanted.
    ///
    /// # Panics
    /// When it is not within `limit`, with status and log.
    pub fn until(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Status) -> bool) -> Status {
        let control = self.paths.control.clone();
        self.process.wait_for(what, limit, || call::<Status>(&control, &Request::Status).ok().filter(&wanted))
    }

    /// Waits until it carries traffic.
    ///
    /// # Panics
    /// When it does not within `limit`.
    pub fn until_connected(&mut self, limit: Duration) -> Status {
        self.until("connected", limit, |status| status.state == State::Connected)
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM); true when it did, with success.
    pub fn stop(&mut self) -> bool {
        self.process.stop()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}
