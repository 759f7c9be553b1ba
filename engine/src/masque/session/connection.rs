//! One QUIC connection with HTTP/3 on it.

use super::error::code;
use super::event::{Event, TunnelId};
use super::offer::Offer;
use super::{ConnectionError, Drops, Settings, TunnelError};
use crate::masque::ip::{Role, Scope, inner_mtu};
use crate::masque::request::{DRAFT_H3_DATAGRAM, Dialect, Outgoing, UriTemplate};
use crate::masque::tunnel::budget::Budget;
use crate::masque::tunnel::{Phase, Tunnel};
use bytes::{Bytes, BytesMut};
use h3wire::{H3Code, StreamId as H3Stream, UniKind};
use quinn_proto::{ConnectionHandle, Dir, StreamEvent, VarInt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Streams a peer may open at once: three of HTTP/3, reserved ones, requests for tunnels,
const STREAMS: u32 = 64;
/// and one more every so often.
const STREAM_REFILL: Duration = Duration::from_secs(1);
/// In so long something that was sent is acknowledged (or in two round trips).
const ANSWERED_IN: Duration = Duration::from_millis(100);
/// What quinn counts for each datagram besides its bytes.
const PER_DATAGRAM: usize = size_of::<Bytes>();
/// How long a client's connection may be without a tunnel, its handshake included.
const UNUSED: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    pub(super) handle: ConnectionHandle,
    pub(super) quic: quinn_proto::Connection,
    pub(super) h3: h3wire::Connection,
    pub(super) role: Role,
    /// Of a server that does not say what it serves.
    pub(super) offer: Option<Offer>,
    pub(super) grease: bool,
    /// See [`super::Settings::talk`].
    pub(super) talk: Option<IpAddr>,
    /// See [`super::Settings::send_queue`].
    pub(super) send_queue: usize,
    /// Boxed: a node of the map has room for eleven, and most connections have one.
    pub(super) tunnels: BTreeMap<u64, Box<Tunnel>>,
    pub(super) uni_wanted: VecDeque<UniKind>,
    /// Requests that wait for the peer's settings, in the order of their streams.
    pub(super) requests: VecDeque<(u64, Outgoing, Scope)>,
    pub(super) next_request: u64,
    pub(super) readable: BTreeSet<u64>,
    pub(super) templates: Arc<[UriTemplate]>,
    /// Payloads of DATAGRAM capsules.
    pub(super) packets: VecDeque<(u64, Bytes)>,
    /// Room for packets on their way into QUIC; the endpoint's, as long as it calls.
    pub(super) pool: BytesMut,
    pub(super) drops: Drops,
    /// It waits in the endpoint's queue of those that may have something to send.
    pub(super) sending: bool,
    /// When the last datagram came for it, or it began.
    pub(super) heard: Instant,
    /// Length of the longest datagram that has come over this path, or of the first packets: how far the peer's search for
    /// the path's MTU is.
    pub(super) widest: usize,
    initial_mtu: u16,
    /// Where our own search ends.
    ceiling: u16,
    /// When it was last looked whether acknowledgements come, how many packets had gone, and how many of them had come.
    looked: (Instant, u64, u64),
    streams: Budget,
    /// Streams that we aborted, of which HTTP/3 is still to tell.
    told_aborts: BTreeSet<u64>,
    /// A client's connection has had no tunnel since then.
    unused_since: Option<Instant>,
    over: bool,
}

impl Connection {
    pub(super) fn new(
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        role: Role,
        settings: &Settings,
        templates: Arc<[UriTemplate]>,
        now: Instant,
    ) -> Self {
        let v6 = quic.remote_address().is_ipv6();
        let mut config = h3wire::Config::default();
        config.enable_connect_protocol = role == Role::Gateway;
        config.h3_datagram = true;
        config.grease = settings.grease;
        config.max_encoded_field_section_size = 16 << 10;
        let warp = settings.dialect == Dialect::Warp && role == Role::Client;
        if warp {
            // It fails only where the setting is there already.
            let _ = config.add_setting(DRAFT_H3_DATAGRAM, 1);
        }
        let h3_role = if role == Role::Client { h3wire::Role::Client } else { h3wire::Role::Server };
        Self {
            handle,
            quic,
            h3: h3wire::Connection::new(h3_role, config),
            role,
            offer: warp.then(Offer::default),
            grease: settings.grease,
            talk: settings.talk,
            send_queue: settings.send_queue,
            tunnels: BTreeMap::new(),
            uni_wanted: VecDeque::new(),
            requests: VecDeque::new(),
            next_request: 0,
            readable: BTreeSet::new(),
            templates,
            packets: VecDeque::new(),
            pool: BytesMut::new(),
            drops: Drops::default(),
            sending: false,
            heard: now,
            widest: settings.initial_mtu.into(),
            initial_mtu: settings.initial_mtu,
            ceiling: settings.ceiling(v6),
            looked: (now, 0, 0),
            streams: Budget::new(STREAMS, STREAM_REFILL, now),
            told_aborts: BTreeSet::new(),
            unused_since: (role == Role::Gateway).then_some(now),
            over: false,
        }
    }

