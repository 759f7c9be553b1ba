//! Congestion control of the outer connection. The flows inside have their own.

use quinn_proto::congestion::{BbrConfig, Controller, ControllerFactory, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Which congestion controller the outer connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// RFC 9438.
    #[default]
    Cubic,
    /// BBR, as quinn has it: version 1, experimental.
    Bbr,
    /// None: all is sent at once. Packets then are Not-ECT, as RFC 9484 section 10.2 demands.
    Off,
}

impl Congestion {
    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
            Self::Off => Arc::new(Unlimited),
        }
    }

    /// True when the outer packets may be marked ECT(0).
    pub(super) fn reacts_to_ecn(self) -> bool {
        self != Self::Off
    }
}

/// A window that nothing fills. Above 2^32 - 1, quinn does not pace either.
#[derive(Clone, Copy, Debug)]
struct Unlimited;

const WINDOW: u64 = 1 << 40;

impl ControllerFactory for Unlimited {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for Unlimited {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        WINDOW
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
