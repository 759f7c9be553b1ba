//! The rule book: the stored rules, parsed once per change, shared by the API and the data plane.

use super::store::{ListRow, Organisation, RuleRow, Store, StoreError};
use crate::api::device::PolicyDocument;
use crate::rules::{
    AddressLists, Identity, Rule, RuleAction, RuleError, Subject, Traffic, document, engine_policy, non_identity_email,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use vestibule_engine::policy::Policy;

/// Identities whose compiled rules are kept; beyond it all are compiled anew.
const MAX_COMPILED: usize = 4096;

/// One identity's rules in every form that is asked for.
#[derive(Debug)]
pub(super) struct Compiled {
    /// As devices get them.
    pub(super) document: PolicyDocument,
    /// The document's JSON, made once for all who ask.
    pub(super) json: String,
    /// The document's name: see [`crate::api::device::SwapResponse::policy_digest`].
    pub(super) digest: String,
    /// As the engine takes them.
    pub(super) policy: Arc<Policy>,
}

impl Compiled {
    fn new(document: PolicyDocument) -> Self {
        // The version is no part of the name: rules that a change left alone are not sent again.
        let rules = serde_json::to_string(&document.rules).unwrap_or_default();
        let content = format!("\"default_allow\":{},\"rules\":{rules}}}", document.default_allow);
        let digest = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes()));
        let json = format!("{{\"version\":{},{content}", document.version);
        Self { policy: Arc::new(engine_policy(&document)), document, json, digest }
    }
}

/// An immutable snapshot of all rules.
#[derive(Debug)]
pub(super) struct Book {
    rules: Vec<Rule>,
    lists: AddressLists,
    non_identity: String,
    default_allow_non_identity: bool,
    default_allow_user: bool,
    version: u64,
    /// By what is known. A swap must not unfold a thousand rules that have not changed since the last one.
    compiled: Mutex<HashMap<Subject, Arc<Compiled>>>,
}

impl Book {
    /// Reads it from the store.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let organisation = store.current_organisation().await?;
        Ok(Self::new(&organisation, &store.rules().await?, &store.lists().await?))
    }

    fn new(organisation: &Organisation, rules: &[RuleRow], lists: &[ListRow]) -> Self {
        let lists = parse_lists(lists);
        let parsed = rules.iter().map(|row| match parse_rule(row, &lists) {
            Ok(rule) => rule,
            Err(error) => {
                // Rules are checked before they are stored. One that no longer reads must not open anything: everything
                // from its place on is refused, for everybody.
                tracing::error!(rule = %row.id, %error, "a stored rule is not readable: it blocks everything");
                Rule {
                    name: row.name.clone(),
                    precedence: row.precedence,
                    enabled: row.enabled,
                    action: RuleAction::Block,
                    traffic: Traffic::everything(),
                    identity: Identity::everybody(),
                }
            }
        });
        Self {
            rules: parsed.collect(),
            lists,
            non_identity: non_identity_email(&organisation.name),
            default_allow_non_identity: organisation.default_allow_non_identity,
            default_allow_user: organisation.default_allow_user,
            version: organisation.policy_version.unsigned_abs(),
            compiled: Mutex::default(),
        }
    }

    /// The rules of one identity, compiled when they are first asked for.
    pub(super) fn compiled(&self, subject: &Subject) -> Arc<Compiled> {
        let mut all = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = all.get(subject) {
            return Arc::clone(compiled);
        }
        if all.len() >= MAX_COMPILED {
            all.clear();
        }
        let compiled = Arc::new(Compiled::new(self.document(subject)));
        all.insert(subject.clone(), Arc::clone(&compiled));
        compiled
    }

    fn document(&self, subject: &Subject) -> PolicyDocument {
        let default_allow = if subject.email().eq_ignore_ascii_case(&self.non_identity) {
            self.default_allow_non_identity
        } else {
            self.default_allow_user
        };
        document(&self.rules, &self.lists, subject.email(), default_allow, self.version).unwrap_or_else(|error| {
            tracing::error!(%error, "the rules do not compile: everything is refused");
            PolicyDocument { version: self.version, default_allow: false, rules: Vec::new() }
        })
    }

    /// Grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

/// A stored rule, parsed.
pub(super) fn parse_rule(row: &RuleRow, lists: &AddressLists) -> Result<Rule, RuleError> {
    Ok(Rule {
        name: row.name.clone(),
        precedence: row.precedence,
        enabled: row.enabled,
        action: if row.action == "allow" { RuleAction::Allow } else { RuleAction::Block },
        traffic: Traffic::parse(&row.traffic, lists)?,
        identity: Identity::parse(&row.identity)?,
    })
}

/// Stored lists, by id. An item that does not read (none is stored) is left out.
pub(super) fn parse_lists(rows: &[ListRow]) -> AddressLists {
    let items = |row: &ListRow| {
        let items: Vec<String> = serde_json::from_str(&row.items).unwrap_or_default();
        items.iter().filter_map(|item| crate::rules::destination(item)).flatten().collect()
    };
    rows.iter().map(|row| (row.id.clone(), items(row))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_json_is_the_document_and_its_name_outlives_a_version() {
        let document = |version, default_allow| PolicyDocument { version, default_allow, rules: Vec::new() };
        let first = Compiled::new(document(1, true));
        assert_eq!(first.json, serde_json::to_string(&first.document).unwrap());
        assert_eq!(first.digest, Compiled::new(document(2, true)).digest);
        assert_ne!(first.digest, Compiled::new(document(1, false)).digest);
    }
}
