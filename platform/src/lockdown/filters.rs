//! The filters of a lockdown, as plain values. What no filter permits, the last one blocks.

use super::Allowed;
use ipnet::IpNet;

/// Protocols by number.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Messages of neighbour discovery (RFC 4861): router and neighbour solicitation and advertisement, redirect.
const DISCOVERY: [u16; 5] = [133, 134, 135, 136, 137];

/// Where the system asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) v6: bool,
    /// Whether a connection to us is accepted, instead of one of ours allowed.
    pub(super) inbound: bool,
}

/// Both families, both directions.
pub(super) const LAYERS: [Layer; 4] = [
    Layer { v6: false, inbound: false },
    Layer { v6: false, inbound: true },
    Layer { v6: true, inbound: false },
    Layer { v6: true, inbound: true },
];

/// What a filter looks at. Several of one kind are alternatives, of different kinds all are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Loopback,
    /// Through the interface of this LUID.
    Interface(u64),
    Program(Program),
    Protocol(u8),
    /// For ICMP: the type.
    LocalPort(u16),
    RemotePort(u16),
    Remote(IpNet),
}

/// An executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The daemon's.
    Daemon,
    /// The one that hosts the system's services, its resolver among them.
    Services,
}

/// One filter. Those that permit stand before the one that blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) layer: Layer,
    pub(super) conditions: Vec<Condition>,
    pub(super) permits: bool,
    /// In force from the start of the system's network until the firewall's service runs and has read the others.
    pub(super) at_boot: bool,
}

/// The filters that let nothing through but `allowed`; `tunnel` is the LUID of its interface.
pub(super) fn filters(allowed: &Allowed, tunnel: Option<u64>) -> Vec<Filter> {
    let mut all = Vec::new();
    for at_boot in [false, true] {
        for layer in LAYERS {
            let permits = if at_boot { of_a_host(layer) } else { permits(layer, allowed, tunnel) };
            let filter = |(name, conditions)| Filter { name, layer, conditions, permits: true, at_boot };
            all.extend(permits.into_iter().map(filter));
        }
        let else_ = |layer| Filter { name: "all else", layer, conditions: Vec::new(), permits: false, at_boot };
        all.extend(LAYERS.map(else_));
    }
    all
}

