//! No congestion control until the path shows that what is inside has none: a circuit breaker (RFC 8084).

use super::controller::Unlimited;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Losses are counted for so long, or for [`PERIOD_RTTS`] if that is longer (RFC 8084 section 4: longer than the RTT, by
/// several times).
const PERIOD: Duration = Duration::from_secs(1);
/// See [`PERIOD`].
const PERIOD_RTTS: u32 = 10;
/// A period is bad when one byte of so many is lost. A flow with TCP's congestion control and such losses sends less
/// than four packets a round trip; whoever fills a path in spite of them has none.
const BAD_ONE_OF: u64 = 10;
/// It takes so many bad periods in a row: what TCP lost in slow start, or a change of network, is over by then.
const BAD_PERIODS: u32 = 3;
/// With less in a period it is not this tunnel that fills the path.
const BAD_BYTES: u64 = 100_000;
/// How long congestion is controlled then, at first; when it trips again at once, twice as long, up to [`HOLD_MOST`].
const HOLD: Duration = Duration::from_secs(10);
/// See [`HOLD`].
const HOLD_MOST: Duration = Duration::from_secs(80);
/// Packets of the window to begin with at least, as in RFC 9002.
const INITIAL_PACKETS: u64 = 10;

/// Makes [`Breaker`]s.
#[derive(Debug)]
pub(super) struct BreakerConfig;

impl ControllerFactory for BreakerConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Breaker::new(now, current_mtu))
    }
}

/// See the module.
pub(super) struct Breaker {
    open: Unlimited,
    mtu: u16,
    rtt: Duration,
    period_began: Instant,
    acknowledged: u64,
    lost: u64,
    bad_periods: u32,
    tripped: Option<Tripped>,
    hold: Duration,
}

struct Tripped {
    control: Box<dyn Controller>,
    until: Instant,
}

impl Breaker {
    fn new(now: Instant, mtu: u16) -> Self {
        Self {
            open: Unlimited::default(),
            mtu,
            rtt: Duration::ZERO,
            period_began: now,
            acknowledged: 0,
            lost: 0,
            bad_periods: 0,
            tripped: None,
            hold: HOLD,
        }
    }

    /// Ends a period whose time has come.
    fn judge(&mut self, now: Instant) {
        let period = now.saturating_duration_since(self.period_began);
        if period < PERIOD.max(self.rtt * PERIOD_RTTS) {
            return;
        }
        let (acknowledged, lost) = (std::mem::take(&mut self.acknowledged), std::mem::take(&mut self.lost));
        self.period_began = now;
        let much = acknowledged + lost >= BAD_BYTES;
        let bad = much && lost * BAD_ONE_OF >= acknowledged + lost;
        self.bad_periods = if bad { self.bad_periods + 1 } else { 0 };
        match &self.tripped {
            Some(tripped) if now >= tripped.until => {
                self.tripped = None;
                self.bad_periods = 0;
            }
            Some(_) => {}
            None if self.bad_periods >= BAD_PERIODS => self.trip(acknowledged, period, now),
            // A while without trouble: forgiven.
            None if !bad => self.hold = self.hold.mul_f64(0.9).max(HOLD),
            None => {}
        }
    }

    fn trip(&mut self, delivered: u64, period: Duration, now: Instant) {
        let per_round_trip = (delivered as f64 * self.rtt.as_secs_f64() / period.as_secs_f64()) as u64;
        let mut cubic = CubicConfig::default();
        cubic.initial_window(per_round_trip.max(INITIAL_PACKETS * u64::from(self.mtu)));
        self.tripped = Some(Tripped { control: Arc::new(cubic).build(now, self.mtu), until: now + self.hold });
        self.hold = (self.hold * 2).min(HOLD_MOST);
    }
}

impl Controller for Breaker {
    fn on_sent(&mut self, now: Instant, bytes: u64, last: u64) {
        self.open.on_sent(now, bytes, last);
        if let Some(tripped) = &mut self.tripped {
            tripped.control.on_sent(now, bytes, last);
        }
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acknowledged += bytes;
        self.rtt = rtt.get();
        if let Some(tripped) = &mut self.tripped {
            tripped.control.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.open.on_end_acks(now, in_flight, app_limited, largest);
        if let Some(tripped) = &mut self.tripped {
            tripped.control.on_end_acks(now, in_flight, app_limited, largest);
        }
        self.judge(now);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.lost += lost_bytes;
        self.open.on_congestion_event(now, sent, persistent, lost_bytes);
        if let Some(tripped) = &mut self.tripped {
            tripped.control.on_congestion_event(now, sent, persistent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        if let Some(tripped) = &mut self.tripped {
            tripped.control.on_mtu_update(new_mtu);
        }
    }

    fn window(&self) -> u64 {
        self.tripped.as_ref().map_or_else(|| self.open.window(), |tripped| tripped.control.window())
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let tripped = self.tripped.as_ref().map(|t| Tripped { control: t.control.clone_box(), until: t.until });
        Box::new(Self { tripped, ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.open.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds of traffic of which one byte in `one_of` is lost (0: none).
    fn run(breaker: &mut Breaker, now: &mut Instant, seconds: u32, bytes: u64, one_of: u64) {
        for _ in 0..seconds {
            *now += Duration::from_secs(1);
            breaker.on_sent(*now, bytes, 0);
            let lost = bytes.checked_div(one_of).unwrap_or(0);
            if lost > 0 {
                breaker.on_congestion_event(*now, *now, false, lost);
            }
            breaker.acknowledged += bytes - lost;
            breaker.on_end_acks(*now, 0, false, None);
        }
    }

    fn is_open(breaker: &Breaker) -> bool {
        breaker.window() > u64::from(u32::MAX)
    }

    #[test]
    fn losses_that_tcp_would_shrink_from_trip_it_and_time_opens_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now, 1472);
        run(&mut breaker, &mut now, 60, 1 << 20, 20);
        assert!(is_open(&breaker), "5 % is the flows' own business");
        for hold in [HOLD, HOLD * 2, HOLD * 4, HOLD * 8, HOLD * 8] {
            run(&mut breaker, &mut now, BAD_PERIODS - 1, 1 << 20, 5);
            assert!(is_open(&breaker), "not yet");
            run(&mut breaker, &mut now, 1, 1 << 20, 5);
            assert!(!is_open(&breaker), "tripped");
            assert!(breaker.window() >= 10 * 1472);
            run(&mut breaker, &mut now, hold.as_secs() as u32 - 1, 1 << 20, 5);
            assert!(!is_open(&breaker), "held for {hold:?}");
            run(&mut breaker, &mut now, 1, 1 << 20, 5);
            assert!(is_open(&breaker), "no longer than {hold:?}");
        }
        run(&mut breaker, &mut now, 60, 1 << 20, 0);
        assert_eq!(breaker.hold, HOLD, "forgiven");
    }

    #[test]
    fn a_burst_of_losses_and_a_trickle_that_is_lost_are_no_collapse() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now, 1472);
        for _ in 0..10 {
            run(&mut breaker, &mut now, BAD_PERIODS - 1, 1 << 20, 2);
            run(&mut breaker, &mut now, 1, 1 << 20, 0);
            assert!(is_open(&breaker));
        }
        run(&mut breaker, &mut now, 60, BAD_BYTES - 1, 2);
        assert!(is_open(&breaker));
    }
}
