//! A session's timers (WireGuard paper, section 6). They are plain times: the data path only stores them, and the
//! engine is told the earliest when it asks.

use super::limits::{
    JITTER, KEEPALIVE_TIMEOUT, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, RENEW_AFTER, RENEW_SOON, RETRY_MAX, RETRY_MIN,
    SILENCE, ZERO_AFTER,
};
use crate::random::Random;
use std::time::{Duration, Instant};

/// Who begins handshakes, and how eagerly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// We, always: keys are renewed with or without traffic, and attempts never end.
    Device,
    /// Never we.
    Gateway,
    /// Both ends, when there is something to send.
    Plain,
}

/// When what is due.
#[derive(Debug)]
pub(crate) struct Timers {
    role: Role,
    persistent: Option<Duration>,
    /// An initiation is to leave: there was a reason, and none was under way.
    pub(crate) begin_at: Option<Instant>,
    /// The initiation under way is sent again.
    pub(crate) retry_at: Option<Instant>,
    /// Data was sent and nothing heard since.
    pub(crate) silent_at: Option<Instant>,
    /// A device's keys are renewed.
    pub(crate) renew_at: Option<Instant>,
    /// Data was heard and nothing sent since.
    pub(crate) keepalive_at: Option<Instant>,
    /// More data was heard after that.
    another: bool,
    pub(crate) persistent_at: Option<Instant>,
    /// Keys that were replaced are forgotten.
    pub(crate) expire_at: Option<Instant>,
    /// Everything is forgotten.
    pub(crate) zero_at: Option<Instant>,
    /// Packets wait although there are keys.
    pub(crate) flush_at: Option<Instant>,
    first_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    attempts: u32,
    jitter: Duration,
    /// The keys' last minute has been used to ask for new ones.
    pub(crate) last_minute: bool,
}

impl Timers {
    pub(crate) fn new(role: Role, persistent: Option<u16>, now: Instant) -> Self {
        let persistent = interval(persistent);
        Self {
            role,
            persistent,
            begin_at: None,
            retry_at: None,
            silent_at: None,
            renew_at: None,
            keepalive_at: None,
            another: false,
            persistent_at: persistent.map(|_| now),
            expire_at: None,
            zero_at: None,
            flush_at: None,
            first_attempt: None,
            last_attempt: None,
            attempts: 0,
            jitter: Duration::ZERO,
            last_minute: false,
        }
    }

    /// The earliest of all.
    pub(crate) fn next(&self) -> Option<Instant> {
        let handshake = [self.begin_at, self.retry_at, self.silent_at, self.renew_at];
        let others = [self.keepalive_at, self.persistent_at, self.expire_at, self.zero_at, self.flush_at];
        handshake.into_iter().chain(others).flatten().min()
    }

    pub(crate) fn set_persistent(&mut self, seconds: Option<u16>, now: Instant) {
        self.persistent = interval(seconds);
        self.persistent_at = self.persistent.map(|_| now);
    }

    /// The peer can be reached now: a keepalive that had nowhere to go is due again.
    pub(crate) fn resume_persistent(&mut self, now: Instant) {
        if self.persistent.is_some() {
            self.persistent_at.get_or_insert(now);
        }
    }

