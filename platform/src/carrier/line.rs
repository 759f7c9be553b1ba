//! A tunnel of the engine's and the HTTP/2 stream that carries it, joined.

use super::{CarrierError, Input, Outbox, SendBatchError};
use bytes::Bytes;
use std::time::Instant;
use vestibule_engine::masque::stream::{Stream, TunnelError};

/// One tunnel as the thread that moves packets has it: packets and capsules go through [`Line::stream`]; after a batch of
/// them, [`Line::flush`].
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    /// `None`: our side has ended.
    outbox: Option<Outbox>,
    /// A batch that found the outbox full.
    stuck: Option<Bytes>,
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
        let mut line = Self { stream, outbox: Some(outbox), stuck: None, closing: false };
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
                if let Some(outbox) = &self.outbox {
                    outbox.consumed(chunk.len());
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
            Input::Lost(error) => {
                self.outbox = None;
                self.stream.close();
                Err(LineEnd::Lost(error))
            }
        }
    }

    /// Hands over what waits to be sent, as far as there is room; the rest goes when there is again.
    pub fn flush(&mut self) {
        let Some(outbox) = &self.outbox else { return };
        while let Some(batch) = self.stuck.take().or_else(|| self.stream.poll_output()) {
            match outbox.send(batch) {
                Ok(()) => {}
                Err(SendBatchError::Full(batch)) => {
                    self.stuck = Some(batch);
                    return;
                }
                // The inbox says how it ended.
                Err(SendBatchError::Over) => return,
            }
        }
        if self.closing
            && let Some(outbox) = self.outbox.take()
        {
            outbox.finish();
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
        if let Some(outbox) = self.outbox.take() {
            outbox.reset(error.fault());
        }
        LineEnd::Broken(error)
    }
}
