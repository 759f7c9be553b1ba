//! What this device says of its system, and when: with every order to swap, on the gateway's schedule, and at once when
//! that changes.

use super::{
    remote::{Gateway, Secret},
    retry::Retry,
};
use crate::{api::posture::PostureReport, causes::chain, crypto::random};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::AbortHandle};
use vestibule_platform::facts;

/// The system as it is now.
pub(super) fn report() -> PostureReport {
    let system = facts::system();
    PostureReport {
        os: facts::OS.to_owned(),
        os_version: facts::os_version().unwrap_or_default(),
        os_version_extra: system.version_extra,
        os_distro_name: system.distro_name,
        os_distro_revision: system.distro_revision,
    }
}

/// Reports until it is dropped.
#[derive(Debug)]
pub(super) struct PostureTask {
    every: watch::Sender<Option<u32>>,
    task: AbortHandle,
}

impl PostureTask {
    /// Reports every so many seconds; 0 and nothing is never. The order to swap carried the first report.
    pub(super) fn start(gateway: Arc<impl Gateway>, bearer: Secret, every: Option<u32>) -> Self {
        let (sender, receiver) = watch::channel(every.filter(|every| *every > 0));
        let task = tokio::spawn(keep_reporting(gateway, bearer, receiver)).abort_handle();
        Self { every: sender, task }
    }

    /// Another schedule.
    pub(super) fn every(&self, every: Option<u32>) {
        self.every.send_if_modified(|known| {
            let other = *known != every;
            *known = every;
            other
        });
    }
}

impl Drop for PostureTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_reporting(gateway: Arc<impl Gateway>, bearer: Secret, mut every: watch::Receiver<Option<u32>>) {
    let mut retry = Retry::default();
    let mut pause = None;
    loop {
        let schedule = *every.borrow_and_update();
        let wait = pause.take().or(schedule.map(early));
        tokio::select! {
            changed = every.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        if every.borrow().is_none() {
            continue;
        }
        match gateway.posture(&bearer, &report()).await {
            Ok(_) => drop(retry.succeeded()),
            Err(error) => {
                tracing::debug!("posture was not reported: {}", chain(&error));
                pause = Some(retry.next());
            }
        }
    }
}

/// A little before it is due, and not when all others are.
fn early(seconds: u32) -> Duration {
    let due = Duration::from_secs(seconds.into());
    let part = random::<1>().map_or(0, |[byte]| u32::from(byte));
    due - due / 10 * part / 255
}
