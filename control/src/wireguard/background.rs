//! Into the background: the process starts itself again, waits until the child is ready, and leaves.
//!
//! No fork without exec: threads and locks of a half-copied process cannot go wrong.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// Set for the child, so that it knows that its parent waits for a line.
const CHILD: &str = "VESTIBULE_WIREGUARD_DETACHED";

/// What the line of a child that is ready holds.
const READY: &str = r#""event":"ready""#;

/// True in the child of [`detach`].
#[must_use]
pub fn is_detached() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Starts this program again with `arguments`, and waits until it has printed a line or ended.
///
/// The child's line is given to `said`. It has said itself on the error stream why it failed.
///
/// # Errors
/// It could not be started.
pub fn detach<A: AsRef<OsStr>>(arguments: &[A], said: impl FnOnce(&str)) -> io::Result<ExitCode> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    // With `--json` a failure is a line, too.
    said(line.trim_end());
    if line.contains(READY) {
        return Ok(ExitCode::SUCCESS);
    }
    child.wait()?;
    Ok(ExitCode::FAILURE)
}
