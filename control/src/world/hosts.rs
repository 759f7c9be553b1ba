//! Handles on the world's processes.

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};
use vestibule_platform::sandbox::{Namespace, SandboxError};

/// This program, however it was started and whatever has become of its file.
const SELF: &str = "/proc/self/exe";
/// Longest wait for a host's answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// Why a process of the world did not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// No namespace to start it in.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It did not start, or its pipe broke.
    #[error("{name}: {action}")]
    Io {
        /// Which one.
        name: String,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// It ended, or took too long.
    #[error("{name} gave no answer to `{command}`")]
    Silent {
        /// Which one.
        name: String,
        /// The question.
        command: String,
    },
    /// Its answer is none.
    #[error("{name} answered `{command}` with `{answer}`")]
    Garbled {
        /// Which one.
        name: String,
        /// The question.
        command: String,
        /// The answer.
        answer: String,
    },
}

/// A host that loads or measures (see `super::host`).
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Host {
    /// Starts `vestibule world-host ARGUMENTS` in `namespace` and waits until it stands.
    pub(crate) fn start(namespace: &Namespace, name: &str, arguments: &[String]) -> Result<Self, HostError> {
        let mut command = Command::new(SELF);
        command.arg("world-host").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let fail = |action| {
            let name = name.to_owned();
            move |cause| HostError::Io { name, action, cause }
        };
        let mut child = namespace.run(move || command.spawn())?.map_err(fail("start"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| fail("open its pipe")(io::ErrorKind::BrokenPipe.into()))?;
        let (lines, answers) = unbounded();
        let reader = thread::Builder::new().name(format!("from {name}"));
        reader
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if lines.send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(fail("read from it"))?;
        let host = Self { name: name.to_owned(), child, input, answers };
        host.answer::<Value>("start")?;
        Ok(host)
    }

    /// Gives a command without waiting for its answer.
    pub(crate) fn tell(&mut self, command: &str) -> Result<(), HostError> {
        let Some(input) = &mut self.input else {
            return Err(HostError::Silent { name: self.name.clone(), command: command.to_owned() });
        };
        let told = writeln!(input, "{command}").and_then(|()| input.flush());
        told.map_err(|cause| HostError::Io { name: self.name.clone(), action: "give it a command", cause })
    }

    /// The answer to a command told before.
    pub(crate) fn answer<T: DeserializeOwned>(&self, command: &str) -> Result<T, HostError> {
        let (name, command) = (self.name.clone(), command.to_owned());
        let answer = match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(HostError::Silent { name, command });
            }
        };
        serde_json::from_str(&answer).map_err(|_| HostError::Garbled { name, command, answer })
    }

    /// Whether an answer to a command told before is there.
    pub(crate) fn has_answered(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Gives a command and waits for its answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T, HostError> {
        self.tell(command)?;
        self.answer(command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // End of input ends a host that can still read it; the kill is for one that cannot.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway or the daemon, with its output in a file.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts `vestibule ARGUMENTS` in `namespace`; what it prints goes to `log`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        namespace: &Namespace,
        name: &str,
        arguments: &[A],
        log: &Path,
    ) -> Result<Self, HostError> {
        let fail = |action| {
            let name = name.to_owned();
            move |cause| HostError::Io { name, action, cause }
        };
        let output = File::options().create(true).append(true).open(log).map_err(fail("make its log"))?;
        let errors = output.try_clone().map_err(fail("make its log"))?;
        let mut command = Command::new(SELF);
        command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = namespace.run(move || command.spawn())?.map_err(fail("start"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Whether it still runs.
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines it printed.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let shown = &all[all.len().saturating_sub(lines)..];
        let indented: Vec<String> = shown.iter().map(|line| format!("    {}: {line}", self.name)).collect();
        indented.join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
