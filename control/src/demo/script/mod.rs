//! The script: what happens on the stage, in order.

mod bare;
mod judge;

use super::{hosts::HostError, options::Options, timeline::Timeline, verdict::Verdict};
use crate::causes::chain;

/// Why the script stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    /// A process of the demo.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A namespace.
    #[error(transparent)]
    Sandbox(#[from] vestibule_platform::sandbox::SandboxError),
}

/// Runs the demo and returns its verdict, which a run that could not go on also has.
pub(super) fn run(options: &Options) -> Verdict {
    let timeline = Timeline::begin();
    let mut verdict = Verdict::default();
    verdict.number("version", env!("CARGO_PKG_VERSION"));
    verdict.number("rate", options.rate);
    verdict.number("tcp_rate", options.tcp_rate);
    let ended = bare::run(options, &timeline, &mut verdict);
    if let Err(error) = ended {
        let line = chain(&error);
        timeline.note(format_args!("stopped: {line}"));
        verdict.check("the script ran to its end", line, false);
    }
    verdict
}
