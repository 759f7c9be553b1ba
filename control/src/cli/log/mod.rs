//! Where the daemon logs: the error stream, files that do not grow for ever, the system's log of events.

mod events;
mod rotating;

use crate::causes::chain;
use std::{
    fs,
    io::stderr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, Layer as _, filter::filter_fn, fmt::layer, prelude::*};
use vestibule_platform::{eventlog::EventLog, secrets::private_directory};

/// What the system's log of events is told although it is no warning: the daemon runs, it has stopped.
pub(super) const MILESTONE: &str = "vestibule::milestone";

/// Set once somebody reads the log later.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Whether the log goes anywhere but to the error stream.
pub(super) fn is_kept() -> bool {
    KEPT.load(Ordering::Relaxed)
}

/// Logs to the error stream; `RUST_LOG` chooses what. With a (state, log) directory to files, too; a service also to the
/// system's log of events.
pub(super) fn begin(directories: Option<(&Path, &Path)>, service: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let mut troubles = Vec::new();
    let files = directories.and_then(|(state, log)| {
        // The state directory first: what is made below one that somebody else has put there is theirs.
        let private = if log.starts_with(state) { private_directory(state) } else { Ok(()) };
        let opened = private.map_err(|error| chain(&error)).and_then(|()| {
            fs::create_dir_all(log).and_then(|()| rotating::Rotating::open(log)).map_err(|error| error.to_string())
        });
        opened.inspect_err(|error| troubles.push(format!("there are no log files: {error}"))).ok()
    });
    let events = service.then(EventLog::open).and_then(|opened| {
        opened.inspect_err(|error| troubles.push(format!("the system's log of events is closed: {error}"))).ok()
    });
    KEPT.store(service || files.is_some(), Ordering::Relaxed);
    let files = files.map(|files| layer().with_ansi(false).with_target(false).with_writer(files));
    let events = events.map(|log| {
        let layer = layer().without_time().with_level(false).with_ansi(false).with_target(false);
        layer.with_writer(events::Events::new(log)).with_filter(filter_fn(is_event))
    });
    let terminal = layer().with_target(false).with_writer(stderr);
    // An error means that somebody logs already.
    let _ = tracing_subscriber::registry().with(filter).with(terminal).with(files).with(events).try_init();
    for trouble in troubles {
        tracing::warn!("{trouble}");
    }
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || metadata.target() == MILESTONE
}
