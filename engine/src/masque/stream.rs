//! A tunnel inside a reliable byte stream, as HTTP/2 gives one to an extended CONNECT: sans-IO, either end.
//!
//! Give a [`Stream`] the bytes of the peer's side ([`Stream::handle_bytes`]) and packets to send, then drain
//! [`Stream::poll_packet`], [`Stream::poll_news`] and [`Stream::poll_output`]. Packets travel in DATAGRAM capsules, as many
//! to a batch as wait; when more wait than the queue holds, further ones are dropped and counted, for a sender inside the
//! tunnel must hear of a slow path by loss and not by standing still.

mod queue;
#[cfg(test)]
mod tests;

pub use queue::MAX_BATCH;

use super::capsule::{RequestedAddress, Routes};
use super::datagram::Prefix;
use super::ip::{Role, Scope};
use super::request::Dialect;
use super::tunnel::{Arrival, MAX_WAITING, Phase, Tunnel};
pub use super::tunnel::{Counters, Fault, News, Origin, SendError, TunnelError};
use crate::packet::{Cut, Head, Headers};
use bytes::Bytes;
use ipnet::IpNet;
use queue::Queue;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Bytes of packets that wait to be sent while the path has room: more than an adapter gives at a time.
const MAX_BURST: usize = 2 << 20;
/// Packets that came in and wait to be taken; then the newest are dropped. A batch of the shortest that mean anything.
const MAX_PACKETS: usize = 4096;

/// How a tunnel in a byte stream is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// The longest packet. The stream sets no limit: it is the adapter's.
    pub mtu: u16,
    /// Bytes of packets that may always wait to be sent while the path has no room ([`Stream::narrow`]).
    pub queue: usize,
    /// So many more may wait as the path carried lately in this time: a path that stands still for a moment loses nothing,
    /// and a queue that stands is no longer than this. Beyond it, [`SendError::Full`].
    pub patience: Duration,
    /// Begins with a capsule of a reserved type, so that peers stay used to them.
    pub grease: Option<u64>,
    /// Packets from this address to itself are talk between the two ends: they pass whatever was assigned, advertised
    /// and asked for.
    pub talk: Option<IpAddr>,
    /// Whose rules the tunnel keeps to.
    pub dialect: Dialect,
}

impl Default for StreamSettings {
    fn default() -> Self {
        // The queue: four batches, 2 ms at 1 Gb/s and 200 ms at 10 Mb/s. The patience: a machine with more to run than it
        // has cores leaves a thread waiting for up to 300 ms.
        let patience = Duration::from_millis(400);
        Self { mtu: 1500, queue: 4 * MAX_BATCH, patience, grease: Some(0), talk: None, dialect: Dialect::default() }
    }
}

/// One tunnel, open until its stream ends.
pub struct Stream {
    tunnel: Tunnel,
    settings: StreamSettings,
    /// The path has no room at this time.
    narrow: bool,
    /// Bytes that may wait at most, whatever the path carries.
    share: usize,
    out: Queue,
    packets: VecDeque<Bytes>,
    news: VecDeque<News>,
}

impl Stream {
    /// A tunnel whose request has just been accepted.
    #[must_use]
    pub fn new(role: Role, scope: Scope, settings: StreamSettings, now: Instant) -> Self {
        let tunnel = Tunnel::new(role, settings.talk, settings.grease, now);
        let mut tunnel = if settings.dialect == Dialect::Warp { tunnel.bare() } else { tunnel };
        tunnel.open(scope);
        tunnel.mtu = settings.mtu;
        let mut stream = Self {
            tunnel,
            settings,
            narrow: false,
            share: usize::MAX,
            out: Queue::new(now),
            packets: VecDeque::new(),
            news: VecDeque::new(),
        };
        stream.collect();
        stream
    }

    /// Takes what the peer's side of the stream brought.
    ///
    /// # Errors
    /// The stream must be reset; [`TunnelError::fault`] says as what. Nothing may follow.
    pub fn handle_bytes(&mut self, chunk: &Bytes, now: Instant) -> Result<(), TunnelError> {
        let (packets, news) = (&mut self.packets, &mut self.news);
        let mut overrun = 0;
        let datagram = |payload: &[u8]| {
            if packets.len() < MAX_PACKETS { packets.push_back(share(chunk, payload)) } else { overrun += 1 }
        };
        let read = self.tunnel.read(chunk, now, |told| news.push_back(told), datagram);
        self.tunnel.counters.overrun += overrun;
        read
    }

    /// The peer's side of the stream ended: so must ours, after what [`Self::poll_output`] still has.
    ///
    /// # Errors
    /// It ended inside a capsule, and the stream must be reset.
    pub fn handle_end(&mut self) -> Result<(), TunnelError> {
        self.close();
        self.tunnel.finish().map_err(TunnelError::Capsules)
    }

    /// Queues a packet for the peer. A forwarded one's hop limit falls by one in place.
    ///
    /// # Errors
    /// It is lost; [`SendError::Refused`] tells what its sender should be told.
    pub fn send(&mut self, packet: &mut [u8], origin: Origin) -> Result<(), SendError> {
        if self.tunnel.phase != Phase::Open {
            return Err(SendError::NotOpen);
        }
        self.tunnel.admit(packet, origin).map_err(SendError::Refused)?;
        self.enqueue([packet, &[]])
    }

