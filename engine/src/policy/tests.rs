#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::header::ICMP;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn to(destination: &str, protocol: u8, port: u16) -> FlowKey {
    let destination: IpAddr = destination.parse().unwrap();
    let source = if destination.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    FlowKey { source, destination, protocol, source_port: 7, destination_port: port }
}

fn rule(id: u32, destinations: &[&str], action: Action) -> Rule {
    let destinations = destinations.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Rule { id, destinations, ports: Vec::new(), protocols: Vec::new(), action }
}

#[test]
fn the_first_match_wins_not_the_longest() {
    let rules = vec![
        rule(1, &["10.1.0.0/16"], Action::Allow),
        rule(2, &["10.0.0.0/8", "fd00::/8"], Action::Block),
        rule(3, &["10.2.0.0/16"], Action::Allow),
        rule(4, &[], Action::Allow),
    ];
    let policy = Policy::compile(rules, Action::Block);
    let decided = |destination| policy.verdict(&to(destination, TCP, 443)).rule;
    assert_eq!(decided("10.1.2.3"), Some(1));
    assert_eq!(decided("10.2.2.3"), Some(2));
    assert_eq!(decided("fd12::1"), Some(2));
    assert_eq!(decided("192.0.2.1"), Some(4));
    assert_eq!(decided("2001:db8::1"), Some(4));
}

#[test]
fn the_default_answers_when_nothing_matches() {
    for default in [Action::Allow, Action::Block] {
        let policy = Policy::compile(vec![rule(1, &["10.0.0.0/8"], Action::Allow)], default);
        assert_eq!(policy.verdict(&to("192.0.2.1", UDP, 53)), Verdict { action: default, rule: None });
        let empty = Policy::compile(Vec::new(), default);
        assert_eq!(empty.verdict(&to("::1", UDP, 53)), Verdict { action: default, rule: None });
    }
}

#[test]
fn ports_are_of_tcp_and_udp_alone() {
    let ports = vec![80..=80, 440..=443, 442..=450, 65_535..=65_535];
    let policy = Policy::compile(vec![Rule { ports, ..rule(1, &[], Action::Allow) }], Action::Block);
    let allows = |protocol, port| policy.verdict(&to("10.0.0.1", protocol, port)).action == Action::Allow;
    for protocol in [TCP, UDP] {
        let open: Vec<_> = [0, 79, 80, 81, 439, 440, 443, 450, 451, 65_534, 65_535]
            .into_iter()
            .filter(|&port| allows(protocol, port))
            .collect();
        assert_eq!(open, [80, 440, 443, 450, 65_535]);
    }
    assert!(!allows(ICMP, 80) && !allows(132, 80));
}

#[test]
fn an_inverted_port_range_matches_nothing() {
    #[expect(clippy::reversed_empty_ranges, reason = "what a careless caller could pass")]
    let ports = vec![90..=80];
    let policy = Policy::compile(vec![Rule { ports, ..rule(1, &[], Action::Allow) }], Action::Block);
    assert_eq!(policy.verdict(&to("10.0.0.1", TCP, 85)).action, Action::Block);
}

#[test]
fn protocols_by_number() {
    let protocols = vec![0, 6, 63, 64, 255];
    let policy = Policy::compile(vec![Rule { protocols, ..rule(1, &[], Action::Allow) }], Action::Block);
    let open: Vec<_> =
        (0..=255).filter(|&protocol| policy.verdict(&to("10.0.0.1", protocol, 0)).action == Action::Allow).collect();
    assert_eq!(open, [0, 6, 63, 64, 255]);
}

#[test]
fn mapped_addresses_are_ipv4() {
    let policy = Policy::compile(
        vec![rule(1, &["10.0.0.0/8"], Action::Allow), rule(2, &["::/0"], Action::Allow)],
        Action::Block,
    );
    assert_eq!(policy.verdict(&to("::ffff:10.1.1.1", TCP, 1)).rule, Some(1));
    assert_eq!(policy.verdict(&to("::ffff:11.1.1.1", TCP, 1)).rule, None);
    assert_eq!(policy.verdict(&to("::fffe:10.1.1.1", TCP, 1)).rule, Some(2));
    let policy = Policy::compile(vec![rule(1, &["::ffff:10.0.0.0/104"], Action::Allow)], Action::Block);
    assert_eq!(policy.verdict(&to("10.1.1.1", TCP, 1)).rule, Some(1));
    assert_eq!(policy.verdict(&to("11.1.1.1", TCP, 1)).rule, None);
}

