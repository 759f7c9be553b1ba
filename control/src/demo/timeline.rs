//! The live timeline: what happens, when, as it happens.

use std::{
    fmt::Display,
    io::{self, Write},
    time::Instant,
};

/// Prints lines with the seconds since the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    start: Instant,
}

impl Timeline {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now() }
    }

    /// A chapter of the walk.
    pub(super) fn chapter(&self, title: impl Display) {
        self.line(&format!("\n           {title}"));
    }

    /// Something happened.
    pub(super) fn note(&self, text: impl Display) {
        self.line(&format!("{:>8.3} s  {text}", self.start.elapsed().as_secs_f64()));
    }

    /// A terminal that is gone does not end the demo.
    fn line(&self, line: &str) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}
