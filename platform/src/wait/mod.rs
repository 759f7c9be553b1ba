//! What a worker sleeps on: two ends that may become ready, and a bell that anyone may ring.
//!
//! Waiting is stateless: the handles are asked for before every wait, so an end may replace its handle (a rebound
//! socket, a restarted Wintun session) without telling anyone. An end without a handle rings the bell instead.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod imp;

use std::{io, sync::Arc, time::Duration};

/// An operating system's waitable handle: a file descriptor that polls readable.
#[cfg(unix)]
pub type OsHandle<'a> = std::os::fd::BorrowedFd<'a>;
/// An operating system's waitable handle: an event.
#[cfg(windows)]
pub type OsHandle<'a> = std::os::windows::io::BorrowedHandle<'a>;

/// An end that a worker can wait for.
pub trait Waitable {
    /// What becomes ready when there is input; `None` for an end that rings the bell.
    fn handle(&self) -> Option<OsHandle<'_>>;

    /// Called once before the first wait. An end without a handle keeps the bell and rings it for every input.
    fn attach(&mut self, _bell: &Bell) {}
}

/// Wakes a worker from any thread. Rings are not counted: several before a wait wake it once.
#[derive(Clone, Debug)]
pub struct Bell(Arc<imp::Bell>);

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// The operating system gave no event object.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(imp::Bell::new()?)))
    }

    /// Wakes the worker, now or as soon as it waits.
    pub fn ring(&self) {
        self.0.ring();
    }
}

/// What one wait is for.
#[derive(Debug, Default)]
pub struct Interest<'a> {
    /// Input of the adapter.
    pub adapter: Option<OsHandle<'a>>,
    /// Input of the socket, and room in its queue when `writable` is set.
    pub socket: Option<OsHandle<'a>>,
    /// Wait for input of the socket.
    pub readable: bool,
    /// Wait for room in the socket's queue.
    pub writable: bool,
}

/// What a wait found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The adapter has input.
    pub adapter: bool,
    /// The socket has input.
    pub socket: bool,
    /// The socket has room.
    pub writable: bool,
    /// The bell rang: look at the mailbox, and at ends without a handle.
    pub bell: bool,
}

/// Sleeps until something of `interest` is ready, the bell rings or `timeout` (`None`: no limit) is over.
///
/// # Errors
/// The operating system refused to wait on these handles.
pub fn wait(bell: &Bell, interest: &Interest<'_>, timeout: Option<Duration>) -> io::Result<Ready> {
    bell.0.wait(interest, timeout)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{thread, time::Instant};

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_counts_once() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert!(wait(&bell, &Interest::default(), None).unwrap().bell);
        assert!(!wait(&bell, &Interest::default(), Some(Duration::ZERO)).unwrap().bell);
    }

    #[test]
    fn a_ring_ends_a_wait_without_limit() {
        let bell = Bell::new().unwrap();
        let ringer = bell.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            ringer.ring();
        });
        assert!(wait(&bell, &Interest::default(), None).unwrap().bell);
        thread.join().unwrap();
    }

    #[test]
    fn a_wait_ends_in_time() {
        let bell = Bell::new().unwrap();
        let start = Instant::now();
        assert_eq!(wait(&bell, &Interest::default(), Some(Duration::from_millis(5))).unwrap(), Ready::default());
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}
