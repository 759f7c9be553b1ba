//! The packet thread's side of a stream: its outbox by the outbox's rules, and an engine's tunnel joined to that.

use super::{CarrierError, Input, Outbox, SendBatchError};
use bytes::Bytes;
use std::time::Instant;
use vestibule_engine::masque::stream::{Fault, Stream, TunnelError};

/// An outbox, and the batch that found it full.
#[derive(Debug)]
pub struct Sending {
    outbox: Outbox,
    stuck: Option<Bytes>,
}

impl Sending {
    /// Takes the outbox.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, stuck: None }
    }

    /// Hands over batches, those of `next` after the one that waits. False when there is no room for more; to be called
    /// again after [`Input::Room`].
    pub fn flush(&mut self, mut next: impl FnMut() -> Option<Bytes>) -> bool {
        while let Some(batch) = self.stuck.take().or_else(&mut next) {
            match self.outbox.send(batch) {
                Ok(()) => {}
                Err(SendBatchError::Full(batch)) => {
                    self.stuck = Some(batch);
                    return false;
                }
                // The inbox says how it ended.
                Err(SendBatchError::Over) => return true,
            }
        }
        true
    }

    /// So many bytes that came are dealt with.
    pub fn consumed(&self, bytes: usize) {
        self.outbox.consumed(bytes);
    }

    /// Ends our side in good order after what waits and `last`; by a reset when there is no room for these.
    pub fn finish(mut self, last: Bytes) {
        let mut last = (!last.is_empty()).then_some(last);
        if self.flush(|| last.take()) { self.outbox.finish() } else { self.outbox.reset(Fault::None) }
    }

    /// Resets the stream.
    pub fn reset(self, fault: Fault) {
        self.outbox.reset(fault);
    }
}

/// One tunnel without an engine around it: packets and capsules go through [`Line::stream`]; after a batch of them,
/// [`Line::flush`].
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    /// `None`: our side has ended.
    sending: Option<Sending>,
    closing: bool,
}

/// How a tunnel ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineEnd {
    /// In good order.
    #[error("the tunnel ended")]
    Ended,
    /// The stream was lost.
    #[error("the tunnel's stream was lost")]
    Lost(#[source] CarrierError),
    /// The peer broke the rules: the stream was reset.
    #[error("the tunnel was given up")]
    Broken(#[source] TunnelError),
}

impl Line {
    /// Joins the two.
    #[must_use]
    pub fn new(stream: Stream, outbox: Outbox) -> Self {
        let mut line = Self { stream, sending: Some(Sending::new(outbox)), closing: false };
        line.flush();
        line
    }

    /// The tunnel. Drain its packets and news after every [`Line::handle`].
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Takes what the stream brought.
    ///
    /// # Errors
    /// The tunnel is over.
    pub fn handle(&mut self, input: Input, now: Instant) -> Result<(), LineEnd> {
        match input {
            Input::Bytes(chunk) => {
                self.stream.handle_bytes(&chunk, now).map_err(|error| self.give_up(error))?;
                if let Some(sending) = &self.sending {
                    sending.consumed(chunk.len());
                }
                // Answers may have come of it.
                self.flush();
                Ok(())
            }
            Input::Room => {
                self.flush();
                Ok(())
            }
            Input::End => {
                self.stream.handle_end().map_err(|error| self.give_up(error))?;
                self.close();
                Err(LineEnd::Ended)
            }
            Input::Opened(_) => Ok(()),
            Input::Lost(error) => {
                self.sending = None;
                self.stream.close();
                Err(LineEnd::Lost(error))
            }
        }
    }

    /// Hands over what waits to be sent, as far as there is room; the rest goes when there is again.
    pub fn flush(&mut self) {
        let Some(sending) = &mut self.sending else { return };
        let has_room = sending.flush(|| self.stream.poll_output(Instant::now()));
        self.stream.narrow(!has_room);
        if has_room
            && self.closing
            && let Some(sending) = self.sending.take()
        {
            sending.finish(Bytes::new());
        }
    }

    /// Ends the tunnel in good order, after what waits. Nothing arrives any more.
    pub fn close(&mut self) {
        self.stream.close();
        self.closing = true;
        self.flush();
    }

    /// Resets the stream for what the peer did wrong.
    pub fn give_up(&mut self, error: TunnelError) -> LineEnd {
        self.stream.close();
        if let Some(sending) = self.sending.take() {
            sending.reset(error.fault());
        }
        LineEnd::Broken(error)
    }
}
