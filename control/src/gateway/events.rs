//! What the engine reports, written down off the packet path.
//!
//! A full disk loses nothing: what could not be written stays in memory and is tried again, while packets go on.

use super::app::App;
use super::clock;
use super::store::{Followed, Millis};
use crossbeam_channel::Receiver;
use std::collections::{BTreeMap, VecDeque};
use std::{io, sync::Arc, thread, time::Duration};
use tokio::sync::mpsc;
use vestibule_engine::core::Event;

/// How long handshakes are gathered into one write. Swaps are written at once.
const GATHER: Duration = Duration::from_millis(100);
/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Moves the engine's events from its thread into the asynchronous world.
pub(super) fn bridge(events: Receiver<Event>) -> io::Result<mpsc::UnboundedReceiver<Event>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::Builder::new().name("vestibule-events".to_owned()).spawn(move || {
        // Ends when the worker has stopped, or nobody listens.
        for event in events {
            if sender.send(event).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// A swap to record.
struct Commit {
    device_id: String,
    order: Followed,
    at: Millis,
}

/// What is not on disk yet.
#[derive(Default)]
struct Pending {
    commits: VecDeque<Commit>,
    handshakes: BTreeMap<[u8; 32], [u8; 12]>,
}

/// Follows the engine until its worker stops, then writes what is left.
pub(super) async fn follow(app: Arc<App>, mut events: mpsc::UnboundedReceiver<Event>) {
    let mut pending = Pending::default();
    while let Some(event) = events.recv().await {
        take(&app, &mut pending, event);
        let mut pause = GATHER;
        while !pending.is_empty() {
            gather(&app, &mut pending, &mut events, pause).await;
            pause = if write(&app, &mut pending).await { GATHER } else { RETRY };
            if events.is_closed() && events.is_empty() {
                return;
            }
        }
    }
}

/// Takes what comes within `pause`, or until there is a swap to record. After a failure the whole pause is kept.
async fn gather(app: &App, pending: &mut Pending, events: &mut mpsc::UnboundedReceiver<Event>, pause: Duration) {
    let end = tokio::time::sleep(pause);
    tokio::pin!(end);
    while pause == RETRY || pending.commits.is_empty() {
        tokio::select! {
            () = &mut end => return,
            event = events.recv() => match event {
                Some(event) => take(app, pending, event),
                None => return,
            },
        }
    }
}

fn take(app: &App, pending: &mut Pending, event: Event) {
    match event {
        Event::Committed { generation, previous, swap_seq, .. } => {
            let now = clock::now();
            app.plane.note_committed(generation, previous, now);
            let Some(live) = app.plane.generation(generation) else { return };
            let email = live.tunnel.subject.person.email;
            let Some(owner) = live.tunnel.owner else { return };
            tracing::info!(device = %owner.device_id, registration = %owner.registration, swap_seq, "swapped");
            let order = Followed { registration: owner.registration, swap_seq, email };
            pending.commits.push_back(Commit { device_id: owner.device_id, order, at: now });
        }
        Event::HandshakeSeen { peer_public_key, timestamp } => {
            let greatest = pending.handshakes.entry(peer_public_key.0).or_default();
            *greatest = timestamp.max(*greatest);
        }
        Event::Retired { generation, .. } | Event::Failed { generation, .. } => app.plane.note_ended(generation),
        other => tracing::debug!(?other, "engine"),
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.handshakes.is_empty()
    }
}

/// Writes what is pending; false when something is left.
async fn write(app: &App, pending: &mut Pending) -> bool {
    let now = clock::now();
    while let Some(commit) = pending.commits.front() {
        if let Err(error) = app.store.committed(&commit.device_id, &commit.order, commit.at).await {
            tracing::error!(error = crate::causes::chain(&error), "a swap is not recorded yet; trying again");
            return false;
        }
        pending.commits.pop_front();
    }
    if pending.handshakes.is_empty() {
        return true;
    }
    let seen: Vec<_> = pending.handshakes.iter().map(|(key, timestamp)| (*key, *timestamp)).collect();
    if let Err(error) = app.store.save_handshakes(&seen, now).await {
        tracing::error!(error = crate::causes::chain(&error), "handshakes are not recorded yet; trying again");
        return false;
    }
    pending.handshakes.clear();
    true
}
