//! The control socket's asking side.

use super::{Answer, Failure, MAX_ANSWER, Request};
use serde::de::DeserializeOwned;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use vestibule_platform::local::{LocalError, Stream};

/// How long the daemon may take to answer. Deleting a registration asks the gateway, which takes at most 15 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens.
    #[error("cannot reach the daemon at {}: is `vestibule service run` running, and may this user use it?", path.display())]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: LocalError,
    },
    /// The connection broke.
    #[error("the daemon gave no answer")]
    Broken(#[source] io::Error),
    /// The answer is none that this version knows.
    #[error("the daemon's answer is not understood: client and daemon must be of one version")]
    Garbled(#[source] serde_json::Error),
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// Asks the daemon at `socket` and returns its answer, whose type [`Request`] tells.
///
/// # Errors
/// No daemon, no answer, or a refusal.
pub fn call<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, CallError> {
    let value = call_value(socket, request)?;
    serde_json::from_value(value).map_err(CallError::Garbled)
}

/// Like [`call`], with the answer as JSON.
///
/// # Errors
/// No daemon, no answer, or a refusal.
pub fn call_value(socket: &Path, request: &Request) -> Result<serde_json::Value, CallError> {
    let mut stream =
        Stream::connect(socket).map_err(|cause| CallError::Unreachable { path: socket.to_owned(), cause })?;
    stream.set_timeout(PATIENCE).map_err(CallError::Broken)?;
    let mut line = serde_json::to_vec(request).map_err(CallError::Garbled)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(CallError::Broken)?;
    let mut answer = Vec::new();
    let limit = MAX_ANSWER as u64;
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut answer).map_err(CallError::Broken)?;
    if answer.last() != Some(&b'\n') {
        return Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice(&answer).map_err(CallError::Garbled)? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(failure) => Err(failure.into()),
    }
}
