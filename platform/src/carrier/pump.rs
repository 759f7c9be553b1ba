//! One stream: bytes both ways between HTTP/2 and the packet thread.

use super::CarrierError;
use super::mailbox::{InboxAddress, Input, Orders, Wish};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::task::{Context, Poll};

pub(super) struct Pump {
    pub(super) key: u64,
    pub(super) inbox: InboxAddress,
    pub(super) orders: Orders,
    pub(super) send: SendStream<Bytes>,
    pub(super) body: RecvStream,
    /// The rest of the batch that is being sent.
    pub(super) batch: Bytes,
    /// The peer's side has ended.
    pub(super) heard_all: bool,
    /// Our side has.
    pub(super) said_all: bool,
}

/// What a turn of a pump came to.
pub(super) enum Turn {
    /// The connection has something to write.
    Moved,
    Idle,
    /// The stream is over.
    Over,
}

impl Pump {
    pub(super) fn new(
        key: u64,
        inbox: InboxAddress,
        orders: Orders,
        send: SendStream<Bytes>,
        body: RecvStream,
    ) -> Self {
        Self { key, inbox, orders, send, body, batch: Bytes::new(), heard_all: false, said_all: false }
    }

    /// Moves what can move.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        self.orders.link.register(cx.waker());
        let wish = self.orders.link.wish();
        if let Wish::Reset(reason) = wish {
            self.send.send_reset(reason);
            return Turn::Over;
        }
        match self.pump(wish, cx) {
            Ok(_) if self.heard_all && self.said_all => Turn::Over,
            Ok(true) => Turn::Moved,
            Ok(false) => Turn::Idle,
            Err(error) => {
                self.lost(error);
                Turn::Over
            }
        }
    }

    /// Tells that the stream is lost, unless the packet thread is done with it.
    pub(super) fn lost(&self, error: CarrierError) {
        if self.orders.link.wish() == Wish::Open {
            self.inbox.put(self.key, Input::Lost(error));
        }
    }

    fn pump(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, CarrierError> {
        let heard = self.hear(wish, cx)?;
        let consumed = self.orders.link.take_consumed();
        if consumed > 0 {
            self.release(consumed);
        }
        Ok(self.say(wish, cx)? || heard || consumed > 0)
    }

    fn release(&mut self, bytes: usize) {
        let flow = self.body.flow_control();
        // More than there is to release is never released.
        let bytes = bytes.min(flow.used_capacity());
        let _ = flow.release_capacity(bytes);
    }

    /// True when there is something for the connection to write.
    fn hear(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, CarrierError> {
        let mut discarded = false;
        while !self.heard_all {
            match self.body.poll_data(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(bytes))) if wish == Wish::Open => {
                    if !bytes.is_empty() {
                        self.inbox.put(self.key, Input::Bytes(bytes));
                    }
                }
                Poll::Ready(Some(Ok(bytes))) => {
                    self.release(bytes.len());
                    discarded = true;
                }
                Poll::Ready(Some(Err(error))) if error.reason() != Some(Reason::NO_ERROR) => {
                    return Err(CarrierError::of_stream(error));
                }
                // NO_ERROR: the peer is done and wants no more of us (RFC 9113 section 8.1).
                Poll::Ready(_) => {
                    self.heard_all = true;
                    if wish == Wish::Open {
                        self.inbox.put(self.key, Input::End);
                    }
                }
            }
        }
        Ok(discarded)
    }

    /// True when there is something for the connection to write.
    fn say(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, CarrierError> {
        let mut moved = false;
        while !self.said_all {
            if self.batch.is_empty() && !self.next_batch() {
                if wish == Wish::Finish {
                    self.said_all = true;
                    moved = true;
                    // It fails when the stream is reset, which is an end too.
                    let _ = self.send.send_data(Bytes::new(), true);
                }
                break;
            }
            self.send.reserve_capacity(self.batch.len());
            let room = match self.send.poll_capacity(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(error))) => return Err(CarrierError::of_stream(error)),
                // Reset, or the connection is gone: what is heard of it says which.
                Poll::Ready(None) if self.heard_all => {
                    self.said_all = true;
                    break;
                }
                Poll::Ready(None) => break,
            };
            let piece = self.batch.split_to(room.min(self.batch.len()));
            self.send.send_data(piece, false).map_err(CarrierError::of_stream)?;
            moved = true;
        }
        Ok(moved)
    }

    fn next_batch(&mut self) -> bool {
        let Ok(batch) = self.orders.batches.try_recv() else { return false };
        self.batch = batch;
        if self.orders.link.take_starved() {
            self.inbox.put(self.key, Input::Room);
        }
        true
    }
}
