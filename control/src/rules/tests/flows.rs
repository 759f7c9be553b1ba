//! Flows, and the plainest possible answers of trees and clauses about them.

use crate::rules::clauses::{Clause, unfold};
use crate::rules::language::{Comparison, Expression, Field, Scope, Test, parse};
use crate::rules::{List, ListKind, Lists};
use std::net::IpAddr;
use vestibule_engine::classify::FlowKey;
use vestibule_engine::packet::header::{TCP, UDP};
use vestibule_engine::policy::{Detected, Payload, PayloadTest};

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) destination: IpAddr,
    pub(super) source: IpAddr,
    pub(super) protocol: u8,
    pub(super) destination_port: u16,
    pub(super) source_port: u16,
    pub(super) sni: Option<String>,
    pub(super) detected: Option<Detected>,
}

impl Flow {
    pub(super) fn to(destination: &str, protocol: u8, destination_port: u16) -> Self {
        Self {
            destination: destination.parse().unwrap(),
            source: "100.96.0.7".parse().unwrap(),
            protocol,
            destination_port,
            source_port: 40_000,
            sni: None,
            detected: None,
        }
    }

    pub(super) fn tls(name: &str) -> Self {
        Self { sni: Some(name.to_owned()), detected: Some(Detected::Tls), ..Self::to("203.0.113.9", TCP, 443) }
    }

    pub(super) fn speaking(detected: Detected) -> Self {
        Self { detected: Some(detected), ..Self::to("203.0.113.9", TCP, 8080) }
    }

    pub(super) fn key(&self) -> FlowKey {
        FlowKey {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP)
    }
}

pub(super) fn lists() -> Lists {
    let mut lists = Lists::default();
    lists.insert("ad-servers", List::new(ListKind::Ip, ["10.9.0.2", "10.20.0.0/24", "fd00::1..fd00::5"]));
    lists.insert("empty", List::new(ListKind::Ip, []));
    let names = (0..20).map(|i| format!("n{i}.example")).collect::<Vec<_>>();
    lists.insert("many", List::new(ListKind::Domain, names.iter().map(String::as_str).chain(["a.example"])));
    lists.insert("nobody", List::new(ListKind::Domain, []));
    lists.insert("partners", List::new(ListKind::Domain, ["partner.example", "Other.example."]));
    lists
}

pub(super) fn tree(text: &str) -> Expression {
    parse(text, Scope::Traffic).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn clauses(text: &str) -> Vec<Clause> {
    unfold(&tree(text), &lists()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// By the tree.
pub(super) fn tree_holds(tree: &Expression, flow: &Flow) -> bool {
    tree.holds(&|test| test_holds(test, flow))
}

fn test_holds(test: &Test, flow: &Flow) -> bool {
    let lists = lists();
    let place = |address: IpAddr| match &test.comparison {
        Comparison::Addresses(set) => set.contains(address),
        Comparison::List { id, .. } => lists.get(id).unwrap().addresses().contains(address),
        other => panic!("{other:?} of an address"),
    };
    let port = |port: u16| match &test.comparison {
        Comparison::Ports(ranges) => flow.has_ports() && ranges.iter().any(|(from, to)| (*from..=*to).contains(&port)),
        other => panic!("{other:?} of a port"),
    };
    let text = |value: &str| match &test.comparison {
        Comparison::Texts(texts) => texts.iter().any(|text| text == value),
        Comparison::Contains(part) => value.contains(part),
        Comparison::Matches(pattern) => pattern.regex.is_match(value),
        Comparison::List { id, .. } => lists.get(id).unwrap().contains(value),
        other => panic!("{other:?} of text"),
    };
    match (&test.field, &test.comparison) {
        (Field::Destination, _) => place(flow.destination),
        (Field::Source, _) => place(flow.source),
        (Field::DestinationPort, _) => port(flow.destination_port),
        (Field::SourcePort, _) => port(flow.source_port),
        (Field::Protocol, Comparison::Protocols(numbers)) => numbers.contains(&flow.protocol),
        (Field::Detected, Comparison::Detected(kinds)) => flow.detected.is_some_and(|kind| kinds.contains(&kind)),
        (Field::SniHost, _) => flow.sni.as_deref().is_some_and(text),
        (Field::SniDomains, _) => {
            let all = |name: &str| {
                let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
                starts.map(|at| name[at..].to_owned()).collect::<Vec<_>>()
            };
            flow.sni.as_deref().is_some_and(|name| all(name).iter().any(|domain| text(domain)))
        }
        (Field::VirtualNetwork, _) => text("00000000-0000-0000-0000-000000000000"),
        (Field::Onramp, _) => text("device_client"),
        other => panic!("{other:?} of a flow"),
    }
}

/// By the clauses.
pub(super) fn clauses_hold(clauses: &[Clause], flow: &Flow) -> bool {
    clauses.iter().any(|clause| {
        let among = |ports: &Option<Vec<(u16, u16)>>, port: u16| {
            ports
                .as_ref()
                .is_none_or(|ranges| flow.has_ports() && ranges.iter().any(|(from, to)| (*from..=*to).contains(&port)))
        };
        clause.destinations.as_ref().is_none_or(|place| place.set.contains(flow.destination))
            && clause.sources.as_ref().is_none_or(|place| place.set.contains(flow.source))
            && among(&clause.destination_ports, flow.destination_port)
            && among(&clause.source_ports, flow.source_port)
            && clause.protocols.is_none_or(|protocols| protocols.numbers().any(|number| number == flow.protocol))
            && clause.payload.iter().all(|test| payload_holds(test, flow))
    })
}

fn payload_holds(test: &PayloadTest, flow: &Flow) -> bool {
    let name = flow.sni.as_deref();
    let below = |domain: &String| name.is_some_and(|name| name == domain || name.ends_with(&format!(".{domain}")));
    let holds = match &test.test {
        Payload::SniHost(names) => names.iter().any(|known| name == Some(known)),
        Payload::SniDomain(domains) => domains.iter().any(below),
        Payload::SniMatches(regex) => name.is_some_and(|name| regex.is_match(name)),
        Payload::Detected(kinds) => flow.detected.is_some_and(|kind| kinds.contains(&kind)),
    };
    holds != test.negated
}
