//! What tests need of rtnetlink beyond the product.
#![allow(clippy::unwrap_used)]

use super::{messages, netlink::Netlink};
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        route::{RouteMessage, RouteProtocol},
    },
};
use std::{fs::File, os::fd::AsRawFd};

/// Sets `interface` up in the namespace of this thread.
pub(crate) fn link_up(interface: &str) {
    let index = if_nametoindex(interface).unwrap();
    Netlink::open().unwrap().change(messages::link_up(index), 0).unwrap();
}

/// A veth pair: `near` here, which is set up, and one end called `far` in the namespace `there`.
pub(crate) fn veth(near: &str, moved: &str, far: &str, there: &File) {
    let mut netlink = Netlink::open().unwrap();
    let pair = LinkVeth::new(near, moved).build();
    netlink.change(RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL).unwrap();
    let index = if_nametoindex(moved).unwrap();
    let unspec = || LinkMessageBuilder::<LinkUnspec>::new().index(index);
    let named = unspec().name(far).setns_by_fd(there.as_raw_fd()).build();
    netlink.change(RouteNetlinkMessage::SetLink(named), 0).unwrap();
    link_up(near);
}

/// How many routes (not counting the kernel's own, which come late) and rules this namespace has, and the addresses of
/// `interface`.
pub(crate) fn inventory(interface: &str) -> (usize, usize, Vec<String>) {
    let mut netlink = Netlink::open().unwrap();
    let (mut routes, mut rules) = (0, 0);
    for v6 in [false, true] {
        for message in netlink.list(&messages::all_routes(v6)).unwrap() {
            let kernels = |route: &RouteMessage| route.header.protocol == RouteProtocol::Kernel;
            routes += usize::from(!matches!(message, RouteNetlinkMessage::NewRoute(route) if kernels(&route)));
        }
        rules += netlink.list(&messages::all_rules(v6)).unwrap().len();
    }
    let index = if_nametoindex(interface).unwrap_or(0);
    let mut addresses = Vec::new();
    for message in netlink.list(&messages::all_addresses()).unwrap() {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            addresses.extend(messages::address_of(&message, index).map(|net| net.to_string()));
        }
    }
    (routes, rules, addresses)
}

/// Adds an address in the namespace of this thread.
pub(crate) fn add_address(interface: &str, address: &str) {
    let index = if_nametoindex(interface).unwrap();
    let message = RouteNetlinkMessage::NewAddress(messages::address(index, address.parse().unwrap()));
    Netlink::open().unwrap().change(message, NLM_F_CREATE | NLM_F_EXCL).unwrap();
}

/// Sets an interface's MTU in the namespace of this thread.
pub(crate) fn set_mtu(interface: &str, mtu: u32) {
    let index = if_nametoindex(interface).unwrap();
    let message = LinkMessageBuilder::<LinkUnspec>::new().index(index).mtu(mtu).build();
    Netlink::open().unwrap().change(RouteNetlinkMessage::SetLink(message), 0).unwrap();
}

/// A default route over `interface` by the neighbour `gateway`.
pub(crate) fn add_default_route(interface: &str, gateway: [u8; 4]) {
    let index = if_nametoindex(interface).unwrap();
    let route = rtnetlink::RouteMessageBuilder::<std::net::Ipv4Addr>::new()
        .output_interface(index)
        .gateway(gateway.into())
        .build();
    Netlink::open().unwrap().change(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL).unwrap();
}
