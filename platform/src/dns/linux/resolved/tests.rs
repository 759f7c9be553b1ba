//! Against a private bus, a stand-in for systemd-resolved, and a link in a namespace of the test's own.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    dns::{Applied, Keeper, SystemDns, imp::System},
    files::scratch::Scratch,
    testing::{bus, namespaces, private_bus, resolve1::Link as Told, resolve1::Resolve1},
};
use std::fs;

const OWN: &str = "192.0.2.53";

fn config(domain: &str) -> ResolverConfig {
    ResolverConfig {
        interface: "wire".into(),
        servers: vec!["127.0.2.2".parse().unwrap()],
        domains: vec![domain.into(), "10.in-addr.arpa".into()],
        search: vec!["corp.example".into()],
    }
}

fn told(domain: &str) -> Told {
    let domains = [("corp.example", false), (domain, true), ("10.in-addr.arpa", true)];
    Told {
        servers: vec!["127.0.2.2".parse().unwrap()],
        domains: domains.map(|(suffix, routes)| (suffix.to_owned(), routes)).to_vec(),
        default_route: Some(false),
    }
}

/// A system whose names systemd-resolved keeps, and the index of its link `wire`.
fn with_resolved(test: impl FnOnce(&System, &bus::Bus, &Resolve1, i32) + Send) {
    let scratch = Scratch::new();
    let Some(bus) = private_bus(&scratch) else { return };
    let Some([here, there]) = namespaces() else { return };
    here.wire(&there);
    let resolved = Resolve1::start(&bus, &[OWN.parse().unwrap()]);
    let path = scratch.path("resolv.conf");
    fs::write(&path, "nameserver 127.0.0.53\noptions edns0 trust-ad\n").unwrap();
    let system = System { bus: Bus(Some(bus.address.clone())), ..System::at(&path, scratch.path("state")) };
    here.run(|| test(&system, &bus, &resolved, index_of("wire").unwrap()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 127.0.0.53\noptions edns0 trust-ad\n");
    assert!(!resolved.was_open(), "the tunnel's link was asked for every name");
}

#[test]
fn the_link_gets_servers_and_routing_domains_and_never_the_default_route() {
    with_resolved(|system, _, resolved, wire| {
        assert_eq!(system.servers().unwrap(), [OWN.parse::<IpAddr>().unwrap()]);
        let mut applied = system.apply(&config("ad.example")).unwrap();
        assert_eq!(applied.keeper(), Keeper::Resolved);
        assert_eq!(resolved.links(), [(wire, told("ad.example"))].into());
        assert_eq!(resolved.flushed(), 1);
        applied.change(&config("other.example")).unwrap();
        assert_eq!(resolved.links(), [(wire, told("other.example"))].into());
        assert!(applied.in_place());
        applied.revert().unwrap();
        assert_eq!(resolved.links(), [].into());
        assert_eq!(resolved.flushed(), 3, "what was found in the tunnel is forgotten");
    });
}

#[test]
fn after_a_kill_the_next_start_sets_its_own_link_and_leaves_the_old_one_to_the_kernel() {
    with_resolved(|system, _, resolved, wire| {
        std::mem::forget(system.apply(&config("ad.example")).unwrap());
        // Nothing of it is noted anywhere: a link goes with its process.
        assert!(!system.recover().unwrap());
        resolved.gone(wire);
        let applied = system.apply(&config("ad.example")).unwrap();
        assert_eq!(resolved.links(), [(wire, told("ad.example"))].into());
        drop(applied);
        assert_eq!(resolved.links(), [].into());
    });
}

#[test]
fn what_it_refuses_half_way_leaves_nothing_or_the_former() {
    with_resolved(|system, _, resolved, wire| {
        for refused in ["SetLinkDefaultRoute", "SetLinkDomains", "SetLinkDNS"] {
            resolved.refuse(Some(refused));
            let error = system.apply(&config("ad.example")).map(|_: Applied| ()).unwrap_err();
            assert!(matches!(error, DnsError::Resolved { .. }), "{error}");
            assert!(error.to_string().contains("refused by the test"), "{error}");
            assert_eq!(resolved.links(), [].into(), "after {refused}");
        }
        resolved.refuse(None);
        let mut applied = system.apply(&config("ad.example")).unwrap();
        resolved.refuse(Some("SetLinkDNS"));
        assert!(applied.change(&config("other.example")).is_err());
        resolved.refuse(None);
        applied.change(&config("ad.example")).unwrap();
        assert_eq!(resolved.links(), [(wire, told("ad.example"))].into());
    });
}

#[test]
fn without_its_link_or_its_bus_the_system_is_left_as_it_is() {
    with_resolved(|system, bus, resolved, _| {
        let config = ResolverConfig { interface: "gone0".into(), ..config("ad.example") };
        assert!(matches!(system.apply(&config), Err(DnsError::NoInterface { .. })));
        assert_eq!(resolved.links(), [].into());
        let nowhere = System { bus: Bus(Some(format!("{}-nowhere", bus.address))), ..system.clone() };
        assert!(matches!(nowhere.servers(), Err(DnsError::Resolved { .. })));
    });
}
