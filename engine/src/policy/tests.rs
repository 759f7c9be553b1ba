#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::header::{ICMP, TCP, UDP};
use ipnet::IpNet;
use proptest::prelude::*;
use regex::Regex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

fn to(destination: &str, protocol: u8, port: u16) -> FlowKey {
    let destination: IpAddr = destination.parse().unwrap();
    let source = if destination.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    FlowKey { source, destination, protocol, source_port: 7, destination_port: port }
}

fn set(prefixes: &[&str]) -> Option<Arc<AddressSet>> {
    let set = AddressSet::new(prefixes.iter().map(|prefix| prefix.parse().unwrap()));
    (!prefixes.is_empty()).then(|| Arc::new(set))
}

fn rule(id: u32, destinations: &[&str], action: Action) -> Rule {
    Rule { id, action, any: vec![Clause { destinations: set(destinations), ..Clause::default() }] }
}

fn only(clause: Clause) -> Policy {
    Policy::compile(vec![Rule { id: 1, action: Action::Allow, any: vec![clause] }], Action::Block)
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
    let destination_ports = vec![80..=80, 440..=443, 442..=450, 65_535..=65_535];
    let policy = only(Clause { destination_ports, ..Clause::default() });
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
    let destination_ports = vec![90..=80];
    let policy = only(Clause { destination_ports, ..Clause::default() });
    assert_eq!(policy.verdict(&to("10.0.0.1", TCP, 85)).action, Action::Block);
}

