//! Rules and lists as they were read, and what changed since.

use super::compiled::Compiling;
use crate::gateway::store::{ListRow, Organisation, RuleRow, Store, StoreError};
use crate::rules::{List, Lists, Match, Rule, RuleError, Scope, Subject, Traffic, non_identity_email};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use vestibule_engine::policy::Action;

/// A stored rule with what was read from it.
#[derive(Debug)]
pub(super) struct Entry {
    row: RuleRow,
    pub(super) rule: Rule,
}

impl Entry {
    fn new(row: RuleRow, lists: &Lists) -> Self {
        let rule = parse_rule(&row, lists).unwrap_or_else(|(field, error)| {
            // Rules are checked before they are stored. One that no longer reads must not open anything: everything from
            // its place on is refused, for everybody.
            tracing::error!(rule = %row.id, field, %error, "a stored rule is not readable: it blocks everything");
            Rule {
                name: row.name.as_str().into(),
                action: Action::Block,
                identity: Match::everybody(),
                device_posture: Match::everybody(),
                traffic: Traffic::everything(),
            }
        });
        Self { row, rule }
    }

    /// Rules are asked by precedence; among equals, the older first.
    fn place(&self) -> (i64, i64, &str) {
        (self.row.precedence, self.row.created_at, &self.row.id)
    }
}

/// All rules, in order.
#[derive(Debug, Default)]
pub(super) struct Pages {
    version: i64,
    rules: Vec<Arc<Entry>>,
    lists: Lists,
    /// Each pair of an identity and a posture expression, by the first rule that has it.
    audiences: Vec<Arc<Entry>>,
    /// For each rule, the place of its own.
    audience_of: Vec<u32>,
    non_identity: String,
    default_allow_non_identity: bool,
    default_allow_user: bool,
}

impl Pages {
    /// What they are now, given all that changed after `since`; everything, when there is none.
    pub(super) async fn turned(&self, store: &Store, since: Option<i64>) -> Result<Self, StoreError> {
        // The version comes first: what is changed while we read is read again the next time. Deletions come last, so
        // that nothing is taken up after its end.
        let organisation = store.current_organisation().await?;
        let since = since.unwrap_or(-1);
        let (new_lists, new_rules) = (store.lists_since(since).await?, store.rules_since(since).await?);
        let removed: HashSet<String> = store.removed_since(since).await?.into_iter().collect();
        Ok(self.with(new_lists, new_rules, &removed, &organisation))
    }

    /// What they are with these lists and rules written, and those deleted.
    pub(super) fn with(
        &self,
        new_lists: Vec<ListRow>,
        new_rules: Vec<RuleRow>,
        removed: &HashSet<String>,
        organisation: &Organisation,
    ) -> Self {
        let mut lists = self.lists.clone();
        for row in &new_lists {
            lists.insert(&row.id, read_list(row));
        }
        removed.iter().for_each(|id| lists.remove(id));
        let changed_lists: Vec<&str> = new_lists.iter().map(|row| row.id.as_str()).collect();
        let fresh: HashSet<&str> = new_rules.iter().map(|row| row.id.as_str()).collect();
        let mut rules = Vec::with_capacity(self.rules.len() + new_rules.len());
        for entry in &self.rules {
            let id = entry.row.id.as_str();
            if removed.contains(id) || fresh.contains(id) {
                continue;
            }
            // What a rule made of a list is its own.
            let stale = changed_lists.iter().any(|list| entry.rule.names_list(list));
            rules.push(if stale { Arc::new(Entry::new(entry.row.clone(), &lists)) } else { Arc::clone(entry) });
        }
        let new_rules = new_rules.into_iter().filter(|row| !removed.contains(&row.id));
        rules.extend(new_rules.map(|row| Arc::new(Entry::new(row, &lists))));
        rules.sort_by(|a, b| a.place().cmp(&b.place()));
        let (audiences, audience_of) = audiences(&rules);
        Self {
            version: organisation.policy_version,
            rules,
            lists,
            audiences,
            audience_of,
            non_identity: non_identity_email(&organisation.name),
            default_allow_non_identity: organisation.default_allow_non_identity,
            default_allow_user: organisation.default_allow_user,
        }
    }

