//! Lines on stderr while a soak runs: often at first, then seldom.

use super::{books::Books, judge::clock, report::Swaps, series::Sample};
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

/// Between two lines in the first two minutes.
const OFTEN: Duration = Duration::from_secs(5);
/// Between two lines later.
const SELDOM: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    quiet: bool,
    begun: Instant,
    told: Instant,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, begun: Instant::now(), told: Instant::now() }
    }

    /// The traffic begins now.
    pub(super) fn begin(&mut self) {
        (self.begun, self.told) = (Instant::now(), Instant::now());
    }

    /// Something happened.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            line(text);
        }
    }

    /// A sample was taken; tells it when it is time for a line.
    pub(super) fn sample(&mut self, sample: &Sample, names: &[&str], books: &Books, swaps: &Swaps) {
        let every = if self.begun.elapsed() < Duration::from_secs(120) { OFTEN } else { SELDOM };
        if self.quiet || self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let held: Vec<String> = names
            .iter()
            .zip(sample.processes)
            .map(|(name, held)| format!("{name} {:.1} MB, {} handles", held.resident as f64 / 1e6, held.handles))
            .collect();
        line(&format!(
            "{}  {} swaps  {:.1} Mb/s  gap {} ms  lost {}  duplicated {}  reordered {}  {}",
            clock(sample.at),
            swaps.done,
            sample.bytes as f64 * 8e-6 / sample.seconds.max(1e-3),
            sample.gap_up_us.max(sample.gap_down_us) / 1000,
            books.up.lost + books.down.lost,
            books.up.duplicated + books.down.duplicated,
            books.up.reordered + books.down.reordered,
            held.join("; "),
        ));
    }
}

/// A terminal that is gone does not end a soak.
fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
