//! Where connections are driven.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// A thread that drives connections and does nothing else: what control computes on its own threads keeps no packet
/// waiting. Dropped, it lets its connections go without waiting for their ends.
#[derive(Debug)]
pub struct CarrierThread {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl CarrierThread {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no thread, or nothing to wait with.
    pub fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("vestibule-streams").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to put work that belongs to its connections.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for CarrierThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its owner may be a task, which must not wait for a thread.
            runtime.shutdown_background();
        }
    }
}
