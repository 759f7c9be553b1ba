//! Bytes between QUIC's streams and HTTP/3.

use super::ConnectionError;
use super::connection::Connection;
use super::event::Event;
use crate::masque::tunnel::Phase;
use bytes::Bytes;
use h3wire::{Action, Recv, StreamId as H3Stream, UsageError};
use quinn_proto::{Dir, ReadError, StreamId, VarInt};
use std::collections::VecDeque;
use std::time::Instant;

/// QUIC's name of a stream.
pub(super) fn quic_id(stream: H3Stream) -> StreamId {
    StreamId::from(VarInt::from_u64(stream.0).unwrap_or(VarInt::MAX))
}

fn code(code: h3wire::H3Code) -> VarInt {
    VarInt::from_u64(code.0).unwrap_or(VarInt::MAX)
}

impl Connection {
    /// Does what HTTP/3 wants done on the QUIC connection. True: something was.
    pub(super) fn act(&mut self, now: Instant, events: &mut VecDeque<Event>) -> bool {
        let mut moved = false;
        while let Some(action) = self.h3.poll_action() {
            moved = true;
            // What fails here fails because the stream is gone already.
            match action {
                Action::OpenUni(kind) => self.uni_wanted.push_back(kind),
                Action::ResetStream { stream, code: wire } => {
                    let _ = self.quic.send_stream(quic_id(stream)).reset(code(wire));
                }
                Action::StopSending { stream, code: wire } => {
                    let _ = self.quic.recv_stream(quic_id(stream)).stop(code(wire));
                }
                Action::FinishStream(stream) => {
                    let _ = self.quic.send_stream(quic_id(stream)).finish();
                }
                Action::CloseConnection { code: wire, reason } => {
                    self.quic.close(now, code(wire), Bytes::from_static(reason.as_bytes()));
                    self.ended(ConnectionError::Http3 { code: wire.0, reason }, events);
                }
            }
        }
        while let Some(kind) = self.uni_wanted.front().copied() {
            let Some(id) = self.quic.streams().open(Dir::Uni) else { break };
            self.uni_wanted.pop_front();
            moved |= self.h3.bind_uni(kind, H3Stream(id.into())).is_ok();
        }
        moved
    }

    /// Writes what waits, as far as the peer's windows allow.
    pub(super) fn write(&mut self) {
        let sendable: Vec<_> = self.h3.sendable().collect();
        for stream in sendable {
            while let Some(bytes) = self.h3.poll_send(stream) {
                let Ok(written) = self.quic.send_stream(quic_id(stream)).write(bytes) else { break };
                if written == 0 || self.h3.sent(stream, written).is_err() {
                    break;
                }
            }
        }
        let ids: Vec<u64> = self.tunnels.keys().copied().collect();
        for id in ids {
            self.write_capsules(id);
        }
    }

    fn write_capsules(&mut self, id: u64) {
        let stream = H3Stream(id);
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        loop {
            let (frame, written) = &mut tunnel.frame;
            if let Some(rest) = frame.get(*written..).filter(|rest| !rest.is_empty()) {
                let Ok(taken) = self.quic.send_stream(quic_id(stream)).write(rest) else { return };
                *written += taken;
                if taken == 0 || self.h3.data_written(stream, taken).is_err() {
                    return;
                }
                continue;
            }
            frame.clear();
            *written = 0;
            let end = tunnel.waiting.is_empty();
            if end && tunnel.phase != Phase::Closing {
                return;
            }
            match self.h3.send_data(stream, tunnel.waiting.len() as u64, end) {
                Ok(data) => {
                    frame.extend_from_slice(data.prefix());
                    frame.append(&mut tunnel.waiting);
                }
                // The answer's head comes first.
                Err(UsageError::Blocked) => return,
                // Before the answer, or after the end: nothing may be sent.
                Err(_) => {
                    tunnel.ended = tunnel.phase == Phase::Closing;
                    return;
                }
            }
            if end {
                tunnel.ended = true;
                return;
            }
        }
    }

    /// Reads all streams that have something.
    pub(super) fn read(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        while let Some(id) = self.readable.pop_first() {
            let stream = H3Stream(id);
            loop {
                let mut recv = self.quic.recv_stream(quic_id(stream));
                let Ok(mut chunks) = recv.read(true) else { break };
                let next = chunks.next(usize::MAX);
                // The windows it opens go out with the next packet: the endpoint polls for one after every event.
                let _ = chunks.finalize();
                match next {
                    Ok(Some(chunk)) => self.take(stream, &chunk.bytes, false, now, events),
                    Ok(None) => {
                        self.take(stream, &[], true, now, events);
                        break;
                    }
                    Err(ReadError::Blocked) => break,
                    Err(ReadError::Reset(code)) => {
                        let _ = self.h3.stream_reset_received(stream, h3wire::H3Code(code.into_inner()));
                        break;
                    }
                }
            }
            self.http_events(now, events);
        }
    }

    /// Reads what came on a stream, as its dialect has it.
    fn take(&mut self, stream: H3Stream, bytes: &[u8], fin: bool, now: Instant, events: &mut VecDeque<Event>) {
        let Some(offer) = &mut self.offer else { return self.feed(stream, bytes, fin, now, events) };
        let bytes = offer.read(stream.0, bytes, fin);
        if fin || !bytes.is_empty() {
            self.feed(stream, &bytes, fin, now, events);
        }
    }

    fn feed(&mut self, stream: H3Stream, mut bytes: &[u8], fin: bool, now: Instant, events: &mut VecDeque<Event>) {
        loop {
            let (consumed, body) = match self.h3.recv(stream, bytes, fin) {
                Ok(Recv::Consumed(consumed) | Recv::Frame { consumed, .. } | Recv::Raw { consumed, .. }) => {
                    (consumed, None)
                }
                Ok(Recv::Body { consumed, range }) => (consumed, bytes.get(range)),
                // Heads are released by `http_events` below, before the next call.
                Ok(Recv::Paused) | Err(_) => return,
            };
            self.http_events(now, events);
            if let Some(body) = body {
                self.read_capsules(stream.0, body, now, events);
            }
            bytes = bytes.get(consumed..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
        }
    }
}
