//! Tunnels over HTTP/2: byte streams that the platform carries. The engine says which are wanted and what they are to
//! send; the platform says what becomes of them and what they bring.

use super::{Owner, TunnelEnd};
use crate::core::Engine;
use crate::generation::{Carrier, MasqueGateway, Path, StreamKey};
use crate::masque::ip::{Role, Scope};
use crate::masque::request::{Answer, Dialect, Incoming, Outgoing};
use crate::masque::session::tls;
use crate::masque::stream::{Fault, News, SendError, Stream, StreamSettings, TunnelError};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What a stream is to do.
#[derive(Debug)]
pub enum StreamOrder {
    /// Connect, and ask for a tunnel. [`StreamInput::Opened`] or [`StreamInput::Lost`] is to follow.
    Connect(Box<StreamTarget>),
    /// Send this, which is the last, and end in good order. Nothing of the stream is wanted any more.
    Finish(Bytes),
    /// Be reset. Nothing of the stream is wanted any more.
    Reset(Fault),
}

/// Where a stream goes, and what it asks for there.
#[derive(Debug)]
pub struct StreamTarget {
    /// The gateway's addresses, the likeliest first.
    pub addresses: Vec<SocketAddr>,
    /// The name its certificate is checked for.
    pub server_name: String,
    /// Whom we believe, and how we prove who we are.
    pub tls: Arc<rustls::ClientConfig>,
    /// The request.
    pub request: Outgoing,
}

/// What a stream tells.
#[derive(Debug)]
pub enum StreamInput<'a> {
    /// Our request was accepted.
    Opened,
    /// Bytes of the peer's side, in order. They are dealt with when the call returns.
    Bytes(&'a Bytes),
    /// The path is slower than its senders: until there is room again, packets beyond a short queue are dropped.
    Full,
    /// There is room again.
    Room,
    /// The peer's side ended in good order.
    Ended,
    /// There is no such stream, or no longer.
    Lost(TunnelEnd),
}

/// Bytes that may wait in all streams together.
const MEMORY: usize = 128 << 20;
/// One stream gets this part of what others have left: 16 MiB when it alone stands still, 0.4 s at 335 Mb/s.
const SHARE: usize = 8;

#[derive(Debug)]
struct Line {
    owner: Owner,
    /// Where the other end is.
    remote: Option<SocketAddr>,
    /// What it was asked for.
    scope: Scope,
    /// `None` until the request is accepted.
    stream: Option<Stream>,
    /// Bytes of it that are in [`Streams::waiting`].
    waiting: usize,
    /// It is among those that have something to send.
    listed: bool,
    /// It is to be reset.
    fault: Option<Fault>,
}

impl Line {
    /// Corrects `all`, the bytes that wait in all lines.
    fn weigh(&mut self, all: &mut usize) {
        let waiting = self.stream.as_ref().map_or(0, Stream::waiting);
        *all = *all - self.waiting + waiting;
        self.waiting = waiting;
    }
}

/// The streams of an engine.
#[derive(Debug, Default)]
pub(super) struct Streams {
    talk: Option<IpAddr>,
    grease: bool,
    dialect: Dialect,
    lines: BTreeMap<StreamKey, Line>,
    last: u64,
    orders: VecDeque<(StreamKey, StreamOrder)>,
    /// Have something to send.
    sending: VecDeque<StreamKey>,
    /// Bytes that wait in all of them.
    waiting: usize,
    /// Are to be reset, and their generations to be told.
    broken: Vec<(StreamKey, TunnelError)>,
}

impl Streams {
    /// Streams whose ends talk to each other by packets from `talk`, and begin with a reserved capsule if told so.
    pub(super) fn new(talk: Option<IpAddr>, grease: bool, dialect: Dialect) -> Self {
        Self { talk, grease, dialect, ..Self::default() }
    }

    fn add(&mut self, owner: Owner, remote: Option<SocketAddr>, scope: Scope, stream: Option<Stream>) -> StreamKey {
        self.last += 1;
        let key = StreamKey(self.last);
        self.lines.insert(key, Line { owner, remote, scope, stream, waiting: 0, listed: false, fault: None });
        self.touch(key);
        key
    }

