#![allow(clippy::unwrap_used)]
use super::*;
use crate::netcfg::{PolicyRouting, Routing};

fn desired(interface: &str) -> Desired {
    Desired {
        interface: interface.to_owned(),
        addresses: vec!["100.96.0.2/32".parse().unwrap()],
        routes: vec!["198.18.0.0/15".parse().unwrap()],
        routing: Routing::Policy(PolicyRouting::default()),
        forwarding: false,
    }
}

#[test]
fn the_hosts_interfaces_routes_and_addresses_are_read() {
    let links = sys::links().unwrap();
    let loopback = links.iter().find(|link| link.loopback).expect("every host has a loopback");
    assert!(loopback.up && loopback.luid != 0);
    assert_eq!(interface_index(&loopback.name), loopback.index("127.0.0.1".parse().unwrap()));
    let addresses = sys::addresses(loopback.luid).unwrap();
    assert!(addresses.iter().any(|net| net.addr() == IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
    for route in sys::routes().unwrap() {
        assert!(links.iter().any(|link| link.luid == route.interface), "{route:?} stands on an interface");
    }
}

#[test]
fn without_a_tunnel_nothing_is_gone_around() {
    assert_eq!(interface_around_tunnels("192.0.2.1".parse().unwrap()).unwrap(), None);
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let error = System.apply(&desired("no such interface")).unwrap_err();
    assert!(matches!(&error, NetConfigError::NoInterface { name } if name == "no such interface"), "{error}");
    assert_eq!(interface_index("no such interface"), None);
}

#[test]
fn guids_are_read_as_the_registry_has_them() {
    let guid = sys::guid("{01234567-89ab-cdef-0123-456789ABCDEF}").unwrap();
    assert_eq!((guid.data1, guid.data2, guid.data3), (0x0123_4567, 0x89ab, 0xcdef));
    assert_eq!(guid.data4, [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    assert!(sys::guid("{0123}").is_none() && sys::guid("").is_none());
}

#[test]
fn the_systems_own_routes_are_not_ours() {
    let addresses = ["100.96.0.2/24".parse().unwrap()];
    let route = |destination: &str, metric| Route {
        destination: destination.parse().unwrap(),
        next_hop: None,
        interface: 7,
        metric,
    };
    for systems in ["224.0.0.0/4", "255.255.255.255/32", "ff00::/8", "fe80::/64", "100.96.0.0/24", "100.96.0.2/32"] {
        assert!(is_systems(&route(systems, 256), &addresses), "{systems}");
    }
    assert!(!is_systems(&route("100.96.0.0/24", 0), &addresses));
    assert!(!is_systems(&route("0.0.0.0/0", 0), &addresses));
    assert!(!is_systems(&route("10.0.0.0/8", 256), &addresses), "left by another, on our interface");
}
