//! Congestion control of the outer connection. The flows inside have their own.

use super::breaker::BreakerConfig;
use quinn_proto::congestion::{BbrConfig, Controller, ControllerFactory, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Which congestion controller the outer connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// None while the flows inside control theirs: as [`Self::Off`], until the path has lost a tenth and more of what was
    /// sent for three seconds; then CUBIC for a while. `docs/decisions/0016` says why.
    #[default]
    Breaker,
    /// RFC 9438.
    Cubic,
    /// BBR, as quinn has it: version 1, experimental.
    Bbr,
    /// None, as in WireGuard: all is sent at once, up to 64 MiB without an acknowledgement. Packets then are Not-ECT, as
    /// RFC 9484 section 10.2 demands.
    Off,
}

impl Congestion {
    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Breaker => Arc::new(BreakerConfig),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
            Self::Off => Arc::new(Unlimited::default()),
        }
    }

    /// True when the outer packets may be marked ECT(0).
    pub(super) fn reacts_to_ecn(self) -> bool {
        matches!(self, Self::Cubic | Self::Bbr)
    }
}

/// No window, until so much is unacknowledged that the peer must be gone: what is in flight takes memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unlimited {
    in_flight: u64,
}

/// A window that nothing fills. Above 2^32 - 1, quinn does not pace either.
const WINDOW: u64 = 1 << 40;
/// Most bytes in flight: 100 ms of 5 Gb/s.
const MOST_IN_FLIGHT: u64 = 64 << 20;

impl ControllerFactory for Unlimited {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for Unlimited {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last: u64) {
        self.in_flight += bytes;
    }

    fn on_end_acks(&mut self, _now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.in_flight = in_flight;
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, lost_bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        if self.in_flight < MOST_IN_FLIGHT { WINDOW } else { MOST_IN_FLIGHT }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_control_only_what_nobody_acknowledges_is_bounded() {
        let now = Instant::now();
        let mut off = Unlimited::default();
        off.on_sent(now, MOST_IN_FLIGHT - 1, 0);
        assert!(off.window() > u64::from(u32::MAX), "neither a window nor pacing");
        off.on_sent(now, 1, 1);
        assert_eq!(off.window(), MOST_IN_FLIGHT);
        off.on_congestion_event(now, now, false, 1);
        assert_eq!(off.window(), WINDOW, "a loss is no reason to send less");
        off.on_sent(now, MOST_IN_FLIGHT, 2);
        off.on_end_acks(now, 1000, false, Some(2));
        assert_eq!(off.window(), WINDOW);
    }
}
