//! Targets that are names: resolved by this host, for clients that are let in (RFC 9484 section 4.1).

use crate::masque::peer::resolve;
use std::sync::Arc;
use tokio::sync::Semaphore;
use vestibule_engine::core::NameRequest;
use vestibule_platform::runtime::Handle;

/// Names that are looked up at a time.
const AT_ONCE: usize = 32;

/// Looks names up.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) worker: Handle,
    places: Arc<Semaphore>,
}

impl Names {
    pub(super) fn new(worker: Handle) -> Self {
        Self { worker, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Looks a name up for a request that waits in the engine.
    pub(super) fn look_up(&self, request: NameRequest, name: String) {
        let names = self.clone();
        tokio::spawn(async move {
            let addresses = names.addresses(&name).await;
            // An error: the worker has stopped, and its requests with it.
            let _ = names.worker.post(move |engine, now| engine.name_resolved(request, addresses, now));
        });
    }

    /// What a name stands for.
    pub(super) async fn addresses(&self, name: &str) -> Vec<std::net::IpAddr> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        resolve(name).await
    }
}
