//! What is done to the tunnel on purpose, and which packets it may cost.

use super::options::{Place, time};
use crate::world::{Transport, scene::Blow};
use std::{fmt, str::FromStr, time::Duration};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Keys are renewed without a change of identity.
    Rekey,
    /// The device's adapter loses its session, with what waits in it.
    Adapter,
    /// The device's socket is bound anew, elsewhere.
    Socket,
    /// The device gets another address.
    Roam,
    /// Nothing gets through between device and gateway.
    Loss,
    /// The gateway is killed and started again.
    GatewayRestart,
    /// The device stands still, as asleep.
    Suspend,
}

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The device is told that it wakes from sleep, upon which it renews its keys.
    Wake,
    /// Something is done to the place.
    Strike(Blow),
}

/// What is known of a fault.
struct Facts {
    fault: Fault,
    name: &'static str,
    /// Between two of them, unless told otherwise.
    every: Duration,
    /// What is done; a second deed, if any, takes it back after a while.
    deeds: (Deed, Option<(Duration, Deed)>),
    /// In a place of kernels, and in one of memory.
    places: (bool, bool),
    /// Packets may be lost meanwhile.
    loses: bool,
}

const FACTS: [Facts; 7] = [
    Facts {
        fault: Fault::Rekey,
        name: "rekey",
        every: Duration::from_secs(20),
        deeds: (Deed::Wake, None),
        places: (true, true),
        loses: false,
    },
    Facts {
        fault: Fault::Adapter,
        name: "adapter",
        every: Duration::from_secs(30),
        deeds: (Deed::Strike(Blow::Adapter), None),
        places: (false, true),
        loses: true,
    },
    Facts {
        fault: Fault::Socket,
        name: "socket",
        every: Duration::from_secs(30),
        deeds: (Deed::Strike(Blow::Socket), None),
        places: (false, true),
        loses: true,
    },
    Facts {
        fault: Fault::Roam,
        name: "roam",
        every: Duration::from_secs(30),
        deeds: (Deed::Strike(Blow::Roam), None),
        places: (true, false),
        loses: true,
    },
    Facts {
        fault: Fault::Loss,
        name: "loss",
        every: Duration::from_secs(60),
        deeds: (Deed::Strike(Blow::Cut(true)), Some((Duration::from_secs(2), Deed::Strike(Blow::Cut(false))))),
        places: (true, true),
        loses: true,
    },
    Facts {
        fault: Fault::GatewayRestart,
        name: "gateway-restart",
        every: Duration::from_secs(120),
        deeds: (Deed::Strike(Blow::GatewayRestart), None),
        places: (true, false),
        loses: true,
    },
    Facts {
        fault: Fault::Suspend,
        name: "suspend",
        every: Duration::from_secs(60),
        deeds: (Deed::Strike(Blow::Freeze(true)), Some((Duration::from_secs(3), Deed::Strike(Blow::Freeze(false))))),
        places: (true, true),
        loses: true,
    },
];

impl Fault {
    fn facts(self) -> &'static Facts {
        // Every fault has its row: a test says so.
        FACTS.iter().find(|facts| facts.fault == self).unwrap_or(&FACTS[0])
    }

    /// As the command line calls it.
    pub(super) fn name(self) -> &'static str {
        self.facts().name
    }

    /// What is done, and what takes it back after a while.
    pub(super) fn deeds(self) -> (Deed, Option<(Duration, Deed)>) {
        self.facts().deeds
    }

    /// Packets that are sent from just before it until traffic flows again may be lost.
    pub(super) fn loses(self) -> bool {
        self.facts().loses
    }

    /// Why it cannot be made there; `None` when it can.
    pub(super) fn refused(self, place: Place, transport: Transport) -> Option<String> {
        let Facts { name, places: (kernel, memory), .. } = self.facts();
        if place != Place::Hosts && !memory {
            return Some(format!("`{name}` needs real hosts: leave out --userspace"));
        }
        if place == Place::Hosts && !kernel {
            return Some(format!("`{name}` is made inside the device's process: add --userspace"));
        }
        if place == Place::Adapter && self == Self::Adapter {
            return Some(format!(
                "`{name}` breaks adapters of memory, a real one breaks by itself: leave out --adapter"
            ));
        }
        if self == Self::Rekey && transport != Transport::Wireguard {
            return Some(format!("`{name}` is WireGuard's: {} renews its keys by itself", transport.name()));
        }
        None
    }
}

/// A fault, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub fault: Fault,
    /// Between two of them.
    pub every: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}ms", self.fault.name(), self.every.as_millis())
    }
}

/// `NAME` or `NAME=TIME`.
impl FromStr for Planned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, every) = text.split_once('=').map_or((text, None), |(name, every)| (name, Some(every)));
        let names = || FACTS.map(|facts| facts.name).join(", ");
        let facts = FACTS.iter().find(|facts| facts.name == name);
        let facts = facts.ok_or_else(|| format!("expected one of {}, got `{name}`", names()))?;
        let every = every.map_or(Ok(facts.every), time)?;
        Ok(Self { fault: facts.fault, every })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_fault_has_a_row_of_its_own() {
        for (at, facts) in FACTS.iter().enumerate() {
            assert_eq!(facts.fault as usize, at, "{}", facts.name);
            assert_eq!(facts.fault.name().parse::<Planned>().unwrap().fault, facts.fault);
            assert!(facts.places.0 || facts.places.1, "{} can be made nowhere", facts.name);
        }
    }

    #[test]
    fn a_plan_is_read_back_as_it_is_written() {
        let planned: Planned = "gateway-restart=5m".parse().unwrap();
        assert_eq!(planned, Planned { fault: Fault::GatewayRestart, every: Duration::from_secs(300) });
        assert_eq!(planned.to_string().parse::<Planned>().unwrap(), planned);
        assert_eq!("loss".parse::<Planned>().unwrap().every, Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_is() {
        let error = "flood".parse::<Planned>().unwrap_err();
        assert!(error.contains("gateway-restart") && error.contains("`flood`"), "{error}");
        assert!("loss=often".parse::<Planned>().unwrap_err().contains("1h30m"));
    }

    #[test]
    fn a_fault_in_the_wrong_place_is_refused_with_the_right_one() {
        use Place::{Adapter, Hosts, Memory};
        let refused = |fault: Fault, place| fault.refused(place, Transport::Masque).unwrap_or_default();
        assert!(refused(Fault::Roam, Memory).contains("--userspace") && refused(Fault::Roam, Hosts).is_empty());
        assert!(refused(Fault::Socket, Hosts).contains("add --userspace") && refused(Fault::Socket, Memory).is_empty());
        assert!(refused(Fault::Socket, Adapter).is_empty() && refused(Fault::Adapter, Memory).is_empty());
        assert!(refused(Fault::Adapter, Adapter).contains("leave out --adapter"));
        assert!(refused(Fault::Rekey, Memory).contains("WireGuard"));
    }
}
