//! Our values as rtnetlink messages, and back.

use super::state::{Route, Rule};
use ipnet::IpNet;
use rtnetlink::{
    AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope},
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Written to every route and rule of ours; free for private use (`/etc/iproute2/rt_protos`).
const OURS: RouteProtocol = RouteProtocol::Other(0x56);

pub(super) fn family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

pub(super) fn all_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

pub(super) fn all_routes(v6: bool) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(v6);
    RouteNetlinkMessage::GetRoute(message)
}

pub(super) fn all_rules(v6: bool) -> RouteNetlinkMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(v6);
    RouteNetlinkMessage::GetRule(message)
}

pub(super) fn link_up(interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(LinkMessageBuilder::<LinkUnspec>::new().index(interface).up().build())
}

pub(super) fn address(interface: u32, net: IpNet) -> AddressMessage {
    match net {
        IpNet::V4(net) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(interface).address(net.addr(), net.prefix_len()).build()
        }
        IpNet::V6(net) => {
            let mut message =
                AddressMessageBuilder::<Ipv6Addr>::new().index(interface).address(net.addr(), net.prefix_len()).build();
            // Nobody else on a tunnel can hold it: usable at once.
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
        }
    }
}

/// The address of a listing on `interface`; not the link-local one that the kernel gives by itself.
pub(super) fn address_of(message: &AddressMessage, interface: u32) -> Option<IpNet> {
    if message.header.index != interface {
        return None;
    }
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let other = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let address = local.or(other)?;
    let own = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if own { None } else { IpNet::new(address, message.header.prefix_len).ok() }
}

pub(super) fn route(route: &Route) -> RouteMessage {
    // Built by hand for both families at once: the builder's prefixes are typed by family.
    let mut message = RouteMessageBuilder::<IpAddr>::new()
        .table_id(route.table)
        .protocol(OURS)
        .output_interface(route.interface)
        .scope(if route.destination.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe })
        .build();
    message.header.address_family = family(route.destination.addr().is_ipv6());
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(route.destination.addr())));
    message
}

/// A listed route, if it is ours.
pub(super) fn route_of(message: &RouteMessage) -> Option<Route> {
    if message.header.protocol != OURS {
        return None;
    }
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let mut address = if v6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let (mut table, mut interface) = (u32::from(message.header.table), 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => address = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => address = (*v6).into(),
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::Oif(index) => interface = *index,
            _ => {}
        }
    }
    let destination = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, table, interface })
}

pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.v6);
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(OURS));
    if let Some(mark) = rule.not_mark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(u32::MAX));
        message.header.flags |= RuleFlags::Invert;
    }
    if let Some(net) = rule.destination {
        attributes.push(RuleAttribute::Destination(net.addr()));
        message.header.dst_len = net.prefix_len();
    }
    if let Some(length) = rule.suppress {
        attributes.push(RuleAttribute::SuppressPrefixLen(length));
    }
    message
}

/// A listed rule, if it is ours.
pub(super) fn rule_of(message: &RuleMessage) -> Option<Rule> {
    let mut ours = false;
    let mut rule = Rule {
        v6: message.header.family == AddressFamily::Inet6,
        priority: 0,
        table: u32::from(message.header.table),
        not_mark: None,
        destination: None,
        suppress: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => ours = *protocol == OURS,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::FwMark(mark) => rule.not_mark = Some(*mark),
            RuleAttribute::Destination(address) => {
                rule.destination = IpNet::new(*address, message.header.dst_len).ok();
            }
            // The kernel lists "none" as all ones.
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => rule.suppress = Some(*length),
            _ => {}
        }
    }
    ours.then_some(rule)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn routes_and_rules_survive_both_ways() {
        for net in ["0.0.0.0/0", "10.0.0.0/8", "::/0", "fd00::/48"] {
            let net: IpNet = net.parse().unwrap();
            for table in [254, 22_082] {
                let one = Route { destination: net, table, interface: 7 };
                assert_eq!(route_of(&route(&one)), Some(one));
            }
            let v6 = net.addr().is_ipv6();
            let plain = Rule { v6, priority: 9, table: 254, not_mark: None, destination: Some(net), suppress: None };
            let rules = [
                Rule { destination: None, suppress: Some(0), ..plain.clone() },
                Rule { destination: None, not_mark: Some(5), table: 22_082, ..plain.clone() },
                plain,
            ];
            for one in rules {
                assert_eq!(rule_of(&rule(&one)), Some(one));
            }
        }
    }

    #[test]
    fn what_others_wrote_is_not_ours() {
        let mut other = RouteMessage::default();
        other.header.protocol = RouteProtocol::Static;
        assert_eq!(route_of(&other), None);
        assert_eq!(rule_of(&RuleMessage::default()), None);
    }
}
