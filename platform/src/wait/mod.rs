//! What a worker sleeps on: two ends that may become ready, and a bell that anyone may ring.
//!
//! Waiting is stateless: the handles are asked for before every wait, so an end may replace its handle (a rebound
//! socket, a restarted Wintun session) without telling anyone. An end without a handle rings the bell instead.
//!
//! On Windows an end's handle is an event. The adapter's is Wintun's read event, which resets itself: a worker that has
//! been woken reads until there is nothing more. The socket's is one event of `WSAEventSelect` for `FD_READ` and
//! `FD_WRITE` together, best one that resets itself (`CreateEventW`, not `WSACreateEvent`): when it is signalled, both
//! [`Ready::socket`] and, if asked for, [`Ready::writable`] are told, and the socket finds out by trying. `FD_READ` is
//! signalled again by the next datagram after a receive, `FD_WRITE` only after a send that found no room (an edge). The
//! worker's way of asking fits both: it waits for input only after a receive that found none, and for room only after a
//! send that found none.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
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
    /// The socket has input (on Windows: input or room).
    pub socket: bool,
    /// The socket has room (on Windows: room or input).
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
