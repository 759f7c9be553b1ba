//! A generation's tunnel over MASQUE: what carries it, and how far it is. `trying`: how it comes to be carried.

mod trying;

use super::attempts::{Attempts, Carrier, Http, HttpChoice, StreamKey};
use super::candidates::Candidates;
use super::masque::MasqueEnd;
use super::watch::Watch;
use crate::masque::session::TunnelId;
use ipnet::IpNet;
use std::time::{Duration, Instant};

/// How long a new tunnel may take to find out that the path carries the adapter's MTU. Then it is ready without: what
/// does not fit is answered with Packet Too Big.
const MTU_PATIENCE: Duration = Duration::from_secs(2);
/// A tunnel that was replaced stays open so long, for what is in flight.
const LINGER: Duration = Duration::from_secs(1);

/// An open tunnel of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Quic(TunnelId),
    Stream(StreamKey),
}

impl Path {
    pub(crate) fn carrier(self) -> Carrier {
        match self {
            Self::Quic(tunnel) => Carrier::Quic(tunnel.connection),
            Self::Stream(key) => Carrier::Stream(key),
        }
    }
}

/// How long a packet may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Width {
    /// Those we send.
    pub(crate) out: u16,
    /// Those we are sent, as far as is known.
    pub(crate) back: u16,
    /// Neither can become more.
    pub(crate) most: u16,
}

impl Width {
    /// What has no limits.
    pub(crate) fn of_stream(mtu: u16) -> Self {
        Self { out: mtu, back: u16::MAX, most: u16::MAX }
    }

    /// True when packets of `wanted` bytes fit both ways, or all that ever will.
    fn fits(self, wanted: usize) -> bool {
        usize::from(self.out.min(self.back)) >= wanted.min(self.most.into())
    }
}

/// A tunnel over HTTP/3, open beside one over HTTP/2.
#[derive(Clone, Copy, Debug)]
struct Coming {
    tunnel: TunnelId,
    width: Width,
    until: Instant,
}

/// A generation's tunnel while it lives.
#[derive(Debug)]
pub(crate) struct MasqueTunnel {
    pub(crate) end: MasqueEnd,
    /// What carries packets now. The device chooses; the gateway follows its packets.
    pub(crate) path: Option<Path>,
    /// Others that are open: at a device those that were replaced, until a time; at a gateway those that the device has
    /// not chosen.
    others: Vec<(Path, Option<Instant>)>,
    pub(crate) attempts: Attempts,
    candidates: Candidates,
    /// The gateway closed what was idle: a new tunnel is made when there is a packet for it.
    asleep: bool,
    watch: Option<Watch>,
    /// What [`Self::path`] carries.
    pub(crate) width: Width,
    /// Takes the place of what carries packets when it is as wide.
    coming: Option<Coming>,
    /// The peer has said where it forwards to.
    pub(crate) routed: bool,
    assigned: Vec<IpNet>,
    opened_at: Option<Instant>,
}

impl MasqueTunnel {
    pub(crate) fn new(end: MasqueEnd, now: Instant) -> Self {
        let choice = match &end {
            MasqueEnd::Device(gateway) if gateway.http2.is_empty() => HttpChoice::Http3Only,
            MasqueEnd::Device(gateway) => gateway.choice,
            _ => HttpChoice::default(),
        };
        let places = match &end {
            MasqueEnd::Device(gateway) => 1 + gateway.further.len(),
            _ => 1,
        };
        Self {
            end,
            path: None,
            others: Vec::new(),
            attempts: Attempts::new(choice, now),
            candidates: Candidates::new(places),
            asleep: false,
            watch: None,
            width: Width::default(),
            coming: None,
            routed: false,
            assigned: Vec::new(),
            opened_at: None,
        }
    }

    /// True of a device.
    fn chooses(&self) -> bool {
        matches!(self.end, MasqueEnd::Device(_))
    }

