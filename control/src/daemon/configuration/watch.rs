//! Notices that the MDM file may have changed.

use notify::{RecursiveMode, Watcher};
use std::{path::Path, time::Duration};
use tokio::sync::mpsc;

/// Writers that do not rename write in pieces: this long without an event and the file is looked at.
const QUIET: Duration = Duration::from_millis(100);
/// Looked at anyway, for a directory that was made after the start, or a system that tells nothing.
const GLANCE: Duration = Duration::from_secs(5);

/// Calls `touched` soon after the file at `path` may have changed, until it returns false.
pub(in crate::daemon) async fn watch(path: &Path, touched: impl Fn() -> bool) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let name = path.file_name().map(ToOwned::to_owned);
    let handler = move |event: notify::Result<notify::Event>| {
        // An error (an overflow, most likely) may hide a change.
        let ours = event.map_or(true, |event| {
            !event.kind.is_access()
                && (event.paths.is_empty() || event.paths.iter().any(|path| path.file_name() == name.as_deref()))
        });
        if ours {
            let _ = sender.send(());
        }
    };
    let mut watcher = notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::warn!(%error, "the MDM file is looked at every 5 s: it cannot be watched"))
        .ok();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut watching = false;
    loop {
        if !watching && let Some(watcher) = &mut watcher {
            // The whole directory: whoever replaces a file by renaming replaces what is watched.
            watching = watcher.watch(directory, RecursiveMode::NonRecursive).is_ok();
        }
        match tokio::time::timeout(GLANCE, events.recv()).await {
            Ok(Some(())) => {
                let settled = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {} };
                // A writer that never rests does not put the look off for ever.
                let _ = tokio::time::timeout(GLANCE, settled).await;
            }
            // Nothing watches.
            Ok(None) => tokio::time::sleep(GLANCE).await,
            Err(_) => {}
        }
        watching &= directory.exists();
        if !touched() {
            return;
        }
    }
}
