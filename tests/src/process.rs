//! Processes that end with the test.

use crate::netns::Namespace;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let output = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")), log }
    }

    /// Waits until `ready` gives something; the test fails with the program's output when it ends or time runs out.
    ///
    /// # Panics
    /// Then.
    pub fn wait_for<T>(&mut self, what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{what}: the program ended with {status}; it said:\n{}", self.said());
            }
            assert!(Instant::now() < deadline, "{what}: not within {limit:?}; it said:\n{}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for its first line, `ready at PORT`.
    ///
    /// # Panics
    /// When it ends before, or says something else for a minute.
    pub fn ready_port(&mut self, what: &str) -> u16 {
        let log = self.log.clone();
        self.wait_for(what, Duration::from_secs(60), || {
            let said = std::fs::read_to_string(&log).ok()?;
            said.lines().next()?.strip_prefix("ready at ")?.trim().parse().ok()
        })
    }

    /// Waits until it ends by itself; true when it did, with success.
    pub fn wait_for_end(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Whether it ended with success; `None` while it runs.
    #[must_use]
    pub fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().ok().flatten().map(|status| status.success())
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits, killing it after five seconds. True when it ended by itself with success.
    pub fn stop(&mut self) -> bool {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `vestibule` in a namespace, with the words of `wrapper` before it.
#[must_use]
pub fn wrapped(namespace: &Namespace, wrapper: &[&str]) -> Command {
    let vestibule = crate::vestibule();
    let mut command = match wrapper {
        [] => namespace.command(vestibule),
        [program, words @ ..] => {
            let mut command = namespace.command(program);
            command.args(words).arg(vestibule);
            command
        }
    };
    // Logs are read.
    command.env("NO_COLOR", "1");
    command
}

/// Runs a command to its end and gives what it printed.
///
/// # Panics
/// When it fails, with what it said.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
