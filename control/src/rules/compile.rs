//! Rules that apply to a subject -> the engine's [`Policy`], and -> the [`PolicyDocument`] from which a device makes the
//! same one.

use super::clauses::{Clause, Origin, Place};
use super::language::values;
use super::{List, Rule};
use crate::api::device::{
    POLICY_FORMAT, PolicyClause, PolicyDocument, PolicyList, PolicyPlace, PolicyRule, PolicyTest,
};
use std::collections::HashMap;
use std::sync::Arc;
use vestibule_engine::policy::{
    Action, AddressSet, Clause as EngineClause, Detected, Payload, PayloadTest, Policy, Rule as EngineRule,
};

/// Rules in order of precedence, with what happens when none matches.
#[derive(Clone, Debug)]
pub struct Applying<'a> {
    /// Those that apply to the subject.
    pub rules: Vec<&'a Rule>,
    /// Answer when none matches.
    pub default_allow: bool,
    /// Grows with every change.
    pub version: u64,
}

fn default_action(allow: bool) -> Action {
    if allow { Action::Allow } else { Action::Block }
}

/// The engine's form.
#[must_use]
pub fn policy(applying: &Applying<'_>) -> Policy {
    let rules = (0..).zip(&applying.rules).map(|(id, rule)| EngineRule {
        id,
        action: rule.action,
        any: rule.traffic.clauses.iter().map(engine_clause).collect(),
    });
    Policy::compile(rules.collect(), default_action(applying.default_allow))
}

fn engine_clause(clause: &Clause) -> EngineClause {
    let set = |place: &Option<Place>| place.as_ref().map(|place| Arc::clone(&place.set));
    let ports = |ports: &Option<Vec<(u16, u16)>>| ports.iter().flatten().map(|&(from, to)| from..=to).collect();
    EngineClause {
        destinations: set(&clause.destinations),
        sources: set(&clause.sources),
        destination_ports: ports(&clause.destination_ports),
        source_ports: ports(&clause.source_ports),
        protocols: clause.protocols.iter().flat_map(|protocols| protocols.numbers()).collect(),
        payload: clause.payload.clone(),
    }
}

/// The form for devices. A list stands in it once, however many rules name it.
#[must_use]
pub fn document(applying: &Applying<'_>) -> PolicyDocument {
    let mut writing = Writing::default();
    let rules = (0..).zip(&applying.rules).map(|(id, rule)| PolicyRule {
        id,
        name: rule.name.to_string(),
        allow: rule.action.permits(),
        clauses: rule.traffic.clauses.iter().map(|clause| writing.clause(clause)).collect(),
    });
    let rules = rules.collect();
    PolicyDocument {
        format: POLICY_FORMAT,
        version: applying.version,
        default_allow: applying.default_allow,
        lists: writing.lists,
        rules,
    }
}

/// What is sent in place of a document that is too large, or that is not understood: the device lets everything into
/// the tunnel, and the gateway judges alone.
#[must_use]
pub fn judged_by_the_gateway(version: u64) -> PolicyDocument {
    PolicyDocument { format: POLICY_FORMAT, version, default_allow: true, lists: Vec::new(), rules: Vec::new() }
}

#[derive(Default)]
struct Writing {
    lists: Vec<PolicyList>,
    /// By the list's place in memory, which it keeps while the rules are borrowed.
    places: HashMap<*const List, u32>,
    names: HashMap<Vec<String>, u32>,
}

/// Names of servers from which on they are sent as a list, which other rules may share.
const MANY_NAMES: usize = 16;

impl Writing {
    fn clause(&mut self, clause: &Clause) -> PolicyClause {
        PolicyClause {
            destinations: clause.destinations.as_ref().map(|place| self.place(place)),
            sources: clause.sources.as_ref().map(|place| self.place(place)),
            destination_ports: clause.destination_ports.clone().unwrap_or_default(),
            source_ports: clause.source_ports.clone().unwrap_or_default(),
            protocols: clause.protocols.iter().flat_map(|protocols| protocols.numbers()).collect(),
            payload: clause.payload.iter().map(|test| self.test(test)).collect(),
        }
    }

    fn place(&mut self, place: &Place) -> PolicyPlace {
        match &place.origin {
            Origin::Own(addresses) => PolicyPlace { nets: addresses.nets().collect(), ..PolicyPlace::default() },
            Origin::List { list, outside } => {
                let next = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
                let index = *self.places.entry(Arc::as_ptr(list)).or_insert(next);
                if index == next {
                    self.lists.push(PolicyList { nets: list.addresses().nets().collect(), ..PolicyList::default() });
                }
                PolicyPlace { list: Some(index), outside: *outside, ..PolicyPlace::default() }
            }
        }
    }