    pub(super) fn id(&self, stream: u64) -> TunnelId {
        TunnelId { connection: self.handle, stream }
    }

    /// Moves everything that can move.
    pub(super) fn drive(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        loop {
            let mut moved = self.quic_events(now, events);
            self.read(now, events);
            self.http_events(now, events);
            moved |= self.act(now, events);
            self.probe(now, events);
            self.refresh_mtu(now, events);
            self.write();
            if !moved && !self.act(now, events) {
                break;
            }
        }
        // What ended in good order is forgotten once its last byte was handed over.
        self.tunnels.retain(|_, tunnel| !tunnel.ended);
        self.expire(now, events);
    }

    /// A client that has no tunnel and asks for none takes the place of others.
    fn expire(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        if self.role == Role::Client || !self.tunnels.is_empty() {
            self.unused_since = None;
            return;
        }
        let since = *self.unused_since.get_or_insert(now);
        if !self.over && now >= since + UNUSED {
            self.close_for(ConnectionError::Unused { after: UNUSED }, H3Code::NO_ERROR, "no tunnel", now, events);
        }
    }

    /// True of a client's connection as long as it has no tunnel: its handshake may not even be complete.
    pub(super) fn is_half_open(&self) -> bool {
        self.role == Role::Gateway && !self.tunnels.values().any(|tunnel| tunnel.phase != Phase::Requested)
    }

    /// Closes the connection for what the peer did, or did not do.
    fn close_for(
        &mut self,
        error: ConnectionError,
        code: H3Code,
        reason: &'static str,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        let wire = VarInt::from_u64(code.0).unwrap_or(VarInt::MAX);
        self.quic.close(now, wire, Bytes::from_static(reason.as_bytes()));
        self.h3.transport_closed();
        self.ended(error, events);
    }

