//! What tests need of rtnetlink beyond the product.
#![allow(clippy::unwrap_used)]

use super::{messages, netlink::Netlink};
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::RouteNetlinkMessage,
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

/// How many routes and rules this namespace has, and the addresses of `interface`.
pub(crate) fn inventory(interface: &str) -> (usize, usize, Vec<String>) {
    let mut netlink = Netlink::open().unwrap();
    let (mut routes, mut rules) = (0, 0);
    for v6 in [false, true] {
        routes += netlink.list(&messages::all_routes(v6)).unwrap().len();
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
