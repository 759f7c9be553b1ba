//! One worker thread per end: it owns an engine, an adapter and a socket, and runs every packet to completion.
//!
//! Control steers the engine through a [`Handle`]: closures that run between two batches. [`Event`]s come back through
//! a channel. The walk itself is in `rounds.rs`.

mod counters;
mod mailbox;
mod rounds;
mod streams;

pub use counters::{StageCounters, StageSnapshot};

use crate::{adapter::Adapter, carrier::Request, socket::Socket, wait::Bell};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mailbox::Mailbox;
use rounds::Rounds;
use std::{
    any::Any,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};
use vestibule_engine::core::{Engine, Event};

/// Starts workers.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts a thread called `name` that moves packets between `adapter`, `engine` and `socket` until it is stopped.
    ///
    /// The receiver gives the engine's events in order; it disconnects when the worker has stopped.
    ///
    /// # Errors
    /// No thread, or no event object, could be had.
    pub fn spawn<A, S>(engine: Engine, adapter: A, socket: S, name: &str) -> io::Result<(Handle, Receiver<Event>)>
    where
        A: Adapter + 'static,
        S: Socket + 'static,
    {
        let mailbox = Mailbox::new();
        let (events, received) = unbounded();
        let bell = Bell::new()?;
        let counters = Arc::new(StageCounters::default());
        let mut rounds = Rounds::new(engine, adapter, socket, bell.clone(), mailbox.clone(), events, counters.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn({
            let mailbox = mailbox.clone();
            move || {
                let end = catch_unwind(AssertUnwindSafe(|| rounds.run()));
                let reason = end.unwrap_or_else(|panic| StopReason::Panicked(panic_message(&*panic)));
                if !matches!(reason, StopReason::Asked | StopReason::AdapterRemoved) {
                    tracing::error!(%reason, "a packet worker has stopped");
                }
                mailbox.close(reason);
                drop(rounds);
            }
        })?;
        let shared = Shared { mailbox, bell, counters, thread: Mutex::new(Some(thread)) };
        Ok((Handle(Arc::new(shared)), received))
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Why a worker stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// By [`Handle::stop`], or the last handle was dropped.
    #[error("it was asked to")]
    Asked,
    /// A panic in the engine or in a closure.
    #[error("panic: {0}")]
    Panicked(String),
    /// The adapter was removed from the host.
    #[error("the network interface was removed")]
    AdapterRemoved,
    /// The adapter broke.
    #[error("the adapter failed: {0}")]
    Adapter(String),
    /// The socket broke.
    #[error("the socket failed: {0}")]
    Socket(String),
    /// The operating system refused to let it sleep.
    #[error("waiting failed: {0}")]
    Wait(String),
}

/// The worker is gone and ran nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet worker has stopped: {reason}")]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
}

type Steer = Box<dyn FnOnce(&mut Engine, Instant) + Send>;

enum Command {
    Run(Steer),
    Rebind(u16, Sender<io::Result<SocketAddr>>),
    Mark(u32, Sender<io::Result<()>>),
    CarryStreams,
    Requested(Box<Request>),
    Stop,
}

/// Steers a worker from any thread. The worker stops when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

struct Shared {
    mailbox: Mailbox<Command, StopReason>,
    bell: Bell,
    counters: Arc<StageCounters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    /// Runs `f` on the engine between two batches and waits for its answer. Do not call it from inside such a closure.
    ///
    /// # Errors
    /// The worker has stopped, or `f` panicked (which stops it).
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Engine, Instant) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answered) = bounded(1);
        self.post(move |engine, now| {
            let _ = answer.send(f(engine, now));
        })?;
        answered.recv().map_err(|_| self.ended())
    }

    /// Runs `f` on the engine between two batches, without waiting for it.
    ///
    /// # Errors
    /// The worker has stopped already.
    pub fn post(&self, f: impl FnOnce(&mut Engine, Instant) + Send + 'static) -> Result<(), Stopped> {
        self.tell(Command::Run(Box::new(f)))
    }

    /// Moves the socket to a fresh port, as after a change of network, and tells the gateways
    /// ([`Engine::network_changed`]). What waited in the old socket is lost.
    ///
    /// # Errors
    /// The outer error: the worker has stopped. The inner one: no new socket could be had, the old one stays.
    pub fn rebind(&self) -> Result<io::Result<()>, Stopped> {
        self.rebind_to(0).map(|rebound| rebound.map(|_| ()))
    }

    /// Moves the socket to `port` (0: any other one) and gives its new address. What waited in the old socket is lost.
    ///
    /// # Errors
    /// As for [`Self::rebind`]; most likely the port is taken.
    pub fn rebind_to(&self, port: u16) -> Result<io::Result<SocketAddr>, Stopped> {
        let (answer, answered) = bounded(1);
        self.tell(Command::Rebind(port, answer))?;
        answered.recv().map_err(|_| self.ended())
    }

    /// Marks what the socket sends from now on, for policy routing; 0 for no mark.
    ///
    /// # Errors
    /// The outer error: the worker has stopped. The inner one: there are no marks here, or we lack the privilege.
    pub fn set_mark(&self, mark: u32) -> Result<io::Result<()>, Stopped> {
        let (answer, answered) = bounded(1);
        self.tell(Command::Mark(mark, answer))?;
        answered.recv().map_err(|_| self.ended())
    }

    /// Lets the engine's tunnels travel over HTTP/2, by connections that have a thread of their own. Without this,
    /// attempts at that fail at once.
    ///
    /// # Errors
    /// The worker has stopped.
    pub fn carry_streams(&self) -> Result<(), Stopped> {
        self.tell(Command::CarryStreams)
    }

    /// Hands over a client's request for a tunnel over HTTP/2, which the engine accepts or refuses.
    ///
    /// # Errors
    /// The worker has stopped; the request is answered 503.
    pub fn request(&self, request: Request) -> Result<(), Stopped> {
        self.tell(Command::Requested(Box::new(request)))
    }

    /// Stops the worker and waits for its end. Closures posted before this call run first.
    pub fn stop(&self) -> StopReason {
        self.0.stop();
        // Still none when a closure of the worker's own asks.
        self.outcome().unwrap_or(StopReason::Asked)
    }

    /// Why the worker has stopped; `None` while it runs.
    #[must_use]
    pub fn outcome(&self) -> Option<StopReason> {
        self.0.mailbox.end()
    }

    /// What its stages have done so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<StageCounters> {
        &self.0.counters
    }

    fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.0.mailbox.post(command).map_err(|reason| Stopped { reason })?;
        self.0.bell.ring();
        Ok(())
    }

    /// For a command that was taken and dropped: the worker is ending, and a panic drops it a moment before the reason
    /// is in place.
    fn ended(&self) -> Stopped {
        Stopped { reason: self.0.mailbox.wait_for_end() }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("end", &self.mailbox.end()).finish_non_exhaustive()
    }
}

impl Shared {
    fn stop(&self) {
        // An error means that it has stopped by itself.
        let _ = self.mailbox.post(Command::Stop);
        self.bell.ring();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic inside is in `outcome` already.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod doubles;
#[cfg(all(test, target_os = "linux"))]
mod kernel_tests;
#[cfg(test)]
mod ring_tests;
#[cfg(test)]
mod tests;
