//! What a verb tells while it runs: lines for people on stderr, JSON lines for programs on stdout.

use serde::Serialize;
use std::fmt;
use std::io::Write as _;

/// Tells.
#[derive(Clone, Copy, Debug)]
pub struct Reporter {
    json: bool,
}

impl Reporter {
    /// With `json`, every line is also an object on stdout.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Tells an event; one without words is for programs only.
    pub(super) fn tell(self, event: &(impl Serialize + fmt::Display)) {
        // A reader that went away is no failure.
        let line = event.to_string();
        if !line.is_empty() {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
        if self.json {
            let line = serde_json::to_string(event).unwrap_or_default();
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
}

/// The end, in good order.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "end")]
pub(super) struct Ended {
    pub(super) reason: &'static str,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended: {}", self.reason)
    }
}

/// Several of a kind, for people.
pub(super) struct List<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (number, item) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