    fn stream(&self, role: Role, scope: Scope, mtu: usize, now: Instant) -> Stream {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let grease = self.grease.then_some(self.last);
        let Self { talk, dialect, .. } = *self;
        Stream::new(role, scope, StreamSettings { mtu, talk, grease, dialect, ..StreamSettings::default() }, now)
    }

    /// Our request was accepted.
    fn opened(&mut self, key: StreamKey, mtu: usize, now: Instant) -> Option<Owner> {
        let scope = self.lines.get(&key)?.scope.clone();
        let stream = self.stream(Role::Client, scope, mtu, now);
        let line = self.lines.get_mut(&key)?;
        line.stream = Some(stream);
        Some(line.owner)
    }

    pub(super) fn connect(&mut self, gateway: &MasqueGateway, owner: Owner) -> StreamKey {
        let key = self.add(owner, gateway.http2.first().copied(), gateway.asks.scope(), None);
        let target = StreamTarget {
            addresses: gateway.http2.clone(),
            server_name: gateway.server_name.clone(),
            tls: Arc::clone(&gateway.tls),
            request: gateway.request().in_dialect(self.dialect),
        };
        self.orders.push_back((key, StreamOrder::Connect(Box::new(target))));
        key
    }

    pub(super) fn owner(&self, key: StreamKey) -> Option<Owner> {
        self.lines.get(&key).map(|line| line.owner)
    }

    pub(super) fn remote(&self, key: StreamKey) -> Option<SocketAddr> {
        self.lines.get(&key)?.remote
    }

    pub(super) fn get(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.lines.get_mut(&key)?.stream.as_mut()
    }

    /// Notes that a stream may have something to send.
    pub(super) fn touch(&mut self, key: StreamKey) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.weigh(&mut self.waiting);
        if !line.listed && line.waiting > 0 {
            line.listed = true;
            self.sending.push_back(key);
        }
    }

    /// Sends packets into a stream.
    pub(super) fn send<T>(
        &mut self,
        key: StreamKey,
        send: impl FnOnce(&mut Stream) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let share = MEMORY.saturating_sub(self.waiting) / SHARE;
        let stream = self.get(key).ok_or(SendError::NotOpen)?;
        stream.limit(share);
        let sent = send(stream);
        self.touch(key);
        sent
    }

    /// A stream takes the place of another.
    pub(super) fn succeed(&mut self, former: StreamKey, next: StreamKey, now: Instant) {
        let carried = self.get(former).map(|former| former.carried());
        if let (Some(next), Some(carried)) = (self.get(next), carried) {
            next.expect(carried, now);
        }
    }

    fn output(&mut self, key: StreamKey, now: Instant) -> Option<Bytes> {
        let line = self.lines.get_mut(&key)?;
        let batch = line.stream.as_mut()?.poll_output(now);
        line.weigh(&mut self.waiting);
        batch
    }

    /// Does something to a stream. A peer that breaks the rules, or does not read, loses it.
    pub(super) fn act(&mut self, key: StreamKey, act: impl FnOnce(&mut Stream) -> Result<(), TunnelError>) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        if let Some(Err(error)) = line.stream.as_mut().map(act) {
            line.fault = Some(error.fault());
            self.broken.push((key, error));
        }
        self.touch(key);
    }

    /// Ends a stream in good order, unless there was a fault.
    pub(super) fn close(&mut self, key: StreamKey) {
        let Some(line) = self.lines.remove(&key) else { return };
        self.waiting -= line.waiting;
        let order = match line {
            Line { stream: Some(mut stream), fault: None, .. } => {
                stream.close();
                StreamOrder::Finish(stream.take_output())
            }
            Line { fault, .. } => StreamOrder::Reset(fault.unwrap_or(Fault::None)),
        };
        self.orders.push_back((key, order));
    }
}