    fn quic_events(&mut self, now: Instant, events: &mut VecDeque<Event>) -> bool {
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
                        if !self.streams.pay(now) {
                            let (code, reason) = (H3Code::EXCESSIVE_LOAD, "too many streams");
                            let error = ConnectionError::Http3 { code: code.0, reason };
                            self.close_for(error, code, reason, now, events);
                            return true;
                        }
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
                quinn_proto::Event::Stream(StreamEvent::Available { dir: Dir::Bi }) => self.send_requests(now, events),
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
                    self.head(stream, block, kind, now, events);
                    self.h3.release(block);
                }
                h3wire::Event::Finished(stream) => self.finished(stream, events),
                h3wire::Event::StreamAborted { stream, code, source } => {
                    let told = self.told_aborts.remove(&stream.0);
                    // Tunnels that we aborted ourselves are forgotten already.
                    if self.tunnels.remove(&stream.0).is_some_and(|tunnel| tunnel.phase != Phase::Closing) {
                        let code = code.0;
                        let error = match source {
                            h3wire::AbortSource::Local => TunnelError::Aborted { code },
                            _ => TunnelError::Reset { code },
                        };
                        events.push_back(Event::Ended(self.id(stream.0), Some(error)));
                    } else if source == h3wire::AbortSource::Local && !told {
                        self.drops.malformed_requests += 1;
                    }
                }
                // Half a tunnel is none.
                h3wire::Event::SendStopped { stream, code } => {
                    let error = TunnelError::Reset { code: code.0 };
                    self.abort(stream.0, error, events);
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
            let code = H3Code::SETTINGS_ERROR;
            return self.close_for(ConnectionError::Http3 { code: code.0, reason }, code, reason, now, events);
        }
        self.send_requests(now, events);
    }

    /// Aborts a tunnel's stream, and tells.
    pub(super) fn abort(&mut self, stream: u64, error: TunnelError, events: &mut VecDeque<Event>) {
        let code = code(&error);
        if self.tunnels.remove(&stream).is_some_and(|tunnel| tunnel.phase != Phase::Closing) {
            events.push_back(Event::Ended(self.id(stream), Some(error)));
        }
        // It fails when the stream is gone.
        if self.h3.abort(H3Stream(stream), code).is_ok() {
            self.told_aborts.insert(stream);
        }
    }

    /// Ends a tunnel in good order.
    pub(super) fn close(&mut self, stream: u64, events: &mut VecDeque<Event>) {
        let id = self.id(stream);
        let Some(tunnel) = self.tunnels.get_mut(&stream).filter(|tunnel| tunnel.phase != Phase::Closing) else {
            return;
        };
        events.push_back(Event::Ended(id, None));
        let was = std::mem::replace(&mut tunnel.phase, Phase::Closing);
        if was == Phase::Requested && self.h3.abort(H3Stream(stream), H3Code::REQUEST_CANCELLED).is_ok() {
            self.told_aborts.insert(stream);
        }
    }

    /// Tells, once, that the connection is over.
    pub(super) fn ended(&mut self, error: ConnectionError, events: &mut VecDeque<Event>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let connection = self.handle;
        let waiting = std::mem::take(&mut self.requests).into_iter().map(|(stream, ..)| stream);
        let open = std::mem::take(&mut self.tunnels).into_iter();
        let ended = open.filter(|(_, tunnel)| tunnel.phase != Phase::Closing).map(|(stream, _)| stream).chain(waiting);
        let ended = ended.map(|stream| TunnelId { connection, stream });
        events.extend(ended.map(|id| Event::Ended(id, Some(TunnelError::Connection))));
        events.push_back(Event::Closed(self.handle, error));
    }

    /// Bytes that wait to be sent in QUIC's datagrams, with what each takes besides them: [`PER_DATAGRAM`].
    pub(super) fn waiting(&mut self) -> usize {
        // The space is told without what the next datagram would take.
        let room = self.quic.datagrams().send_buffer_space();
        self.send_queue.saturating_sub(PER_DATAGRAM).saturating_sub(room)
    }

    /// True now and then while nothing is acknowledged. QUIC's own probes wait for a pause in what is sent (RFC 9002 section
    /// 6.2.1), which without a window there may never be; and when all of it is too long for the path, nothing else comes back.
    pub(super) fn is_unanswered(&mut self, now: Instant) -> bool {
        let (looked, packets, known) = self.looked;
        if now.saturating_duration_since(looked) < ANSWERED_IN.max(2 * self.quic.rtt()) || self.quic.is_handshaking() {
            return false;
        }
        let stats = self.quic.stats();
        let (sent, acks) = (stats.frame_tx.datagram, stats.frame_rx.acks);
        self.looked = (now, sent, acks);
        sent > packets && acks == known && !self.quic.is_closed()
    }

    /// Room for a packet and its prefix in one QUIC packet of `mtu` bytes. In capsules there is as much as anybody wants.
    fn room(&mut self, mtu: usize) -> usize {
        let in_datagrams = self.h3.peer_settings().is_some_and(|settings| settings.h3_datagram);
        if !in_datagrams {
            return usize::from(u16::MAX);
        }
        let now = self.quic.datagrams().max_size().unwrap_or(0);
        (now + mtu).saturating_sub(self.quic.current_mtu().into())
    }

    /// The longest packet that a tunnel can come to carry.
    pub(super) fn most(&mut self, stream: u64) -> usize {
        let ceiling = self.ceiling.into();
        inner_mtu(self.room(ceiling), stream)
    }

    fn refresh_mtu(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let mtu = self.quic.current_mtu();
        let (room, back, may_grow) = (self.room(mtu.into()), self.room(self.widest), mtu < self.ceiling);
        let mut narrow = Vec::new();
        for (stream, tunnel) in &mut self.tunnels {
            let id = TunnelId { connection: self.handle, stream: *stream };
            match tunnel.set_mtu(inner_mtu(room, *stream), may_grow, now) {
                Ok(false) => {}
                Ok(true) => events.push_back(Event::MtuChanged(id, tunnel.mtu)),
                Err(error) => narrow.push((*stream, error)),
            }
            // Peers of others need not search.
            let back = if self.talk.is_some() { inner_mtu(back, *stream) } else { usize::from(u16::MAX) };
            if tunnel.note_back(back) {
                events.push_back(Event::ReachedBy(id, tunnel.back));
            }
        }
        for (stream, error) in narrow {
            self.abort(stream, error, events);
        }
        self.http_events(now, events);
    }

    /// The path is another one: what was known of the old one is forgotten.
    pub(super) fn path_changed(&mut self, now: Instant) {
        self.quic.path_changed(now);
        self.widest = self.initial_mtu.into();
        for tunnel in self.tunnels.values_mut() {
            tunnel.back = 0;
        }
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let probes = self.tunnels.values().filter_map(|tunnel| tunnel.deadline()).min();
        let unused = self.unused_since.filter(|_| !self.over).map(|since| since + UNUSED);
        self.quic.poll_timeout().into_iter().chain(probes).chain(unused).min()
    }
}
