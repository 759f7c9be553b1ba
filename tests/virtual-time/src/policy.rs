//! Rules as the reference model reads them, and their compiled form for the engine.

use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule};

/// One rule: the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Where the flow was opened towards.
    pub destination: IpNet,
    /// Destination port, or any.
    pub port: Option<u16>,
    /// IP protocol, or any.
    pub protocol: Option<u8>,
    /// Pass or refuse.
    pub allow: bool,
}

/// A rule list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// Asked in order.
    pub rules: Vec<RuleSpec>,
    /// When none matches.
    pub default_allow: bool,
}

impl PolicySpec {
    /// The reference verdict for a flow opened towards `destination`.
    #[must_use]
    pub fn allows(&self, destination: IpAddr, port: u16, protocol: u8) -> bool {
        self.rules
            .iter()
            .find(|rule| {
                rule.destination.contains(&destination)
                    && rule.port.is_none_or(|wanted| wanted == port)
                    && rule.protocol.is_none_or(|wanted| wanted == protocol)
            })
            .map_or(self.default_allow, |rule| rule.allow)
    }

    /// The engine's form.
    #[must_use]
    pub fn compile(&self) -> Arc<Policy> {
        let action = |allow| if allow { Action::Allow } else { Action::Block };
        let rules = (1..)
            .zip(&self.rules)
            .map(|(id, rule)| Rule {
                id,
                action: action(rule.allow),
                any: vec![Clause {
                    destinations: Some(Arc::new(AddressSet::new([rule.destination]))),
                    destination_ports: rule.port.map(|port| port..=port).into_iter().collect(),
                    protocols: rule.protocol.into_iter().collect(),
                    ..Clause::default()
                }],
            })
            .collect();
        Arc::new(Policy::compile(rules, action(self.default_allow)))
    }
}
