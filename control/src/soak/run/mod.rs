//! The run itself, from the world's beginning to the report. `round`: traffic, swaps and samples, until the time is over or
//! somebody ends it; `trouble`: what is done to it on purpose; `samples`: what is seen of it.

mod round;
mod samples;
mod trouble;

use super::{
    books::Books,
    judge,
    options::{Options, Place},
    progress::Progress,
    report::{Asked, End, Report, SCHEMA, Struck, Swaps, Verdict},
    series::Series,
};
use crate::{
    causes::chain,
    world::{Stopped, World, scene::SceneError, userspace::Room},
};
use round::Round;
use std::{
    path::Path,
    time::{Instant, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Runs a soak to its end and reports, whatever became of it. A world of memory has its files in a directory below `files`.
/// `stop` is asked every now and then.
pub(super) fn run(options: &Options, files: &Path, stop: &dyn Fn() -> bool) -> Report {
    let mut soak = Soak::new(options, files, stop);
    let ended = soak.prepare_and_run();
    soak.report(ended)
}

struct Soak<'a> {
    options: &'a Options,
    files: &'a Path,
    stop: &'a dyn Fn() -> bool,
    progress: Progress,
    began: SystemTime,
    /// When the traffic began.
    start: Instant,
    books: Books,
    series: Series,
    swaps: Swaps,
    /// Milliseconds of all swaps.
    swapping: u64,
    names: Vec<&'static str>,
    faults: Vec<Struck>,
}

impl<'a> Soak<'a> {
    fn new(options: &'a Options, files: &'a Path, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            options,
            files,
            stop,
            progress: Progress::new(options.quiet),
            began: SystemTime::now(),
            start: Instant::now(),
            books: Books::default(),
            series: Series::new(),
            swaps: Swaps::default(),
            swapping: 0,
            names: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn prepare_and_run(&mut self) -> Result<End, Stopped> {
        let progress = self.progress;
        let tell = |step: &str| progress.note(step);
        let transport = self.options.transport;
        // Outlives the world that has its files in it.
        let room;
        let world = if self.options.userspace {
            room = Room::new(self.files).map_err(SceneError::from)?;
            World::of_memory(transport, &room, self.options.real_adapter().as_ref(), tell)?
        } else {
            World::of_kernels(transport, tell)?
        };
        let mut round = Round::begin(self, world)?;
        let ended = round.all(self);
        let finished = round.finish(self);
        if ended.is_err() || finished.is_err() {
            progress.note(&round.world.scene.logs());
        }
        ended.and_then(|end| finished.map(|()| end))
    }

    fn report(self, ended: Result<End, Stopped>) -> Report {
        let seconds = self.start.elapsed().as_secs_f64();
        let Options { userspace, transport, duration, swap_every, rate, .. } = *self.options;
        let samples = self.series.finish();
        let processes =
            self.names.iter().enumerate().map(|(number, name)| judge::process(name, number, &samples)).collect();
        let mut report = Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: std::env::consts::OS.to_owned(),
            options: Asked {
                userspace,
                adapter: self.options.adapter.clone(),
                transport,
                duration_s: duration.as_secs_f64(),
                swap_every_s: swap_every.0.map(|every| every.as_secs_f64()),
                rate,
                tcp_rate: tcp_rate_of(self.options),
                faults: self.options.faults.iter().map(ToString::to_string).collect(),
            },
            began: OffsetDateTime::from(self.began).format(&Rfc3339).unwrap_or_default(),
            seconds: samples.last().map_or(seconds, |sample| sample.at),
            end: ended.unwrap_or_else(|error| End::Stopped(chain(&error))),
            verdict: Verdict::default(),
            traffic: self.books,
            swaps: self.swaps,
            gaps_us: judge::gaps(&samples),
            processes,
            faults: self.faults,
            samples,
        };
        report.verdict = judge::verdict(&report);
        report
    }
}

/// The load's TCP: none where packets may be lost and both of its ends are made by hand, which do not send again.
fn tcp_rate_of(options: &Options) -> u32 {
    let lossy = options.faults.iter().any(|planned| planned.fault.loses());
    if options.place() == Place::Memory && lossy { 0 } else { options.tcp_rate }
}
