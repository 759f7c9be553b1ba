//! The worker's streams: tunnels over HTTP/2 between the engine and the tasks that carry them.

use crate::carrier::{Arrival, CarrierThread, Inbox, Input, Request, Sending, Settings, open};
use crate::wait::Bell;
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::task::AbortHandle;
use vestibule_engine::core::{Engine, StreamInput, StreamLoss, StreamOrder, TunnelEnd};
use vestibule_engine::generation::StreamKey;

/// Streams of one worker.
pub(super) struct Streams {
    inbox: Inbox,
    /// Whether connections may be opened.
    pub(super) allowed: bool,
    /// Where they are driven, once there was one.
    thread: Option<CarrierThread>,
    /// Marks connections, as the socket is marked.
    pub(super) mark: Option<u32>,
    opening: BTreeMap<StreamKey, AbortHandle>,
    open: BTreeMap<StreamKey, Sending>,
}

impl Streams {
    pub(super) fn new(bell: Bell) -> Self {
        let (opening, open) = (BTreeMap::new(), BTreeMap::new());
        Self { inbox: Inbox::new(bell), allowed: false, thread: None, mark: None, opening, open }
    }

    /// A client asks for a tunnel.
    pub(super) fn take_request(&mut self, request: Request, engine: &mut Engine, now: Instant) {
        let key = match engine.stream_requested(&request.incoming, &request.certificates, request.remote, now) {
            Ok(key) => key,
            Err(answer) => return request.refuse(&answer),
        };
        match request.accept(self.inbox.address(), key.0) {
            Ok(outbox) => drop(self.open.insert(key, Sending::new(outbox))),
            Err(error) => engine.handle_stream(key, StreamInput::Lost(error.end()), now),
        }
    }

    /// Gives the engine the next that a stream brought; false when there is nothing.
    pub(super) fn receive(&mut self, engine: &mut Engine, now: Instant) -> bool {
        let Some(Arrival { key, input }) = self.inbox.poll() else { return false };
        let key = StreamKey(key);
        match input {
            Input::Opened(outbox) => {
                // Dropped when it is not wanted any more.
                if self.opening.remove(&key).is_some() {
                    self.open.insert(key, Sending::new(outbox));
                    engine.handle_stream(key, StreamInput::Opened, now);
                }
            }
            Input::Bytes(chunk) => {
                engine.handle_stream(key, StreamInput::Bytes(&chunk), now);
                if let Some(sending) = self.open.get(&key) {
                    sending.consumed(chunk.len());
                }
            }
            Input::Room => {
                engine.handle_stream(key, StreamInput::Room, now);
                self.flush(key, engine, now);
            }
            Input::End => engine.handle_stream(key, StreamInput::Ended, now),
            Input::Lost(error) => {
                tracing::debug!(%error, "a tunnel over HTTP/2 is lost");
                self.opening.remove(&key);
                self.open.remove(&key);
                engine.handle_stream(key, StreamInput::Lost(error.end()), now);
            }
        }
        true
    }

    /// Does what the engine wants done, and takes what it has to send.
    pub(super) fn send(&mut self, engine: &mut Engine, now: Instant) {
        while let Some((key, order)) = engine.poll_stream_order() {
            match order {
                StreamOrder::Connect(target) => {
                    let (inbox, mark) = (self.inbox.address().clone(), self.mark);
                    let Some(thread) = self.thread() else {
                        let nobody = StreamLoss::Other("nothing here carries HTTP/2".to_owned());
                        engine.handle_stream(key, StreamInput::Lost(TunnelEnd::Stream(nobody)), now);
                        continue;
                    };
                    let opening = open(*target, mark, Settings::default(), inbox, key.0);
                    let opening = thread.handle().spawn(opening).abort_handle();
                    self.opening.insert(key, opening);
                }
                StreamOrder::Finish(last) => {
                    if let Some(sending) = self.open.remove(&key) {
                        sending.finish(last);
                    }
                }
                StreamOrder::Reset(fault) => {
                    if let Some(opening) = self.opening.remove(&key) {
                        opening.abort();
                    }
                    if let Some(sending) = self.open.remove(&key) {
                        sending.reset(fault);
                    }
                }
            }
        }
        while let Some(key) = engine.poll_stream() {
            self.flush(key, engine, now);
        }
    }

    fn thread(&mut self) -> Option<&CarrierThread> {
        if self.allowed && self.thread.is_none() {
            match CarrierThread::start() {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => tracing::warn!(%error, "no thread for tunnels over HTTP/2"),
            }
        }
        self.thread.as_ref()
    }

    fn flush(&mut self, key: StreamKey, engine: &mut Engine, now: Instant) {
        if let Some(sending) = self.open.get_mut(&key)
            && !sending.flush(|| engine.stream_output(key))
        {
            engine.handle_stream(key, StreamInput::Full, now);
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for opening in self.opening.values() {
            opening.abort();
        }
    }
}