    /// Notes that a tunnel is open. True when it carries packets from now on; what is to be closed is handed to `close`.
    pub(crate) fn opened(
        &mut self,
        path: Path,
        heard: Option<Instant>,
        now: Instant,
        mut close: impl FnMut(Carrier),
    ) -> bool {
        let http = path.carrier().http();
        if let Some(current) = self.path.filter(|_| !self.chooses()) {
            // One of the same kind takes the place of another; of two kinds the device chooses.
            let is_same = |other: Path| other.carrier().http() == http;
            if !is_same(current) {
                if let Some(at) = self.others.iter().position(|(other, _)| is_same(*other)) {
                    close(self.others.remove(at).0.carrier());
                }
                self.others.push((path, None));
                return false;
            }
            close(current.carrier());
            self.path = None;
        }
        if let (Some(Path::Quic(_)), Http::Two, Some(heard)) = (self.path, http, heard)
            && !self.watch.is_some_and(|watch| watch.is_silent(heard, now))
        {
            // HTTP/3 has spoken again.
            self.attempts.failed(Http::Two, Some(Http::Three), now);
            close(path.carrier());
            return false;
        }
        if let Some(carrier) = self.attempts.opened(http, now) {
            close(carrier);
        }
        if let Some(former) = self.path.replace(path) {
            self.others.push((former, Some(now + LINGER)));
        }
        if http == Http::Three {
            self.candidates.opened();
        }
        self.asleep = false;
        let came = self.coming.take_if(|coming| Path::Quic(coming.tunnel) == path);
        self.width = came.map(|coming| coming.width).unwrap_or_default();
        self.watch = None;
        self.routed = false;
        self.assigned.clear();
        self.opened_at = Some(now);
        true
    }

    /// Notes that a device's tunnel over HTTP/3 is open. True when it has to wait: what carries packets now has no limits, and
    /// the new one has just begun to find out about its own.
    pub(crate) fn waits(&mut self, tunnel: TunnelId, most: u16, now: Instant) -> bool {
        let waits = self.chooses() && matches!(self.path, Some(Path::Stream(_)));
        if waits {
            let width = Width { most, ..Width::default() };
            self.coming = Some(Coming { tunnel, width, until: now + MTU_PATIENCE });
        }
        waits
    }

    /// The tunnel that need not wait any longer.
    pub(crate) fn arrived(&self, mtu: usize, now: Instant) -> Option<TunnelId> {
        let coming = self.coming?;
        (self.path.is_none() || coming.width.fits(mtu) || coming.until <= now).then_some(coming.tunnel)
    }

    /// The width of what carries packets, or is about to.
    pub(crate) fn width_of(&mut self, path: Path) -> Option<&mut Width> {
        if self.path == Some(path) {
            return Some(&mut self.width);
        }
        self.coming.as_mut().filter(|coming| Path::Quic(coming.tunnel) == path).map(|coming| &mut coming.width)
    }

    /// The longest packet that fits where that is known of the path.
    pub(crate) fn path_mtu(&self) -> Option<u16> {
        matches!(self.path, Some(Path::Quic(_))).then_some(self.width.out)
    }

    /// The gateway's end: a packet came through `path`, which is the device's choice.
    pub(crate) fn follow(&mut self, path: Path) {
        if let Some(at) = self.others.iter().position(|(other, _)| *other == path) {
            let former = self.path.replace(path);
            self.others.remove(at);
            self.others.extend(former.map(|former| (former, None)));
        }
    }

    /// True when packets that came through `path` show that the device has moved there.
    pub(crate) fn may_follow(&self, path: Path) -> bool {
        self.path != Some(path) && !self.chooses()
    }

    /// Notes that a carrier and what it carried, or was to carry, are gone. True when nothing is left.
    pub(crate) fn lost(&mut self, carrier: Carrier, now: Instant) -> bool {
        self.others.retain(|(path, _)| path.carrier() != carrier);
        self.coming.take_if(|coming| Carrier::Quic(coming.tunnel.connection) == carrier);
        if self.attempts.is_trying(carrier) {
            self.attempts.failed(carrier.http(), self.path.map(|path| path.carrier().http()), now);
            return self.path.is_none();
        }
        if self.path.is_none_or(|path| path.carrier() != carrier) {
            return false;
        }
        self.watch = None;
        // A gateway goes on with what it has; a device has chosen, and begins anew.
        self.path = if self.chooses() { None } else { self.others.pop().map(|(path, _)| path) };
        if self.path.is_none() {
            self.routed = false;
            self.assigned.clear();
            self.opened_at = None;
            self.attempts.wanted(Attempts::after_loss(now));
        }
        self.path.is_none()
    }

