//! The registration log on disk, so that `vestibule why` can tell what led to a state across restarts of the service.
//!
//! One JSON value per line: first the state that the log begins at, then every step. A step is added as it is made; when
//! twice as many lines as the machine remembers have come together, the file is replaced by a shorter one, whole or not
//! at all. No secret is in it: neither events nor states hold any.

use crate::{
    causes::chain,
    registration::{LOG_CAPACITY, LogEntry, Machine, State, Story},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use vestibule_platform::files::{Growing, write_atomic};

/// Its name in the state directory.
pub(super) const FILE: &str = "why.log";
/// Lines in the file before it is shortened.
const MAX_LINES: usize = 2 * LOG_CAPACITY;
/// Bytes that are read of it: a step has some 2 KiB.
const MAX_BYTES: u64 = 8 << 20;

/// A line.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// What the steps from here on start from. `severed` steps before them lead nowhere.
    From {
        state: Box<State>,
        severed: usize,
    },
    Step(Box<LogEntry>),
}

/// As [`Line`], to be written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineOf<'a> {
    From { state: &'a State, severed: usize },
    Step(&'a LogEntry),
}

/// The log's file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// `None` until the first step of this process: then the whole log is written anew.
    file: Option<Growing>,
    lines: usize,
    /// The last failure was told.
    failing: bool,
}

impl Journal {
    /// The log at `path`, and what is in it. Damage costs the log, never the start.
    pub(super) fn open(path: &Path) -> (Self, Option<Story>) {
        let story = match read(path) {
            Ok(story) => story,
            Err(error) => {
                tracing::warn!("the registration log of earlier starts is lost: {}", chain(&error));
                None
            }
        };
        (Self { path: path.to_owned(), file: None, lines: 0, failing: false }, story)
    }

    /// Adds the machine's latest step.
    pub(super) fn write(&mut self, machine: &Machine) {
        let written = match &mut self.file {
            Some(file) if self.lines < MAX_LINES => match machine.log().next_back() {
                Some(entry) => line(&LineOf::Step(entry)).and_then(|line| file.line(&line)),
                None => return,
            },
            _ => self.rewrite(machine),
        };
        match written {
            Ok(()) => {
                self.lines += 1;
                self.failing = false;
            }
            Err(error) => {
                // A line may be there in part: the next step writes all of it again.
                self.file = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(path = %self.path.display(), "the registration log is not stored: {}", chain(&error));
                }
            }
        }
    }

    fn rewrite(&mut self, machine: &Machine) -> io::Result<()> {
        let (state, severed) = machine.checkpoint();
        let mut text = Vec::new();
        for each in std::iter::once(LineOf::From { state, severed }).chain(machine.log().map(LineOf::Step)) {
            serde_json::to_writer(&mut text, &each)?;
            text.push(b'\n');
        }
        // Wine, and Windows before 10, replace no file that is open.
        self.file = None;
        write_atomic(&self.path, &text)?;
        self.file = Some(Growing::open(&self.path)?);
        self.lines = machine.log().len();
        Ok(())
    }
}

fn line(line: &LineOf<'_>) -> io::Result<Vec<u8>> {
    serde_json::to_vec(line).map_err(io::Error::from)
}

/// What the file holds: up to its first damaged line, which a loss of power may have left.
fn read(path: &Path) -> io::Result<Option<Story>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    let mut lines = text.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok());
    let Some(Line::From { state, severed }) = lines.next() else { return Ok(None) };
    let entries: Vec<LogEntry> = lines
        .map_while(|line| match line {
            Line::Step(entry) => Some(*entry),
            Line::From { .. } => None,
        })
        .collect();
    let severed = severed.min(entries.len());
    Ok(Some(Story { checkpoint: *state, severed, entries }))
}

#[cfg(test)]
mod tests;