impl Engine {
    /// A client at `remote` asks for a tunnel over HTTP/2, with these certificates, its own first. When its key is that of a
    /// generation that is awaited, the request is to be accepted under the key that is given back.
    ///
    /// # Errors
    /// The answer that refuses it.
    pub fn stream_requested(
        &mut self,
        incoming: &Incoming,
        certificates: &[CertificateDer<'_>],
        remote: SocketAddr,
        now: Instant,
    ) -> Result<StreamKey, Answer> {
        let client = certificates.first().and_then(|own| Some(tls::key_id(&tls::public_key(own).ok()?)));
        let (owner, scope) = self.admit_tunnel(client, incoming).map_err(|status| {
            self.counters.tunnels_refused.add(1);
            Answer::refused(status)
        })?;
        let (addresses, routes) = self.offer(owner.0, &scope);
        let Some(masque) = &mut self.masque else { return Err(Answer::refused(503)) };
        let mut stream = masque.streams.stream(Role::Gateway, scope.clone(), self.mtu, now);
        let given = stream.assign(&addresses).and_then(|()| stream.advertise(routes));
        given.map_err(|_| Answer::refused(503))?;
        let key = masque.streams.add(owner, Some(remote), scope, Some(stream));
        self.tunnel_accepted(owner, client, Path::Stream(key), now);
        Ok(key)
    }

    /// Takes what became of a stream.
    pub fn handle_stream(&mut self, key: StreamKey, input: StreamInput<'_>, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        masque.now = now;
        match input {
            StreamInput::Opened => {
                let mtu = self.mtu;
                if let Some(owner) = masque.streams.opened(key, mtu, now) {
                    self.tunnel_stands(owner, Path::Stream(key), now);
                }
            }
            StreamInput::Bytes(chunk) => {
                masque.streams.act(key, |stream| stream.handle_bytes(chunk, now));
                self.stream_news(key, now);
                self.take_stream_packets(key, now);
                self.deliveries.finish();
            }
            StreamInput::Full | StreamInput::Room => {
                if let Some(stream) = masque.streams.get(key) {
                    stream.narrow(matches!(input, StreamInput::Full));
                }
            }
            StreamInput::Ended => {
                masque.streams.act(key, |stream| stream.handle_end());
                self.streams_broken(now);
                self.carrier_lost(Carrier::Stream(key), TunnelEnd::InOrder, now);
            }
            // Whoever carried it takes no orders for it.
            StreamInput::Lost(end) => self.carrier_lost(Carrier::Stream(key), end, now),
        }
        self.streams_broken(now);
        if let Some(masque) = &mut self.masque {
            masque.streams.touch(key);
        }
        self.flush_masque(now);
    }

    /// What a stream is to do next.
    pub fn poll_stream_order(&mut self) -> Option<(StreamKey, StreamOrder)> {
        self.masque.as_mut()?.streams.orders.pop_front()
    }

    /// A stream that has something to send: [`Self::stream_output`].
    pub fn poll_stream(&mut self) -> Option<StreamKey> {
        let streams = &mut self.masque.as_mut()?.streams;
        let key = streams.sending.pop_front()?;
        if let Some(line) = streams.lines.get_mut(&key) {
            line.listed = false;
        }
        Some(key)
    }

    /// The next batch of bytes for a stream.
    pub fn stream_output(&mut self, key: StreamKey) -> Option<Bytes> {
        let masque = self.masque.as_mut()?;
        masque.streams.output(key, masque.now)
    }

    fn streams_broken(&mut self, now: Instant) {
        while let Some((key, error)) = self.masque.as_mut().and_then(|masque| masque.streams.broken.pop()) {
            self.count_fault(error.fault());
            self.carrier_lost(Carrier::Stream(key), error.into(), now);
        }
    }

    fn stream_news(&mut self, key: StreamKey, now: Instant) {
        let path = Path::Stream(key);
        while let Some(news) =
            self.masque.as_mut().and_then(|masque| masque.streams.get(key)).and_then(Stream::poll_news)
        {
            match news {
                News::Assigned(changes) => self.addresses_assigned(path, &changes, now),
                News::RoutesAdvertised(routes) => self.routes_advertised(path, routes, now),
                News::AddressesRequested(requests) => self.addresses_requested(path, &requests, now),
            }
        }
    }

    fn take_stream_packets(&mut self, key: StreamKey, now: Instant) {
        while let Some(masque) = &mut self.masque
            && let Some(owner) = masque.streams.owner(key)
            && let Some(packet) = masque.streams.get(key).and_then(Stream::poll_packet)
        {
            self.take_packet(owner, Path::Stream(key), packet, now);
        }
    }
}