    pub(super) fn version(&self) -> i64 {
        self.version
    }

    pub(super) fn lists(&self) -> &Lists {
        &self.lists
    }

    pub(super) fn user_of_list(&self, id: &str) -> Option<&str> {
        self.rules.iter().find(|entry| entry.rule.names_list(id)).map(|entry| entry.row.name.as_str())
    }

    /// What the rules say of a subject.
    pub(super) fn judged(&self, subject: &Subject) -> Compiling {
        let non_identity = subject.email().eq_ignore_ascii_case(&self.non_identity);
        let mut audiences = vec![0; self.audiences.len().div_ceil(64)];
        for (at, audience) in self.audiences.iter().enumerate() {
            audiences[at / 64] |= u64::from(audience.rule.applies(subject, &self.lists)) << (at % 64);
        }
        let default_allow = if non_identity { self.default_allow_non_identity } else { self.default_allow_user };
        Compiling { audiences, default_allow }
    }

    /// The rules for those of whom that is said.
    pub(super) fn heard(&self, of: &Compiling) -> Vec<Arc<Entry>> {
        let heard = |audience: u32| {
            of.audiences.get(audience as usize / 64).is_some_and(|bits| bits >> (audience % 64) & 1 == 1)
        };
        let rules = self.rules.iter().zip(&self.audience_of);
        let heard = rules.filter(|(entry, audience)| entry.row.enabled && heard(**audience));
        heard.map(|(entry, _)| Arc::clone(entry)).collect()
    }
}

fn audiences(rules: &[Arc<Entry>]) -> (Vec<Arc<Entry>>, Vec<u32>) {
    let mut known: HashMap<(&str, &str), u32> = HashMap::new();
    let mut audiences = Vec::new();
    let mut of = Vec::with_capacity(rules.len());
    for entry in rules {
        let next = u32::try_from(audiences.len()).unwrap_or(u32::MAX);
        let place = *known.entry((&entry.row.identity, &entry.row.device_posture)).or_insert(next);
        if place == next {
            audiences.push(Arc::clone(entry));
        }
        of.push(place);
    }
    (audiences, of)
}

/// A stored list, read.
pub(in crate::gateway) fn read_list(row: &ListRow) -> List {
    List::new(row.kind, row.items.iter().map(|item| item.value.as_str()))
}

/// A stored rule, read; or the field that does not read, and why.
pub(in crate::gateway) fn parse_rule(row: &RuleRow, lists: &Lists) -> Result<Rule, (&'static str, RuleError)> {
    let about = |field, text, scope| {
        let read = Match::parse(text, scope).and_then(|read| read.check_lists(lists).map(|()| read));
        read.map_err(|error| (field, error))
    };
    Ok(Rule {
        name: row.name.as_str().into(),
        action: action(row),
        identity: about("identity", &row.identity, Scope::Identity)?,
        device_posture: about("device_posture", &row.device_posture, Scope::DevicePosture)?,
        traffic: Traffic::parse(&row.traffic, lists).map_err(|error| ("traffic", error))?,
    })
}

/// What is stored as the action; what does not read blocks.
fn action(row: &RuleRow) -> Action {
    #[derive(serde::Deserialize)]
    struct Settings {
        l4override: Target,
    }
    #[derive(serde::Deserialize)]
    struct Target {
        ip: IpAddr,
        port: Option<u16>,
    }
    match row.action.as_str() {
        "allow" => Action::Allow,
        "l4_override" => match serde_json::from_str(&row.settings) {
            Ok(Settings { l4override: Target { ip, port } }) => Action::Override { address: ip, port },
            Err(_) => Action::Block,
        },
        _ => Action::Block,
    }
}
