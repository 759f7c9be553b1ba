//! Where the thread that moves packets meets the drivers of its streams.

use super::CarrierError;
use crate::wait::Bell;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use vestibule_engine::masque::stream::Fault;

/// What one stream brought.
#[derive(Debug)]
pub struct Arrival {
    /// The key its outbox was made with.
    pub key: u64,
    /// What.
    pub input: Input,
}

/// What a stream brings.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The tunnel that [`super::open`] was asked for is open; this is our side of it.
    Opened(Outbox),
    /// Bytes of the peer's side, in order. To be given back by [`Outbox::consumed`].
    Bytes(Bytes),
    /// The outbox was full and has room again.
    Room,
    /// The peer's side ended in good order: ours is to follow by [`Outbox::finish`].
    End,
    /// The stream is lost; nothing follows.
    Lost(CarrierError),
}

/// What all streams of one thread bring. It rings the thread's bell.
#[derive(Debug)]
pub struct Inbox {
    arrivals: Receiver<Arrival>,
    address: InboxAddress,
}

/// Where drivers put what is for one [`Inbox`].
#[derive(Clone, Debug)]
pub struct InboxAddress {
    // Bounded by what peers may send before it is consumed: HTTP/2's windows.
    arrivals: Sender<Arrival>,
    rung: Arc<AtomicBool>,
    bell: Bell,
}

impl Inbox {
    /// An empty inbox that rings `bell`.
    #[must_use]
    pub fn new(bell: Bell) -> Self {
        let (sender, arrivals) = unbounded();
        Self { arrivals, address: InboxAddress { arrivals: sender, rung: Arc::default(), bell } }
    }

    /// Where streams send to.
    #[must_use]
    pub fn address(&self) -> &InboxAddress {
        &self.address
    }

    /// The next that is there. After the bell rang this must be called until it gives `None`, before the next wait.
    pub fn poll(&self) -> Option<Arrival> {
        self.arrivals.try_recv().ok().or_else(|| {
            // What is put in from here on rings again, and is perhaps found already.
            self.address.rung.store(false, Ordering::SeqCst);
            self.arrivals.try_recv().ok()
        })
    }

    /// All that is there.
    pub fn drain(&self) -> impl Iterator<Item = Arrival> + '_ {
        std::iter::from_fn(|| self.poll())
    }
}

impl InboxAddress {
    pub(super) fn put(&self, key: u64, input: Input) {
        // An inbox that is gone takes nothing; its outboxes go with it and end their streams.
        let _ = self.arrivals.send(Arrival { key, input });
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

/// Our side of one stream. Dropped, it cancels the stream.
#[derive(Debug)]
pub struct Outbox {
    batches: Sender<Bytes>,
    link: Arc<Link>,
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendBatchError {
    /// The path is slower than its sender. [`Input::Room`] follows when it may be tried again.
    #[error("the outbox is full")]
    Full(Bytes),
    /// The stream is over; [`Input::Lost`] or [`Input::End`] told.
    #[error("the stream is over")]
    Over,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> (Self, Orders) {
        let (sender, batches) = bounded(capacity);
        let link = Arc::new(Link::default());
        (Self { batches: sender, link: Arc::clone(&link) }, Orders { batches, link })
    }

    /// Sends a batch of bytes.
    ///
    /// # Errors
    /// It was not taken; if there is no room it is handed back.
    pub fn send(&self, batch: Bytes) -> Result<(), SendBatchError> {
        let batch = match self.batches.try_send(batch) {
            Ok(()) => {
                self.link.wake();
                return Ok(());
            }
            Err(TrySendError::Disconnected(_)) => return Err(SendBatchError::Over),
            Err(TrySendError::Full(batch)) => batch,
        };
        self.link.starved.store(true, Ordering::SeqCst);
        // Between the two the driver may have emptied it and seen nobody wait.
        match self.batches.try_send(batch) {
            Ok(()) => {
                self.link.starved.store(false, Ordering::SeqCst);
                self.link.wake();
                Ok(())
            }
            Err(TrySendError::Full(batch)) => Err(SendBatchError::Full(batch)),
            Err(TrySendError::Disconnected(_)) => Err(SendBatchError::Over),
        }
    }

    /// So many bytes of [`Input::Bytes`] are dealt with: the peer may send as many more.
    pub fn consumed(&self, bytes: usize) {
        self.link.consumed.fetch_add(bytes, Ordering::SeqCst);
        self.link.wake();
    }

    /// Ends our side in good order, after what was sent. Nothing arrives any more.
    pub fn finish(self) {
        self.link.end(FINISH);
    }

    /// Resets the stream, for what the peer did wrong.
    pub fn reset(self, fault: Fault) {
        self.link.end(match fault {
            Fault::None => CANCEL,
            Fault::Malformed => MALFORMED,
            Fault::Excessive => EXCESSIVE,
        });
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.link.end(CANCEL);
    }
}

/// The driver's end of an [`Outbox`].
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) batches: Receiver<Bytes>,
    pub(super) link: Arc<Link>,
}

/// What the packet thread wants to become of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Open,
    Finish,
    Reset(h2::Reason),
}

const OPEN: u8 = 0;
const FINISH: u8 = 1;
const CANCEL: u8 = 2;
const MALFORMED: u8 = 3;
const EXCESSIVE: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct Link {
    consumed: AtomicUsize,
    /// Somebody waits for room.
    starved: AtomicBool,
    wish: AtomicU8,
    /// The driver's; locked once per batch.
    waker: Mutex<Option<Waker>>,
}

impl Link {
    pub(super) fn take_consumed(&self) -> usize {
        self.consumed.swap(0, Ordering::SeqCst)
    }

    pub(super) fn take_starved(&self) -> bool {
        self.starved.swap(false, Ordering::SeqCst)
    }

    pub(super) fn wish(&self) -> Wish {
        match self.wish.load(Ordering::SeqCst) {
            OPEN => Wish::Open,
            FINISH => Wish::Finish,
            MALFORMED => Wish::Reset(h2::Reason::PROTOCOL_ERROR),
            EXCESSIVE => Wish::Reset(h2::Reason::ENHANCE_YOUR_CALM),
            _ => Wish::Reset(h2::Reason::CANCEL),
        }
    }

    /// The first wish stands.
    fn end(&self, wish: u8) {
        if self.wish.compare_exchange(OPEN, wish, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.wake();
        }
    }

    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