    /// Something authentic (a handshake message, too) leaves.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.keepalive_at = None;
        self.another = false;
        self.persistent_at = self.persistent.map(|interval| now + interval);
    }

    /// Data leaves: an answer is expected.
    pub(crate) fn sent_data(&mut self, now: Instant) {
        if self.role != Role::Gateway && self.silent_at.is_none() {
            self.silent_at = Some(now + SILENCE + self.jitter);
        }
    }

    /// Something authentic (a handshake message, too) has come.
    pub(crate) fn received(&mut self, now: Instant) {
        self.silent_at = None;
        self.persistent_at = self.persistent.map(|interval| now + interval);
    }

    /// Data has come: the peer must hear from us.
    pub(crate) fn received_data(&mut self, now: Instant) {
        if self.keepalive_at.is_none() {
            self.keepalive_at = Some(now + KEEPALIVE_TIMEOUT);
        } else {
            self.another = true;
        }
    }

    /// A keepalive was due and leaves, or cannot.
    pub(crate) fn keepalive_done(&mut self, now: Instant) {
        let again = std::mem::take(&mut self.another);
        self.keepalive_at = again.then(|| now + KEEPALIVE_TIMEOUT);
    }

    /// There is a reason for new keys: an initiation will leave as soon as one may.
    pub(crate) fn want_handshake(&mut self, now: Instant) {
        if self.role != Role::Gateway && self.retry_at.is_none() {
            self.begin_at.get_or_insert(self.earliest_attempt(now));
        }
    }

    /// `Rekey-Timeout` lies between two initiations, whatever their reasons.
    fn earliest_attempt(&self, now: Instant) -> Instant {
        self.last_attempt.map_or(now, |last| now.max(last + REKEY_TIMEOUT))
    }

    pub(crate) fn handshake_is_due(&self, now: Instant) -> bool {
        let times = [self.begin_at, self.retry_at, self.silent_at, self.renew_at];
        times.into_iter().flatten().any(|at| at <= now)
    }

    pub(crate) fn no_handshake(&mut self) {
        (self.begin_at, self.retry_at, self.silent_at, self.renew_at) = (None, None, None, None);
    }

    /// `Rekey-Attempt-Time` is over.
    pub(crate) fn is_hopeless(&self, now: Instant) -> bool {
        self.role == Role::Plain
            && self.retry_at.is_some_and(|at| at <= now)
            && self.first_attempt.is_some_and(|first| now.saturating_duration_since(first) >= REKEY_ATTEMPT_TIME)
    }

    /// Handshakes were given up until there is another reason for one.
    pub(crate) fn gave_up(&mut self, now: Instant) {
        self.no_handshake();
        self.keepalive_at = None;
        (self.first_attempt, self.attempts) = (None, 0);
        self.zero_at.get_or_insert(now + ZERO_AFTER);
    }

    /// An initiation leaves; the keys in use serve until `usable`.
    pub(crate) fn initiated(&mut self, usable: Option<Instant>, random: &mut Random, now: Instant) {
        self.no_handshake();
        self.jitter = jitter(random);
        self.first_attempt.get_or_insert(now);
        self.last_attempt = Some(now);
        let pause = match (self.role, usable) {
            (Role::Device, Some(_)) if self.attempts == 0 => RENEW_SOON,
            (Role::Device, None) => RETRY_MIN.saturating_mul(1 << self.attempts.min(8)).min(RETRY_MAX),
            _ => REKEY_TIMEOUT + self.jitter,
        };
        let retry_at = now + pause;
        self.retry_at = Some(match usable {
            Some(end) if self.role == Role::Device && end > now => retry_at.min(end),
            _ => retry_at,
        });
        self.attempts += 1;
        self.sent(now);
    }

    /// There are new keys, of which we are the initiator or the responder.
    pub(crate) fn established(&mut self, now: Instant) {
        self.zero_at = Some(now + ZERO_AFTER);
        self.persistent_at = self.persistent.map(|interval| now + interval);
    }

    /// The peer has them, too.
    pub(crate) fn confirmed(&mut self, now: Instant) {
        self.no_handshake();
        (self.first_attempt, self.attempts, self.last_minute) = (None, 0, false);
        self.renew_at = (self.role == Role::Device).then(|| now + RENEW_AFTER);
    }

    /// All keys are forgotten. A device wants new ones.
    pub(crate) fn zeroed(&mut self, now: Instant) {
        self.no_handshake();
        self.begin_at = (self.role == Role::Device).then_some(now);
        (self.keepalive_at, self.persistent_at, self.zero_at) = (None, None, None);
        (self.expire_at, self.flush_at) = (None, None);
        (self.first_attempt, self.attempts, self.another, self.last_minute) = (None, 0, false, false);
    }
}

fn interval(seconds: Option<u16>) -> Option<Duration> {
    seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
}

fn jitter(random: &mut Random) -> Duration {
    let most = u64::try_from(JITTER.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.bits() % most)
}