    /// Queues the packets of a frame, which this machine wrote or has forwarded already, and returns how many: when the
    /// queue is full, the rest are lost. `headers` are the frame's own; it is judged once for all of its packets.
    ///
    /// # Errors
    /// All are lost; [`SendError::Refused`] tells what their sender should be told.
    pub fn send_frame(&mut self, headers: &Headers, cut: &Cut<'_>) -> Result<usize, SendError> {
        if self.tunnel.phase != Phase::Open {
            return Err(SendError::NotOpen);
        }
        self.tunnel.judge(cut.frame(), headers, cut.packet_len(0)).map_err(SendError::Refused)?;
        let mut head = Head::new();
        for number in 0..cut.count() {
            let rest = cut.packet(number, &mut head);
            if self.enqueue([head.bytes(), rest]).is_err() {
                return Ok(number);
            }
        }
        Ok(cut.count())
    }

    /// The packet is given in two pieces.
    fn enqueue(&mut self, [head, rest]: [&[u8]; 2]) -> Result<(), SendError> {
        let prefix = match self.settings.dialect {
            Dialect::Rfc9484 => Prefix::capsule(head.len() + rest.len()),
            Dialect::Warp => Prefix::bare_capsule(head.len() + rest.len()),
        };
        let len = prefix.bytes().len() + head.len() + rest.len();
        if self.out.waiting() + len > self.most() {
            self.tunnel.counters.full += 1;
            return Err(SendError::Full);
        }
        self.out.push([prefix.bytes(), head, rest], len);
        self.tunnel.counters.sent += 1;
        Ok(())
    }

    /// The next packet that came out of the tunnel.
    pub fn poll_packet(&mut self) -> Option<Bytes> {
        while let Some(payload) = self.packets.pop_front() {
            match self.tunnel.receive(&payload) {
                Arrival::Deliver(offset) => return Some(payload.slice(offset..)),
                // Errors and echoes are not worth waiting for room.
                Arrival::Answer(answer) => drop(self.enqueue([&answer, &[]])),
                Arrival::Dropped => {}
            }
        }
        None
    }

    /// The next thing the peer's capsules said.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The next batch of capsules for our side of the stream.
    pub fn poll_output(&mut self, now: Instant) -> Option<Bytes> {
        self.out.pop(now)
    }

    /// All that waits, before the end of our side.
    pub fn take_output(&mut self) -> Bytes {
        self.out.take()
    }

    /// Notes whether the path has no room: then what waits is a standing queue, and is kept short.
    pub fn narrow(&mut self, narrow: bool) {
        self.narrow = narrow;
    }

    /// Bytes per second that left lately.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.out.carried()
    }

    /// Takes it that the path carries so many bytes per second, as it did for the stream whose place this one takes.
    pub fn expect(&mut self, carried: u64, now: Instant) {
        self.out.expect(carried, now);
    }

    /// Limits what may wait to this many bytes, but not below [`StreamSettings::queue`]: its share of the memory there is.
    pub fn limit(&mut self, bytes: usize) {
        self.share = bytes;
    }

    /// Asks the peer for addresses.
    ///
    /// # Errors
    /// The peer does not read: the stream must be reset.
    pub fn request_addresses(&mut self, prefixes: &[IpNet]) -> Result<(), TunnelError> {
        self.tunnel.request_addresses(prefixes)?;
        self.collected()
    }

    /// Answers the peer's request for addresses; `decide` gives `None` to refuse one.
    ///
    /// # Errors
    /// The peer does not read: the stream must be reset.
    pub fn answer_addresses(
        &mut self,
        requests: &[RequestedAddress],
        decide: impl FnMut(&RequestedAddress) -> Option<IpNet>,
    ) -> Result<(), TunnelError> {
        self.tunnel.answer_addresses(requests, decide)?;
        self.collected()
    }

    /// Gives the peer exactly these addresses from now on.
    ///
    /// # Errors
    /// The peer does not read: the stream must be reset.
    pub fn assign(&mut self, prefixes: &[IpNet]) -> Result<(), TunnelError> {
        self.tunnel.assign(prefixes)?;
        self.collected()
    }

    /// Tells the peer exactly these routes from now on.
    ///
    /// # Errors
    /// The peer does not read: the stream must be reset.
    pub fn advertise(&mut self, routes: Routes) -> Result<(), TunnelError> {
        self.tunnel.advertise(routes)?;
        self.collected()
    }

    /// No more packets: what [`Self::poll_output`] still has is the last before the end of our side.
    pub fn close(&mut self) {
        self.tunnel.phase = Phase::Closing;
    }

    /// What went through.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tunnel.counters
    }

    /// Bytes that wait for [`Self::poll_output`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.out.waiting()
    }

    /// Bytes of packets that may wait now.
    fn most(&self) -> usize {
        let StreamSettings { queue, patience, .. } = self.settings;
        let always = if self.narrow { queue } else { MAX_BURST };
        always.max(self.out.carries_in(patience)).min(self.share.max(queue))
    }

    /// Capsules and packets leave in the order they were made.
    fn collect(&mut self) {
        let waiting = &mut self.tunnel.waiting;
        if !waiting.is_empty() {
            self.out.push([&waiting[..]], waiting.len());
            waiting.clear();
        }
    }

    fn collected(&mut self) -> Result<(), TunnelError> {
        self.collect();
        let waiting = self.out.waiting();
        if waiting > MAX_WAITING + self.most() { Err(TunnelError::Stalled { waiting }) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("waiting", &self.out.waiting()).finish_non_exhaustive()
    }
}

/// The part of `chunk` that `payload` is, or a copy where it was pieced together elsewhere.
fn share(chunk: &Bytes, payload: &[u8]) -> Bytes {
    let whole = chunk.as_ptr_range();
    let part = payload.as_ptr_range();
    if !payload.is_empty() && whole.start <= part.start && part.end <= whole.end {
        chunk.slice_ref(payload)
    } else {
        Bytes::copy_from_slice(payload)
    }
}