#[test]
fn all_of_one_version_is_nothing_of_the_other() {
    let policy =
        Policy::compile(vec![rule(4, &["0.0.0.0/0"], Action::Allow), rule(6, &["::/0"], Action::Allow)], Action::Block);
    assert_eq!(policy.verdict(&to("255.255.255.255", TCP, 1)).rule, Some(4));
    assert_eq!(policy.verdict(&to("0.0.0.0", TCP, 1)).rule, Some(4));
    assert_eq!(policy.verdict(&to("::", TCP, 1)).rule, Some(6));
    assert_eq!(policy.verdict(&to("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", TCP, 1)).rule, Some(6));
}

/// Rule by rule, prefix by prefix.
fn linear(rules: &[Rule], default: Action, key: &FlowKey) -> Verdict {
    let destination = key.destination.to_canonical();
    let holds = |prefix: &IpNet| match (prefix, destination) {
        (IpNet::V6(v6), IpAddr::V4(v4)) => v6.prefix_len() >= 96 && v6.contains(&v4.to_ipv6_mapped()),
        _ => prefix.contains(&destination),
    };
    let matches = |rule: &&Rule| {
        let ported = matches!(key.protocol, TCP | UDP);
        (rule.destinations.is_empty() || rule.destinations.iter().any(holds))
            && (rule.protocols.is_empty() || rule.protocols.contains(&key.protocol))
            && (rule.ports.is_empty() || ported && rule.ports.iter().any(|range| range.contains(&key.destination_port)))
    };
    match rules.iter().find(matches) {
        Some(rule) => Verdict { action: rule.action, rule: Some(rule.id) },
        None => Verdict { action: default, rule: None },
    }
}

/// Addresses from a few clusters, so that prefixes nest and hit.
fn address() -> impl Strategy<Value = IpAddr> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(128), Just(255)];
    (byte.clone(), byte.clone(), byte, 0u8..4).prop_map(|(a, b, c, kind)| match kind {
        0 | 1 => Ipv4Addr::new(10, a, b, c).into(),
        2 => Ipv4Addr::new(10, a, b, c).to_ipv6_mapped().into(),
        _ => Ipv6Addr::new(0xfd00, a.into(), 0, b.into(), 0, 0, 0, c.into()).into(),
    })
}

fn prefix() -> impl Strategy<Value = IpNet> {
    (address(), 0u8..=128, any::<bool>()).prop_map(|(address, len, long)| {
        let (widest, least) = if address.is_ipv4() { (32, 8) } else { (128, 96) };
        let len = if long { least + len % (widest - least + 1) } else { len % (widest + 1) };
        IpNet::new(address, len).unwrap()
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let ports = prop::collection::vec((0u16..20, 0u16..5).prop_map(|(start, len)| start..=start + len), 0..3);
    let protocols = prop::collection::vec(prop::sample::select(vec![1u8, 6, 17, 58]), 0..3);
    let rule = (prop::collection::vec(prefix(), 0..5), ports, protocols, any::<bool>());
    prop::collection::vec(rule, 0..25).prop_map(|rules| {
        let rule = |(id, (destinations, ports, protocols, allow))| Rule {
            id,
            destinations,
            ports,
            protocols,
            action: if allow { Action::Allow } else { Action::Block },
        };
        (100..).zip(rules).map(rule).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn equals_the_linear_scan(
        rules in rules(),
        keys in prop::collection::vec((address(), prop::sample::select(vec![1u8, 6, 17, 47]), 0u16..30), 1..20),
    ) {
        let policy = Policy::compile(rules.clone(), Action::Block);
        for (destination, protocol, port) in keys {
            let key = FlowKey { source: destination, destination, protocol, source_port: 1, destination_port: port };
            prop_assert_eq!(policy.verdict(&key), linear(&rules, Action::Block, &key), "{:?}", key);
        }
    }
}
