//! One QUIC connection with HTTP/3 on it.

use super::event::{Event, TunnelId};
use super::tunnel::{Arrival, Origin, Phase, Tunnel};
use super::{ConnectionError, SendError, TunnelError};
use crate::masque::datagram::Prefix;
use crate::masque::ip::{Role, Scope, inner_mtu};
use crate::masque::request::{
    Accepted, Answer, Head, HttpVersion, Incoming, Outgoing, Rejection, ResponseError, UriTemplate,
};
use bytes::{Bytes, BytesMut};
use h3wire::{Datagram, FieldRef, H3Code, HeaderBlockId, HeadersKind, StreamId as H3Stream, UniKind};
use quinn_proto::{ConnectionHandle, Dir, SendDatagramError, StreamEvent, VarInt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Packets that came in capsules and wait to be taken; then the oldest are dropped.
const MAX_PACKETS: usize = 1024;
/// Room for packets is allocated in pieces of this size: one batch.
const POOL: usize = 64 << 10;

pub(super) struct Connection {
    pub(super) handle: ConnectionHandle,
    pub(super) quic: quinn_proto::Connection,
    pub(super) h3: h3wire::Connection,
    role: Role,
    grease: bool,
    pub(super) tunnels: BTreeMap<u64, Tunnel>,
    pub(super) uni_wanted: VecDeque<UniKind>,
    /// Requests that wait for the peer's settings, in the order of their streams.
    requests: VecDeque<(u64, Outgoing, Scope)>,
    next_request: u64,
    pub(super) readable: BTreeSet<u64>,
    templates: Arc<[UriTemplate]>,
    /// Payloads of DATAGRAM capsules.
    packets: VecDeque<(u64, Bytes)>,
    pool: BytesMut,
    over: bool,
}

impl Connection {
    pub(super) fn new(
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        role: Role,
        grease: bool,
        templates: Arc<[UriTemplate]>,
    ) -> Self {
        let mut config = h3wire::Config::default();
        config.enable_connect_protocol = role == Role::Gateway;
        config.h3_datagram = true;
        config.grease = grease;
        config.max_encoded_field_section_size = 16 << 10;
        let h3_role = if role == Role::Client { h3wire::Role::Client } else { h3wire::Role::Server };
        Self {
            handle,
            quic,
            h3: h3wire::Connection::new(h3_role, config),
            role,
            grease,
            tunnels: BTreeMap::new(),
            uni_wanted: VecDeque::new(),
            requests: VecDeque::new(),
            next_request: 0,
            readable: BTreeSet::new(),
            templates,
            packets: VecDeque::new(),
            pool: BytesMut::new(),
            over: false,
        }
    }

    fn id(&self, stream: u64) -> TunnelId {
        TunnelId { connection: self.handle, stream }
    }

    /// Asks for a tunnel as soon as the peer's settings are known.
    pub(super) fn request(&mut self, outgoing: Outgoing, scope: Scope, events: &mut VecDeque<Event>) -> TunnelId {
        let stream = self.next_request;
        self.next_request += 4;
        self.requests.push_back((stream, outgoing, scope));
        self.send_requests(events);
        self.id(stream)
    }

    fn send_requests(&mut self, events: &mut VecDeque<Event>) {
        let Some(settings) = self.h3.peer_settings() else { return };
        let offered = settings.enable_connect_protocol;
        while let Some((stream, outgoing, scope)) = self.requests.pop_front() {
            let id = self.id(stream);
            if !offered {
                events.push_back(Event::Ended(id, Some(TunnelError::NoExtendedConnect)));
                continue;
            }
            if self.quic.streams().open(Dir::Bi).is_none() {
                self.requests.push_front((stream, outgoing, scope));
                return;
            }
            let fields = outgoing.extended_connect();
            let refs: Vec<_> = fields.iter().map(|f| FieldRef::new(f.name.as_bytes(), f.value.as_bytes())).collect();
            if self.h3.send_headers(H3Stream(stream), &refs, false).is_err() {
                events.push_back(Event::Ended(id, Some(TunnelError::Connection)));
                continue;
            }
            let mut tunnel = Tunnel::new(id, Role::Client, self.grease.then_some(stream / 4));
            tunnel.link.scope = scope;
            self.tunnels.insert(stream, tunnel);
        }
    }

    /// Moves everything that can move.
    pub(super) fn drive(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        loop {
            let mut moved = self.quic_events(events);
            self.read(now, events);
            self.http_events(now, events);
            moved |= self.act(now, events);
            self.probe(now);
            self.refresh_mtu(now, events);
            self.write();
            if !moved && !self.act(now, events) {
                break;
            }
        }
        // What ended in good order is forgotten once its last byte was handed over.
        self.tunnels.retain(|_, tunnel| !tunnel.ended);
    }

    fn quic_events(&mut self, events: &mut VecDeque<Event>) -> bool {
        let mut moved = false;
        while let Some(event) = self.quic.poll() {
            moved = true;
            match event {
                quinn_proto::Event::Connected => events.push_back(Event::Connected(self.handle)),
                quinn_proto::Event::ConnectionLost { reason } => {
                    self.h3.transport_closed();
                    self.ended(ConnectionError::Quic(reason), events);
                }
                quinn_proto::Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic.streams().accept(dir) {
                        self.readable.insert(id.into());
                    }
                }
                quinn_proto::Event::Stream(StreamEvent::Readable { id }) => {
                    self.readable.insert(id.into());
                }
                quinn_proto::Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    let code = H3Code(error_code.into_inner());
                    // An error closes the connection, which follows as an action.
                    let _ = self.h3.stop_sending_received(H3Stream(id.into()), code);
                }
                quinn_proto::Event::Stream(StreamEvent::Available { dir: Dir::Bi }) => self.send_requests(events),
                // Writing and datagrams are tried at every turn.
                _ => {}
            }
        }
        moved
    }

    pub(super) fn http_events(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        while let Some(event) = self.h3.poll_event() {
            match event {
                h3wire::Event::Headers { stream, block, kind } => {
                    self.head(stream, block, kind, events);
                    self.h3.release(block);
                }
                h3wire::Event::Finished(stream) => self.finished(stream, events),
                h3wire::Event::StreamAborted { stream, code, source } => {
                    if let Some(mut tunnel) = self.tunnels.remove(&stream.0) {
                        let error = tunnel.error.take().unwrap_or(match source {
                            h3wire::AbortSource::Local => TunnelError::Aborted { code: code.0 },
                            _ => TunnelError::Reset { code: code.0 },
                        });
                        if tunnel.phase != Phase::Closing {
                            events.push_back(Event::Ended(tunnel.id, Some(error)));
                        }
                    }
                }
                // Half a tunnel is none.
                h3wire::Event::SendStopped { stream, code } => {
                    self.abort(stream.0, TunnelError::Reset { code: code.0 }, H3Code::REQUEST_CANCELLED);
                }
                h3wire::Event::PeerSettings => self.settings(now, events),
                h3wire::Event::GoAway { .. } | h3wire::Event::UniStream { .. } | h3wire::Event::Closed { .. } => {}
            }
        }
    }

    /// RFC 9297 section 2.1.1: HTTP datagrams without QUIC's are a contradiction.
    fn settings(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let promised = self.h3.peer_settings().is_some_and(|settings| settings.h3_datagram);
        if promised && self.quic.datagrams().max_size().is_none() {
            let reason = "H3_DATAGRAM without max_datagram_frame_size";
            let code = H3Code::SETTINGS_ERROR.0;
            let wire = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
            self.quic.close(now, wire, Bytes::from_static(reason.as_bytes()));
            self.h3.transport_closed();
            self.ended(ConnectionError::Http3 { code, reason }, events);
            return;
        }
        self.send_requests(events);
    }

    fn head(&mut self, stream: H3Stream, block: HeaderBlockId, kind: HeadersKind, events: &mut VecDeque<Event>) {
        let Ok(block) = self.h3.headers(block) else { return };
        let pseudo = block.pseudo();
        let fields: Vec<_> = block.iter().map(|field| (field.name, field.value)).collect();
        match (self.role, kind) {
            (Role::Gateway, HeadersKind::Request) => {
                let head = Head {
                    method: pseudo.method,
                    protocol: pseudo.protocol,
                    scheme: pseudo.scheme,
                    authority: pseudo.authority,
                    path: pseudo.path,
                    fields,
                };
                let judged = Incoming::judge(&head, HttpVersion::Http3, &self.templates);
                self.requested(stream, judged, events);
            }
            (Role::Client, HeadersKind::Response) => {
                let judged = Accepted::judge(HttpVersion::Http3, pseudo.status.unwrap_or(0), &fields);
                self.answered(stream, judged, events);
            }
            // Interim answers change nothing, and inside a tunnel there are no trailers.
            _ => {}
        }
    }

    fn requested(&mut self, stream: H3Stream, judged: Result<Incoming, Rejection>, events: &mut VecDeque<Event>) {
        match judged {
            Ok(incoming) => {
                let id = self.id(stream.0);
                let tunnel = Tunnel::new(id, Role::Gateway, self.grease.then_some(stream.0 / 4));
                self.tunnels.insert(stream.0, tunnel);
                events.push_back(Event::Requested(id, incoming));
            }
            Err(rejection) => match rejection.status(HttpVersion::Http3) {
                Some(status) => self.answer(stream.0, &Answer::refused(status)),
                None => drop(self.h3.abort(stream, H3Code::MESSAGE_ERROR)),
            },
        }
    }

    fn answered(&mut self, stream: H3Stream, judged: Result<Accepted, ResponseError>, events: &mut VecDeque<Event>) {
        let Some(tunnel) = self.tunnels.get_mut(&stream.0) else { return };
        match judged {
            Ok(_) => {
                let scope = tunnel.link.scope.clone();
                tunnel.open(scope);
                events.push_back(Event::Opened(tunnel.id));
            }
            Err(error) => self.abort(stream.0, TunnelError::Response(error), H3Code::REQUEST_CANCELLED),
        }
    }

    /// Answers a request that gets no tunnel.
    fn answer(&mut self, stream: u64, answer: &Answer) {
        let status = answer.status.to_string();
        let mut fields = vec![FieldRef::new(b":status", status.as_bytes())];
        fields.extend(answer.fields.iter().map(|f| FieldRef::new(f.name.as_bytes(), f.value.as_bytes())));
        // It fails when the stream is gone.
        let _ = self.h3.send_headers(H3Stream(stream), &fields, !(200..300).contains(&answer.status));
    }

    pub(super) fn accept(&mut self, stream: u64, scope: Scope) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(&stream).filter(|tunnel| tunnel.phase == Phase::Requested) else {
            return false;
        };
        tunnel.open(scope);
        self.answer(stream, &Answer::open(HttpVersion::Http3));
        true
    }

    pub(super) fn refuse(&mut self, stream: u64, answer: &Answer) -> bool {
        let waiting = self.tunnels.get(&stream).is_some_and(|tunnel| tunnel.phase == Phase::Requested);
        if waiting {
            self.tunnels.remove(&stream);
            self.answer(stream, answer);
        }
        waiting
    }

    pub(super) fn read_capsules(&mut self, stream: u64, bytes: &[u8], events: &mut VecDeque<Event>) {
        let Some(tunnel) = self.tunnels.get_mut(&stream) else { return };
        let mut payloads = VecDeque::new();
        let read = tunnel.read(bytes, events, &mut payloads);
        if tunnel.phase == Phase::Open {
            self.packets.extend(payloads.into_iter().map(|payload| (stream, Bytes::from(payload))));
            let excess = self.packets.len().saturating_sub(MAX_PACKETS);
            self.packets.drain(..excess);
        }
        if let Err(error) = read {
            self.abort(stream, TunnelError::Capsules(error), H3Code::MESSAGE_ERROR);
        }
    }

    fn finished(&mut self, stream: H3Stream, events: &mut VecDeque<Event>) {
        let Some(tunnel) = self.tunnels.get_mut(&stream.0) else { return };
        if let Err(error) = tunnel.finish() {
            self.abort(stream.0, TunnelError::Capsules(error), H3Code::MESSAGE_ERROR);
        } else if tunnel.phase != Phase::Closing {
            tunnel.phase = Phase::Closing;
            events.push_back(Event::Ended(tunnel.id, None));
        }
    }

    /// Aborts a tunnel's stream; the event follows from HTTP/3's own.
    pub(super) fn abort(&mut self, stream: u64, error: TunnelError, code: H3Code) {
        if let Some(tunnel) = self.tunnels.get_mut(&stream) {
            tunnel.error = Some(error);
        }
        // It fails when the stream is gone.
        let _ = self.h3.abort(H3Stream(stream), code);
    }

    /// Ends a tunnel in good order.
    pub(super) fn close(&mut self, stream: u64, events: &mut VecDeque<Event>) {
        let Some(tunnel) = self.tunnels.get_mut(&stream).filter(|tunnel| tunnel.phase != Phase::Closing) else {
            return;
        };
        events.push_back(Event::Ended(tunnel.id, None));
        let was = std::mem::replace(&mut tunnel.phase, Phase::Closing);
        if was == Phase::Requested {
            let _ = self.h3.abort(H3Stream(stream), H3Code::REQUEST_CANCELLED);
        }
    }

    /// Tells, once, that the connection is over.
    pub(super) fn ended(&mut self, error: ConnectionError, events: &mut VecDeque<Event>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let connection = self.handle;
        let waiting = std::mem::take(&mut self.requests).into_iter();
        let waiting = waiting.map(|(stream, ..)| TunnelId { connection, stream });
        let open = std::mem::take(&mut self.tunnels).into_values();
        let ended = open.filter(|tunnel| tunnel.phase != Phase::Closing).map(|tunnel| tunnel.id).chain(waiting);
        events.extend(ended.map(|id| Event::Ended(id, Some(TunnelError::Connection))));
        events.push_back(Event::Closed(self.handle, error));
    }

    fn refresh_mtu(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let in_datagrams = self.h3.peer_settings().is_some_and(|settings| settings.h3_datagram);
        let room = if in_datagrams { self.quic.datagrams().max_size() } else { Some(usize::from(u16::MAX)) };
        let mut narrow = Vec::new();
        for (stream, tunnel) in &mut self.tunnels {
            if let Err(error) = tunnel.set_mtu(inner_mtu(room.unwrap_or(0), *stream), events) {
                narrow.push((*stream, error));
            }
        }
        for (stream, error) in narrow {
            self.abort(stream, error, H3Code::REQUEST_CANCELLED);
        }
        self.http_events(now, events);
    }

    fn probe(&mut self, now: Instant) {
        let due: Vec<_> = self.tunnels.iter_mut().map(|(stream, tunnel)| (*stream, tunnel.poll_probe(now))).collect();
        for (stream, request) in due {
            match request {
                // If it is lost, the next one follows.
                Ok(Some(request)) => drop(self.send_datagram(stream, &request)),
                Ok(None) => {}
                Err(error) => self.abort(stream, error, H3Code::REQUEST_CANCELLED),
            }
        }
    }

    /// Sends a packet into a tunnel.
    pub(super) fn send(&mut self, stream: u64, packet: &mut [u8], origin: Origin) -> Result<(), SendError> {
        let tunnel = self.tunnels.get(&stream).filter(|tunnel| tunnel.phase == Phase::Open);
        tunnel.ok_or(SendError::NotOpen)?.admit(packet, origin).map_err(SendError::Refused)?;
        self.send_datagram(stream, packet)
    }

    fn send_datagram(&mut self, stream: u64, packet: &[u8]) -> Result<(), SendError> {
        let tunnel = self.tunnels.get_mut(&stream).ok_or(SendError::NotOpen)?;
        let in_datagrams = self.h3.peer_settings().is_some_and(|settings| settings.h3_datagram);
        if !in_datagrams {
            return tunnel.send_in_capsule(packet);
        }
        // Refused unless the setting was sent and received and our side of the stream is open.
        self.h3.datagram_prefix(H3Stream(stream), &mut [0; 8]).map_err(|_| SendError::NotOpen)?;
        let prefix = Prefix::quic(stream);
        let len = prefix.bytes().len() + packet.len();
        if self.pool.capacity() < len {
            self.pool.reserve(POOL.max(len));
        }
        self.pool.extend_from_slice(prefix.bytes());
        self.pool.extend_from_slice(packet);
        match self.quic.datagrams().send(self.pool.split().freeze(), false) {
            Ok(()) => {
                tunnel.counters.sent += 1;
                Ok(())
            }
            Err(SendDatagramError::Blocked(_)) => {
                tunnel.counters.full += 1;
                Err(SendError::Full)
            }
            Err(SendDatagramError::TooLarge) => {
                Err(SendError::Refused(crate::masque::ip::Refusal::TooBig { mtu: tunnel.mtu }))
            }
            Err(_) => Err(SendError::NotOpen),
        }
    }

    /// The next packet that came in, and through which tunnel.
    pub(super) fn receive(&mut self) -> Option<(TunnelId, Bytes)> {
        loop {
            let (stream, payload) = match self.packets.pop_front() {
                Some(packet) => packet,
                None => {
                    let frame = self.quic.datagrams().recv()?;
                    match self.h3.parse_datagram(&frame).ok()? {
                        Datagram::Deliver(stream, range) => (stream.0, frame.slice(range)),
                        // It came before its request, or after its end.
                        Datagram::NotYetOpen(..) | Datagram::Drop => continue,
                    }
                }
            };
            let Some(tunnel) = self.tunnels.get_mut(&stream) else {
                // A request without a tunnel has no datagrams (RFC 9297 section 2).
                let _ = self.h3.abort(H3Stream(stream), H3Code::DATAGRAM_ERROR);
                continue;
            };
            if tunnel.phase != Phase::Open {
                continue;
            }
            match tunnel.receive(&payload) {
                Arrival::Deliver(offset) => return Some((tunnel.id, payload.slice(offset..))),
                // Errors and echoes are not worth waiting for room.
                Arrival::Answer(answer) => drop(self.send_datagram(stream, &answer)),
                Arrival::Dropped => {}
            }
        }
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let probes = self.tunnels.values().filter_map(Tunnel::deadline).min();
        self.quic.poll_timeout().into_iter().chain(probes).min()
    }
}
