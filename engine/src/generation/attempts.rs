//! How a device gets a tunnel to its gateway: which version of HTTP is tried when.
//!
//! HTTP/3 comes first where nothing else is known (RFC 9484 section 3); HTTP/2 is tried beside it after a head start, as
//! RFC 8305 does with addresses, and when HTTP/3 has fallen silent. Over HTTP/2, HTTP/3 is tried again from time to time.

use quinn_proto::ConnectionHandle;
use std::time::{Duration, Instant};

/// The first pause before a lost or refused tunnel is asked for again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// The pause before HTTP/3 is tried again while HTTP/2 works; it doubles up to [`RETURN_MAX`].
const RETURN_MIN: Duration = Duration::from_secs(30);
const RETURN_MAX: Duration = Duration::from_secs(600);
/// What is tried first has so long before the other one is tried, too ("Connection Attempt Delay", RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Names the byte stream of a tunnel over HTTP/2, to the engine and to what carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub u64);

/// A version of HTTP that carries tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Http {
    /// HTTP/2, over TCP.
    Two,
    /// HTTP/3, over QUIC.
    Three,
}

impl Http {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Which versions a device may use, and which it tries first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HttpChoice {
    /// HTTP/3, then HTTP/2.
    #[default]
    Http3First,
    /// HTTP/2, then HTTP/3: this network is known to let no UDP through.
    Http2First,
    /// HTTP/3 alone.
    Http3Only,
    /// HTTP/2 alone.
    Http2Only,
}

/// What carries a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    Quic(ConnectionHandle),
    Stream(StreamKey),
}

impl Carrier {
    pub(crate) fn http(self) -> Http {
        match self {
            Self::Quic(_) => Http::Three,
            Self::Stream(_) => Http::Two,
        }
    }
}

/// One version's attempts.
#[derive(Debug)]
struct Attempt {
    allowed: bool,
    trying: Option<Carrier>,
    /// The next one.
    at: Option<Instant>,
    pause: Duration,
}

impl Attempt {
    fn new(after: Option<Duration>, now: Instant) -> Self {
        Self { allowed: after.is_some(), trying: None, at: after.map(|after| now + after), pause: RETRY_MIN }
    }

    fn want(&mut self, at: Instant) {
        if self.allowed && self.trying.is_none() {
            self.at = Some(self.at.map_or(at, |known| known.min(at)));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.at.filter(|_| self.trying.is_none())
    }
}

/// The attempts of one generation.
#[derive(Debug)]
pub(crate) struct Attempts {
    three: Attempt,
    two: Attempt,
    choice: HttpChoice,
    return_pause: Duration,
}

impl Attempts {
    pub(crate) fn new(choice: HttpChoice, now: Instant) -> Self {
        let (three, two) = match choice {
            HttpChoice::Http3First => (Some(Duration::ZERO), Some(HEAD_START)),
            HttpChoice::Http2First => (Some(HEAD_START), Some(Duration::ZERO)),
            HttpChoice::Http3Only => (Some(Duration::ZERO), None),
            HttpChoice::Http2Only => (None, Some(Duration::ZERO)),
        };
        Self { three: Attempt::new(three, now), two: Attempt::new(two, now), choice, return_pause: RETURN_MIN }
    }

    fn of(&mut self, http: Http) -> &mut Attempt {
        match http {
            Http::Two => &mut self.two,
            Http::Three => &mut self.three,
        }
    }

    /// A version that is to be tried now; [`Self::begun`] must follow.
    pub(crate) fn due(&self, now: Instant) -> Option<Http> {
        let is = |attempt: &Attempt| attempt.next().is_some_and(|at| at <= now);
        if is(&self.three) { Some(Http::Three) } else { is(&self.two).then_some(Http::Two) }
    }

    /// Notes that one is being tried; `None`: it could not even begin.
    pub(crate) fn begun(&mut self, http: Http, carrier: Option<Carrier>, now: Instant) {
        let attempt = self.of(http);
        attempt.at = None;
        attempt.trying = carrier;
        if carrier.is_none() {
            self.failed(http, None, now);
        }
    }

    /// True when a carrier is being tried.
    pub(crate) fn is_trying(&self, carrier: Carrier) -> bool {
        [&self.three, &self.two].into_iter().any(|attempt| attempt.trying == Some(carrier))
    }

    /// What is being tried.
    pub(crate) fn trying(&self) -> impl Iterator<Item = Carrier> {
        self.three.trying.into_iter().chain(self.two.trying)
    }

    /// Notes that what was tried came to nothing. `open`: what there is a tunnel over all the same.
    pub(crate) fn failed(&mut self, http: Http, open: Option<Http>, now: Instant) {
        let return_pause = self.return_pause;
        let attempt = self.of(http);
        attempt.trying = None;
        match open {
            Some(Http::Two) if http == Http::Three => {
                attempt.at = Some(now + return_pause);
                self.return_pause = (return_pause * 2).min(RETURN_MAX);
            }
            // It is good enough.
            Some(_) => attempt.at = None,
            None => {
                attempt.at = Some(now + attempt.pause);
                attempt.pause = (attempt.pause * 2).min(RETRY_MAX);
                // No reason to leave the other one waiting.
                let other = self.of(if http == Http::Three { Http::Two } else { Http::Three });
                other.at = other.at.map(|at| at.min(now));
            }
        }
    }

    /// What was tried is given up, and is to be tried elsewhere at once.
    pub(crate) fn again(&mut self, http: Http, now: Instant) {
        let attempt = self.of(http);
        (attempt.trying, attempt.at) = (None, Some(now));
    }

    /// Nothing is to be tried before [`Self::wanted`] says so.
    pub(crate) fn rest(&mut self) {
        (self.three.at, self.two.at) = (None, None);
    }

    /// Notes that a tunnel over `http` is open; what else is being tried is handed back when it is not wanted.
    pub(crate) fn opened(&mut self, http: Http, now: Instant) -> Option<Carrier> {
        let attempt = self.of(http);
        (attempt.trying, attempt.at, attempt.pause) = (None, None, RETRY_MIN);
        match http {
            Http::Three => {
                self.two.at = None;
                self.return_pause = RETURN_MIN;
                self.two.trying.take()
            }
            Http::Two => {
                self.three.at = None;
                self.three.want(now + self.return_pause);
                None
            }
        }
    }

    /// Notes that the tunnel is gone, and that a new one is wanted after a pause or at once.
    pub(crate) fn wanted(&mut self, at: Instant) {
        let (three, two) = match self.choice {
            HttpChoice::Http2First => (HEAD_START, Duration::ZERO),
            _ => (Duration::ZERO, HEAD_START),
        };
        self.three.want(at + three);
        self.two.want(at + if self.three.allowed { two } else { Duration::ZERO });
    }

    /// A pause before what was lost is made anew.
    pub(crate) fn after_loss(now: Instant) -> Instant {
        now + RETRY_MIN
    }

    /// A new tunnel over `http` is wanted beside the one there is.
    pub(crate) fn renew(&mut self, http: Http, now: Instant) {
        self.of(http).want(now);
    }

    /// True when silence over HTTP/3 has an alternative.
    pub(crate) fn has_alternative(&self) -> bool {
        self.two.allowed && self.three.allowed
    }

    /// HTTP/3 has fallen silent.
    pub(crate) fn silent(&mut self, now: Instant) {
        self.two.want(now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.three.next().into_iter().chain(self.two.next()).min()
    }
}