#[test]
fn protocols_by_number() {
    let protocols = vec![0, 6, 63, 64, 255];
    let policy = only(Clause { protocols, ..Clause::default() });
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

#[test]
fn a_rule_without_a_clause_never_matches() {
    let policy = Policy::compile(vec![Rule { id: 1, action: Action::Allow, any: Vec::new() }], Action::Block);
    assert_eq!(policy.verdict(&to("10.0.0.1", TCP, 80)).rule, None);
}

#[test]
fn an_empty_set_matches_nothing_and_its_complement_everything() {
    let nothing = Arc::new(AddressSet::default());
    let everything = Arc::new(nothing.complement());
    for (set, rule) in [(nothing, None), (everything, Some(1))] {
        let policy = only(Clause { destinations: Some(set), ..Clause::default() });
        assert_eq!(policy.verdict(&to("10.0.0.1", TCP, 80)).rule, rule);
        assert_eq!(policy.verdict(&to("fd00::1", ICMP, 0)).rule, rule);
    }
}

#[test]
fn only_flows_that_a_payload_rule_may_decide_are_asked_for_payload() {
    let sni = Clause {
        destination_ports: vec![443..=443],
        payload: vec![PayloadTest { negated: false, test: Payload::SniDomain(vec!["example.com".to_owned()]) }],
        ..Clause::default()
    };
    let rules = vec![
        rule(1, &["10.0.0.0/8"], Action::Allow),
        Rule { id: 2, action: Action::Block, any: vec![sni] },
        rule(3, &[], Action::Allow),
    ];
    let policy = Policy::compile(rules, Action::Block);
    let allowed = |rule| Answer::Decided(Verdict { action: Action::Allow, rule: Some(rule) });
    assert_eq!(policy.answer(&to("10.0.0.1", TCP, 443)), allowed(1), "a rule before it is sure to match");
    assert_eq!(policy.answer(&to("192.0.2.1", TCP, 80)), allowed(3), "another port");
    assert_eq!(policy.answer(&to("192.0.2.1", TCP, 443)), Answer::AsksPayload);
    let told = |name: &str| Extracted { protocol: Some(Detected::Tls), server_name: Some(name.into()) };
    let decided = |name| policy.decide(&to("192.0.2.1", TCP, 443), &told(name)).rule;
    assert_eq!(decided("example.com"), Some(2));
    assert_eq!(decided("www.example.com"), Some(2));
    assert_eq!(decided("notexample.com"), Some(3));
    assert_eq!(decided("com"), Some(3));
}

/// Rule by rule, clause by clause, range by range.
fn linear(rules: &[Rule], default: Action, key: &FlowKey, extracted: &Extracted) -> Verdict {
    let named = |wanted: &dyn Fn(&str) -> bool| extracted.server_name.as_deref().is_some_and(wanted);
    let told = |test: &PayloadTest| {
        let holds = match &test.test {
            Payload::SniHost(hosts) => named(&|name| hosts.iter().any(|host| host == name)),
            Payload::SniDomain(domains) => {
                named(&|name| domains.iter().any(|domain| name == domain || name.ends_with(&format!(".{domain}"))))
            }
            Payload::SniMatches(regex) => named(&|name| regex.is_match(name)),
            Payload::Detected(protocols) => extracted.protocol.is_some_and(|protocol| protocols.contains(&protocol)),
        };
        holds != test.negated
    };
    let ported = matches!(key.protocol, TCP | UDP);
    let holds = |clause: &Clause| {
        let among = |ranges: &[RangeInclusive<u16>], port| {
            ranges.is_empty() || ported && ranges.iter().any(|range| range.contains(&port))
        };
        clause.destinations.as_ref().is_none_or(|set| set.contains(key.destination))
            && clause.sources.as_ref().is_none_or(|set| set.contains(key.source))
            && (clause.protocols.is_empty() || clause.protocols.contains(&key.protocol))
            && among(&clause.destination_ports, key.destination_port)
            && among(&clause.source_ports, key.source_port)
            && clause.payload.iter().all(told)
    };
    match rules.iter().find(|rule| rule.any.iter().any(holds)) {
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

fn sets() -> impl Strategy<Value = Vec<Arc<AddressSet>>> {
    let set = (prop::collection::vec(prefix(), 0..5), prop::bool::weighted(0.2)).prop_map(|(prefixes, inverted)| {
        let set = AddressSet::new(prefixes);
        Arc::new(if inverted { set.complement() } else { set })
    });
    prop::collection::vec(set, 1..6)
}

const NAMES: [&str; 5] = ["a.example.com", "example.com", "b.a.example.com", "com", "notexample.com"];

fn payload() -> impl Strategy<Value = Vec<PayloadTest>> {
    let names = || prop::collection::vec(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 0..3);
    let protocols = prop::sample::subsequence(vec![Detected::Tls, Detected::Ssh, Detected::Http], 0..=2);
    let test = prop_oneof![
        names().prop_map(Payload::SniHost),
        names().prop_map(Payload::SniDomain),
        Just(Payload::SniMatches(Arc::new(Regex::new("^a[.]|^com$").unwrap()))),
        protocols.prop_map(Payload::Detected),
    ];
    let test = (any::<bool>(), test).prop_map(|(negated, test)| PayloadTest { negated, test });
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(test, 1..3)]
}

fn extracted() -> impl Strategy<Value = Extracted> {
    let named = prop::sample::select(&NAMES[..])
        .prop_map(|name| Extracted { protocol: Some(Detected::Tls), server_name: Some(name.into()) });
    let protocol = prop::sample::select(&[None, Some(Detected::Tls), Some(Detected::Ssh), Some(Detected::Http)][..])
        .prop_map(|protocol| Extracted { protocol, server_name: None });
    prop_oneof![named, protocol]
}

/// Few sets under many clauses, so that groups grow; some rules in several clauses.
fn rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    let ports = || prop::collection::vec((0u16..20, 0u16..5).prop_map(|(start, len)| start..=start + len), 0..3);
    let protocols = prop::collection::vec(prop::sample::select(vec![1u8, 6, 17, 58]), 0..3);
    let named = || prop::option::of(any::<prop::sample::Index>());
    let few = || prop_oneof![3 => Just(Vec::new()), 1 => ports()];
    let sources = prop::option::weighted(0.3, any::<prop::sample::Index>());
    let clause = (named(), sources, ports(), few(), protocols, payload());
    let rule = (prop::collection::vec(clause, 0..3), any::<bool>());
    (sets(), prop::collection::vec(rule, count)).prop_map(|(sets, rules)| {
        let set = |at: Option<prop::sample::Index>| at.map(|at| Arc::clone(at.get(&sets)));
        let rule = |(id, (clauses, allow)): (u32, (Vec<_>, bool))| Rule {
            id,
            action: if allow { Action::Allow } else { Action::Block },
            any: clauses
                .into_iter()
                .map(|(destinations, sources, destination_ports, source_ports, protocols, payload)| Clause {
                    destinations: set(destinations),
                    sources: set(sources),
                    destination_ports,
                    source_ports,
                    protocols,
                    payload,
                })
                .collect(),
        };
        (100..).zip(rules).map(rule).collect()
    })
}

type Asking = (IpAddr, IpAddr, u8, u16, u16);

fn asking() -> impl Strategy<Value = Vec<Asking>> {
    let protocol = prop::sample::select(vec![1u8, 6, 17, 47]);
    prop::collection::vec((address(), address(), protocol, 0u16..30, 0u16..30), 1..20)
}

fn equals_linear(rules: &[Rule], asking: Vec<Asking>, told: &[Extracted]) -> Result<(), TestCaseError> {
    let policy = Policy::compile(rules.to_vec(), Action::Block);
    for (source, destination, protocol, source_port, destination_port) in asking {
        let key = FlowKey { source, destination, protocol, source_port, destination_port };
        for extracted in told.iter().chain([&Extracted::default()]) {
            let wanted = linear(rules, Action::Block, &key, extracted);
            prop_assert_eq!(policy.decide(&key, extracted), wanted, "{:?} {:?}", key, extracted);
            // What is decided early, no first bytes change (no flow but of TCP and UDP has any).
            if let Answer::Decided(early) = policy.answer(&key) {
                let ported = matches!(key.protocol, TCP | UDP);
                prop_assert!(early == wanted || !ported, "{:?} {:?}", key, early);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn equals_the_linear_scan(rules in rules(0..60), asking in asking(), told in prop::collection::vec(extracted(), 1..4)) {
        equals_linear(&rules, asking, &told)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// So many rules that their groups are found by port.
    #[test]
    fn equals_the_linear_scan_in_large_groups(
        rules in rules(400..700), asking in asking(), told in prop::collection::vec(extracted(), 1..3),
    ) {
        equals_linear(&rules, asking, &told)?;
    }
}