    /// Everything that is open or being tried, which is forgotten.
    pub(crate) fn take_all(&mut self) -> Vec<Carrier> {
        self.coming = None;
        let open = self.path.take().into_iter().chain(self.others.drain(..).map(|(path, _)| path));
        open.map(Path::carrier).chain(self.attempts.trying()).collect()
    }

    /// Packets leave now. When to look whether anything comes back, if that is news.
    pub(crate) fn watch(&mut self, now: Instant) -> Option<Instant> {
        if let Some(watch) = &mut self.watch {
            watch.sent(now);
            return None;
        }
        let over_http3 = matches!(self.path, Some(Path::Quic(_)));
        let watches = over_http3 && self.chooses() && self.attempts.has_alternative();
        self.watch = watches.then(|| Watch::begin(now));
        self.watch.map(|watch| watch.look_at)
    }

    /// Looks whether HTTP/3 has fallen silent, when that is due. `heard`: when the last datagram came over it.
    pub(crate) fn look(&mut self, heard: impl FnOnce(Path) -> Option<Instant>, now: Instant) {
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.look_at <= now) else { return };
        match self.path.and_then(heard) {
            Some(heard) if watch.goes_on(heard, now) => {
                if watch.is_silent(heard, now) {
                    self.attempts.silent(now);
                }
            }
            _ => self.watch = None,
        }
    }

    /// A tunnel that was replaced and need not stay open.
    pub(crate) fn outlived(&mut self, now: Instant) -> Option<Carrier> {
        let at = self.others.iter().position(|(_, until)| until.is_some_and(|until| until <= now))?;
        Some(self.others.remove(at).0.carrier())
    }

    /// What carries packets, and what is being tried.
    pub(crate) fn carriers(&self) -> Vec<Carrier> {
        self.path.map(Path::carrier).into_iter().chain(self.attempts.trying()).collect()
    }

    /// Notes that the network is another one: what the last one let through says nothing of it.
    pub(crate) fn moved(&mut self, now: Instant) {
        match self.path {
            Some(Path::Quic(_)) => {}
            Some(Path::Stream(_)) => {
                self.attempts.renew(Http::Three, now);
                self.attempts.renew(Http::Two, now);
            }
            None => self.attempts.wanted(now),
        }
    }

    /// Notes what the peer has given us and taken away.
    pub(crate) fn assigned(&mut self, added: &[IpNet], removed: &[IpNet]) {
        self.assigned.retain(|prefix| !removed.contains(prefix));
        self.assigned.extend(added);
    }

    /// What the peer has given us.
    pub(crate) fn addresses(&self) -> &[IpNet] {
        &self.assigned
    }

    /// True when a device's tunnel may carry its traffic: it is open, has our addresses and the peer's routes, and fits
    /// packets of `mtu` bytes both ways or has had time to find out that it does not. Its send window is never less than another's
    /// ([`crate::masque::session::Congestion::Breaker`]).
    pub(crate) fn is_ready(&self, mtu: usize, now: Instant) -> bool {
        let MasqueEnd::Device(gateway) = &self.end else { return false };
        let has = |wanted: &IpNet| self.assigned.iter().any(|prefix| prefix.contains(wanted));
        let ours = gateway.addresses.is_empty() || (self.routed && gateway.addresses.iter().all(has));
        let wide = self.width.fits(mtu) || self.patience_ends().is_some_and(|end| end <= now);
        self.path.is_some() && ours && wide
    }

    fn patience_ends(&self) -> Option<Instant> {
        Some(self.opened_at? + MTU_PATIENCE)
    }

    /// When something is to be done: a connection is to be tried, silence to be looked for, what was replaced to be
    /// closed, or `ready` is to be asked again.
    pub(crate) fn deadline(&self, ready: bool, now: Instant) -> Option<Instant> {
        let MasqueEnd::Device(_) = self.end else { return None };
        let patience = self.patience_ends().filter(|end| !ready && *end > now);
        let lingering = self.others.iter().filter_map(|(_, until)| *until);
        let watch = self.watch.map(|watch| watch.look_at);
        self.attempts
            .deadline()
            .into_iter()
            .chain(self.candidates.look_at())
            .chain(patience)
            .chain(lingering)
            .chain(watch)
            .chain(self.coming.map(|coming| coming.until))
            .min()
    }
}