    /// The position of a list of names; `None` when they are too few for one.
    fn name_list(&mut self, names: &[String]) -> Option<u32> {
        if names.len() < MANY_NAMES {
            return None;
        }
        let next = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        let index = *self.names.entry(names.to_vec()).or_insert(next);
        if index == next {
            self.lists.push(PolicyList { names: names.to_vec(), ..PolicyList::default() });
        }
        Some(index)
    }

    fn test(&mut self, test: &PayloadTest) -> PolicyTest {
        let mut out = PolicyTest { negated: test.negated, ..PolicyTest::default() };
        match &test.test {
            Payload::SniHost(names) => match self.name_list(names) {
                None => out.sni_hosts.clone_from(names),
                list => out.sni_host_list = list,
            },
            Payload::SniDomain(names) => match self.name_list(names) {
                None => out.sni_domains.clone_from(names),
                list => out.sni_domain_list = list,
            },
            Payload::SniMatches(regex) => out.sni_matches = Some(regex.as_str().to_owned()),
            Payload::Detected(kinds) => out.detected = kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        }
        out
    }
}

/// The engine's form of a document. One that this version does not understand, as a whole or in one clause, lets
/// everything pass: its reader is a device, whose gateway judges in any case.
#[must_use]
pub fn engine_policy(document: &PolicyDocument) -> Policy {
    read(document).unwrap_or_else(|| {
        let format = document.format;
        tracing::warn!(format, known = POLICY_FORMAT, "the rules are not understood here: the gateway judges alone");
        Policy::compile(Vec::new(), Action::Allow)
    })
}

fn read(document: &PolicyDocument) -> Option<Policy> {
    if document.format != POLICY_FORMAT {
        return None;
    }
    let lists: Vec<_> =
        document.lists.iter().map(|list| Arc::new(AddressSet::new(list.nets.iter().copied()))).collect();
    let mut outsides = HashMap::new();
    let mut place = |place: &PolicyPlace| -> Option<Arc<AddressSet>> {
        let Some(index) = place.list else {
            return Some(Arc::new(AddressSet::new(place.nets.iter().copied())));
        };
        let list = lists.get(index as usize)?;
        if !place.outside {
            return Some(Arc::clone(list));
        }
        Some(Arc::clone(outsides.entry(index).or_insert_with(|| Arc::new(list.complement()))))
    };
    let mut rules = Vec::with_capacity(document.rules.len());
    for rule in &document.rules {
        let mut any = Vec::with_capacity(rule.clauses.len());
        for clause in &rule.clauses {
            any.push(EngineClause {
                destinations: clause.destinations.as_ref().map(|set| place(set).ok_or(())).transpose().ok()?,
                sources: clause.sources.as_ref().map(|set| place(set).ok_or(())).transpose().ok()?,
                destination_ports: clause.destination_ports.iter().map(|&(from, to)| from..=to).collect(),
                source_ports: clause.source_ports.iter().map(|&(from, to)| from..=to).collect(),
                protocols: clause.protocols.clone(),
                payload: clause.payload.iter().map(|test| payload(test, document)).collect::<Option<_>>()?,
            });
        }
        rules.push(EngineRule { id: rule.id, action: default_action(rule.allow), any });
    }
    Some(Policy::compile(rules, default_action(document.default_allow)))
}

fn payload(test: &PolicyTest, document: &PolicyDocument) -> Option<PayloadTest> {
    // A look for none of any names would be a look that this version does not know.
    let named = |names: &[String], list: Option<u32>| {
        let names = match list {
            Some(index) => &document.lists.get(index as usize)?.names,
            None => names,
        };
        (!names.is_empty()).then(|| names.to_vec())
    };
    let look = if let Some(text) = &test.sni_matches {
        Payload::SniMatches(Arc::new(values::regex(text, true).ok()?))
    } else if !test.detected.is_empty() {
        Payload::Detected(test.detected.iter().map(|name| Detected::from_name(name)).collect::<Option<_>>()?)
    } else if let Some(names) = named(&test.sni_hosts, test.sni_host_list) {
        Payload::SniHost(names)
    } else {
        Payload::SniDomain(named(&test.sni_domains, test.sni_domain_list)?)
    };
    Some(PayloadTest { negated: test.negated, test: look })
}