type Permit = (&'static str, Vec<Condition>);

/// What a host needs to be on its network at all.
fn of_a_host(layer: Layer) -> Vec<Permit> {
    let (ours, theirs) = if layer.v6 { (546, 547) } else { (68, 67) };
    let dhcp = vec![Condition::Protocol(UDP), Condition::LocalPort(ours), Condition::RemotePort(theirs)];
    let mut all = vec![("loopback", vec![Condition::Loopback]), ("DHCP", dhcp)];
    if layer.v6 {
        let types = DISCOVERY.into_iter().map(Condition::LocalPort);
        all.push(("neighbour discovery", [Condition::Protocol(ICMPV6)].into_iter().chain(types).collect()));
    }
    all
}

fn permits(layer: Layer, allowed: &Allowed, tunnel: Option<u64>) -> Vec<Permit> {
    let mut all = of_a_host(layer);
    if let Some(tunnel) = tunnel {
        all.push(("the tunnel", vec![Condition::Interface(tunnel)]));
    }
    if allowed.program.is_some() {
        all.push(("the daemon", vec![Condition::Program(Program::Daemon)]));
    }
    if layer.inbound {
        return all;
    }
    let gateways = allowed.gateways.iter().filter(|net| net.addr().is_ipv6() == layer.v6);
    let gateways: Vec<Condition> = gateways.copied().map(Condition::Remote).collect();
    // Without a condition it would permit everything.
    if !gateways.is_empty() {
        all.push(("the gateway", gateways));
    }
    if allowed.names {
        let asks = [Condition::Protocol(UDP), Condition::Protocol(TCP), Condition::RemotePort(53)];
        all.push(("names", [Condition::Program(Program::Services)].into_iter().chain(asks).collect()));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;
    use std::{mem::discriminant, net::IpAddr};

    const TUNNEL: u64 = 0x35_0001;
    const ETHERNET: u64 = 0x6_0001;

    /// A connection as the system asks about it.
    #[derive(Clone, Debug)]
    struct Asked {
        layer: Layer,
        loopback: bool,
        interface: u64,
        program: Option<Program>,
        protocol: u8,
        local_port: u16,
        remote_port: u16,
        remote: IpAddr,
        at_boot: bool,
    }

    impl Asked {
        fn matches(&self, condition: &Condition) -> bool {
            match condition {
                Condition::Loopback => self.loopback,
                Condition::Interface(luid) => self.interface == *luid,
                Condition::Program(program) => self.program == Some(*program),
                Condition::Protocol(protocol) => self.protocol == *protocol,
                Condition::LocalPort(port) => self.local_port == *port,
                Condition::RemotePort(port) => self.remote_port == *port,
                Condition::Remote(net) => net.contains(&self.remote),
            }
        }

        /// As the system decides: the first filter of the layer that matches, alternatives by kind.
        fn passes(&self, filters: &[Filter]) -> bool {
            let decides = |filter: &&Filter| {
                let kinds = filter.conditions.iter().map(discriminant);
                let met = |kind| filter.conditions.iter().any(|one| discriminant(one) == kind && self.matches(one));
                filter.layer == self.layer && filter.at_boot == self.at_boot && kinds.into_iter().all(met)
            };
            filters.iter().find(decides).expect("a filter without conditions stands last").permits
        }
    }

    fn allowed() -> Allowed {
        Allowed {
            interface: Some("vestibule0".to_owned()),
            program: Some("vestibule.exe".into()),
            gateways: vec!["203.0.113.9/32".parse().unwrap(), "2001:db8::9/128".parse().unwrap()],
            names: true,
        }
    }

    fn web(remote: &str, inbound: bool) -> Asked {
        let remote: IpAddr = remote.parse().unwrap();
        Asked {
            layer: Layer { v6: remote.is_ipv6(), inbound },
            loopback: false,
            interface: ETHERNET,
            program: None,
            protocol: TCP,
            local_port: 50_000,
            remote_port: 443,
            remote,
            at_boot: false,
        }
    }

    #[test]
    fn what_a_host_needs_to_have_a_tunnel_passes_in_both_families() {
        let filters = filters(&allowed(), Some(TUNNEL));
        for remote in ["198.51.100.1", "2001:db8:5::1"] {
            for inbound in [false, true] {
                let plain = web(remote, inbound);
                assert!(!plain.passes(&filters), "{plain:?}");
                for passing in [
                    Asked { loopback: true, ..plain.clone() },
                    Asked { interface: TUNNEL, ..plain.clone() },
                    Asked { program: Some(Program::Daemon), ..plain.clone() },
                ] {
                    assert!(passing.passes(&filters), "{passing:?}");
                }
                let (local_port, remote_port) = if plain.layer.v6 { (546, 547) } else { (68, 67) };
                let dhcp = Asked { protocol: UDP, local_port, remote_port, ..plain.clone() };
                assert!(dhcp.passes(&filters));
                assert!(!Asked { protocol: TCP, ..dhcp.clone() }.passes(&filters));
                assert!(!Asked { remote_port: remote_port + 1, ..dhcp }.passes(&filters));
                let asks = Asked { protocol: UDP, remote_port: 53, program: Some(Program::Services), ..plain };
                assert_eq!(asks.passes(&filters), !inbound);
                assert!(!Asked { program: None, ..asks.clone() }.passes(&filters), "a program that asks by itself");
                assert!(!Asked { remote_port: 443, ..asks }.passes(&filters), "another service");
            }
        }
        for kind in DISCOVERY {
            let discovery = Asked { protocol: ICMPV6, local_port: kind, remote_port: 0, ..web("fe80::1", true) };
            assert!(discovery.passes(&filters));
            assert!(!Asked { protocol: TCP, ..discovery }.passes(&filters));
        }
        let ping = Asked { protocol: ICMPV6, local_port: 128, remote_port: 0, ..web("fe80::1", false) };
        assert!(!ping.passes(&filters));
        assert!(web("203.0.113.9", false).passes(&filters) && web("2001:db8::9", false).passes(&filters));
        assert!(!web("203.0.113.9", true).passes(&filters), "the gateway does not come to us");
    }

    #[test]
    fn until_the_firewall_has_started_a_host_may_join_its_network_and_no_more() {
        let filters = filters(&allowed(), Some(TUNNEL));
        for remote in ["203.0.113.9", "2001:db8::9"] {
            let early = Asked { at_boot: true, ..web(remote, false) };
            assert!(!early.passes(&filters), "the gateway, too, waits for the daemon");
            assert!(!Asked { program: Some(Program::Daemon), interface: TUNNEL, ..early.clone() }.passes(&filters));
            assert!(Asked { loopback: true, ..early.clone() }.passes(&filters));
            let (local_port, remote_port) = if early.layer.v6 { (546, 547) } else { (68, 67) };
            assert!(Asked { protocol: UDP, local_port, remote_port, ..early }.passes(&filters));
        }
    }

    #[test]
    fn without_a_tunnel_and_a_gateway_nothing_passes_for_want_of_a_condition() {
        let filters = filters(&Allowed::default(), None);
        assert!(filters.iter().filter(|filter| filter.permits).all(|filter| !filter.conditions.is_empty()));
        for remote in ["198.51.100.1", "203.0.113.9", "2001:db8::9"] {
            let plain = web(remote, false);
            assert!(!plain.passes(&filters));
            assert!(!Asked { program: Some(Program::Daemon), interface: TUNNEL, ..plain }.passes(&filters));
        }
    }

    proptest! {
        #[test]
        fn others_never_pass(remote in any::<u128>(), v6 in any::<bool>(), inbound in any::<bool>(),
            protocol in any::<u8>(), local_port in 1024u16.., remote_port in 1024u16..) {
            let remote: IpAddr = if v6 { IpAddr::from(remote.to_be_bytes()) } else { IpAddr::from((remote as u32).to_be_bytes()) };
            let asked = Asked { protocol, local_port, remote_port, ..web("192.0.2.1", inbound) };
            let asked = Asked { layer: Layer { v6, inbound }, remote, ..asked };
            let gateway = allowed().gateways.iter().any(|net| net.contains(&remote));
            prop_assert_eq!(asked.passes(&filters(&allowed(), Some(TUNNEL))), gateway && !inbound);
        }
    }
}
