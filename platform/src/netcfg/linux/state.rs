//! What of the host's network belongs to a tunnel, as plain values, and what is missing or superfluous of it.

use super::super::{Desired, PolicyRouting, Routing};
use ipnet::IpNet;
use std::collections::BTreeSet;

/// The main routing table (`RT_TABLE_MAIN`).
pub(super) const MAIN_TABLE: u32 = 254;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) destination: IpNet,
    pub(super) table: u32,
    pub(super) interface: u32,
}

/// A routing rule, as far as we write them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) v6: bool,
    pub(super) priority: u32,
    pub(super) table: u32,
    /// Packets that do not carry this mark.
    pub(super) not_mark: Option<u32>,
    /// Packets to there.
    pub(super) destination: Option<IpNet>,
    /// Routes of this length or shorter do not count.
    pub(super) suppress: Option<u32>,
}

/// Everything that is a tunnel's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) addresses: BTreeSet<IpNet>,
    pub(super) routes: BTreeSet<Route>,
    pub(super) rules: BTreeSet<Rule>,
}

impl State {
    /// What `desired` means for the interface of index `interface`.
    pub(super) fn wanted(desired: &Desired, interface: u32) -> Self {
        let table = table(&desired.routing);
        let route = |net: &IpNet| Route { destination: net.trunc(), table, interface };
        Self {
            addresses: desired.addresses.iter().copied().collect(),
            routes: desired.routes.iter().map(route).collect(),
            rules: match &desired.routing {
                Routing::Main => BTreeSet::new(),
                Routing::Policy(policy) => rules(policy, &desired.routes),
            },
        }
    }

    /// What must be added to `self` to have everything of `other`.
    pub(super) fn missing(&self, other: &Self) -> Self {
        Self {
            addresses: &other.addresses - &self.addresses,
            routes: &other.routes - &self.routes,
            rules: &other.rules - &self.rules,
        }
    }
}

pub(super) fn table(routing: &Routing) -> u32 {
    match routing {
        Routing::Main => MAIN_TABLE,
        Routing::Policy(policy) => policy.table,
    }
}

/// In this order: what bypasses the tunnel; the main table's routes except its default; the tunnel, unless marked.
/// Only for the address families that the tunnel carries.
fn rules(policy: &PolicyRouting, routes: &[IpNet]) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for v6 in [false, true] {
        if !routes.iter().any(|route| route.addr().is_ipv6() == v6) {
            continue;
        }
        let plain = Rule {
            v6,
            priority: policy.priority,
            table: MAIN_TABLE,
            not_mark: None,
            destination: None,
            suppress: None,
        };
        let bypass = policy.bypass.iter().filter(|net| net.addr().is_ipv6() == v6);
        rules.extend(bypass.map(|net| Rule { destination: Some(net.trunc()), ..plain.clone() }));
        rules.insert(Rule { priority: policy.priority + 1, suppress: Some(0), ..plain.clone() });
        rules.insert(Rule { priority: policy.priority + 2, table: policy.table, not_mark: Some(policy.mark), ..plain });
    }
    rules
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn desired(routes: &[&str]) -> Desired {
        Desired {
            interface: "vestibule0".to_owned(),
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            routing: Routing::Policy(PolicyRouting {
                bypass: vec!["203.0.113.9/32".parse().unwrap()],
                ..PolicyRouting::default()
            }),
            forwarding: false,
        }
    }

    #[test]
    fn rules_stand_in_order_and_only_for_families_in_use() {
        let state = State::wanted(&desired(&["0.0.0.0/0"]), 7);
        let rules: Vec<_> = state.rules.iter().collect();
        assert_eq!(rules.len(), 3);
        assert!(rules.iter().all(|rule| !rule.v6));
        assert_eq!(rules[0].destination, Some("203.0.113.9/32".parse().unwrap()));
        assert_eq!((rules[1].table, rules[1].suppress), (MAIN_TABLE, Some(0)));
        assert_eq!((rules[2].table, rules[2].not_mark), (22_082, Some(0x5642)));
        assert!(rules[0].priority < rules[1].priority && rules[1].priority < rules[2].priority);
        assert_eq!(State::wanted(&desired(&["0.0.0.0/0", "::/0"]), 7).rules.len(), 5);
    }

    #[test]
    fn a_change_touches_only_the_difference() {
        let before = State::wanted(&desired(&["10.0.0.0/8", "192.168.0.0/16"]), 7);
        let after = State::wanted(&desired(&["10.0.0.0/8", "172.16.0.0/12"]), 7);
        let (add, remove) = (before.missing(&after), after.missing(&before));
        assert!(add.addresses.is_empty() && add.rules.is_empty() && remove.rules.is_empty());
        let only = |state: &State| state.routes.iter().map(|route| route.destination.to_string()).collect::<Vec<_>>();
        assert_eq!(only(&add), ["172.16.0.0/12"]);
        assert_eq!(only(&remove), ["192.168.0.0/16"]);
    }
}
