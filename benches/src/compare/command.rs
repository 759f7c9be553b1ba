//! Commands in a namespace.

use super::error::RunError;
use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::sandbox::Namespace;

/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a command to its end; its output, unless it fails.
pub(super) fn run(namespace: &Namespace, words: &[&str]) -> Result<String, RunError> {
    run_with(namespace, words, String::new())
}

/// The same, with something to read.
pub(super) fn run_with(namespace: &Namespace, words: &[&str], input: String) -> Result<String, RunError> {
    let mut command = command(words);
    let ended = namespace.run(move || -> io::Result<Output> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that reads nothing may have closed it.
            let _ = pipe.write_all(input.as_bytes());
        }
        child.wait_with_output()
    })?;
    let output = ended.map_err(|cause| RunError::Start { command: words.join(" "), cause })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(RunError::Failed { command: words.join(" "), how: output.status.to_string(), said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command that runs; dropping it kills it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    name: String,
    log: String,
}

impl Running {
    /// Starts it with its output in the file `log`.
    pub(super) fn start(namespace: &Namespace, words: &[&str], log: &str) -> Result<Self, RunError> {
        let mut command = command(words);
        let file = log.to_owned();
        let child = namespace.run(move || -> io::Result<Child> {
            let output = fs::File::create(&file)?;
            let errors = output.try_clone()?;
            command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn()
        })?;
        let name = words.join(" ");
        let child = child.map_err(|cause| RunError::Start { command: name.clone(), cause })?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Its process id in the sandbox.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails when it has ended.
    pub(super) fn expect_alive(&mut self) -> Result<(), RunError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.broken(format!("`{}` ended with {status}", self.name))),
            Err(cause) => Err(RunError::Start { command: self.name.clone(), cause }),
        }
    }

    /// Waits until `ready` is true; fails when it ends before, or is not ready in time.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut ready: impl FnMut() -> Result<bool, RunError>,
    ) -> Result<(), RunError> {
        let until = Instant::now() + patience;
        while !ready()? {
            self.expect_alive()?;
            if Instant::now() > until {
                return Err(self.broken(format!("`{}`: no {what} within {} s", self.name, patience.as_secs())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits for its end and calls `look` every now and then; kills it when it takes longer than `patience`.
    pub(super) fn finish(
        mut self,
        patience: Duration,
        mut look: impl FnMut() -> Result<(), RunError>,
    ) -> Result<String, RunError> {
        let until = Instant::now() + patience;
        let status: ExitStatus = loop {
            look()?;
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() > until => {
                    let how = format!("took longer than {} s", patience.as_secs());
                    return Err(RunError::Failed { command: self.name.clone(), how, said: tail(&self.said()) });
                }
                Ok(None) => thread::sleep(LOOK),
                Err(cause) => return Err(RunError::Start { command: self.name.clone(), cause }),
            }
        };
        // iperf3 explains its failures in its output.
        if !status.success() && !self.said().contains("\"error\"") {
            let said = tail(&self.said());
            return Err(RunError::Failed { command: self.name.clone(), how: status.to_string(), said });
        }
        Ok(self.said())
    }

    /// The error of an engine that did not behave.
    pub(super) fn broken(&self, what: String) -> RunError {
        RunError::Engine { what, said: tail(&self.said()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.get(1..).unwrap_or_default());
    // The engines' own per-packet or per-handshake messages are no part of the comparison.
    command.env("LOG_LEVEL", "error").env("NO_COLOR", "1");
    command
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Whether a program of this name can be run.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| is_file(&directory.join(program)))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
