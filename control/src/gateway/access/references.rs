//! What rules refer to by id: groups and lists; and who refers to what, so that nothing is deleted from under a rule.

use super::judge::RuleSet;
use super::selector::Selector;
use crate::gateway::store::{GroupRow, Store, StoreError};
use std::collections::{HashMap, HashSet};

/// Groups and lists, by id.
#[derive(Debug, Default)]
pub(in super::super) struct References {
    groups: HashMap<String, RuleSet>,
    lists: HashMap<String, Vec<String>>,
}

impl References {
    /// Reads them.
    pub(in super::super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let groups = store.groups().await?;
        let groups = groups.iter().filter_map(|row| Some((row.id.clone(), rules(row)?))).collect();
        let lists = store.lists().await?.into_iter();
        let lists = lists.map(|row| (row.id, row.items.into_iter().map(|item| item.value).collect())).collect();
        Ok(Self { groups, lists })
    }

    /// The rules of a group.
    pub(super) fn group(&self, id: &str) -> Option<&RuleSet> {
        self.groups.get(id)
    }

    /// The items of a list.
    pub(in super::super) fn list(&self, id: &str) -> Option<&[String]> {
        self.lists.get(id).map(Vec::as_slice)
    }

    /// Whether there is such a group.
    pub(in super::super) fn has_group(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    #[cfg(test)]
    pub(super) fn of(groups: &[(&str, RuleSet)], lists: &[(&str, &[&str])]) -> Self {
        let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            groups: groups.iter().map(|(id, rules)| ((*id).to_owned(), rules.clone())).collect(),
            lists: lists.iter().map(|(id, items)| ((*id).to_owned(), owned(items))).collect(),
        }
    }
}

fn rules(row: &GroupRow) -> Option<RuleSet> {
    RuleSet::read(&row.include, &row.require, &row.exclude)
}

/// Whether a group of this id with these rules would lead back to itself.
pub(in super::super) fn cycle(id: &str, rules: &RuleSet, references: &References) -> bool {
    let (mut open, mut seen) = (vec![rules], HashSet::new());
    while let Some(rules) = open.pop() {
        for selector in rules.selectors() {
            let Selector::Group { id: inner } = selector else { continue };
            if inner == id {
                return true;
            }
            if seen.insert(inner.as_str()) {
                open.extend(references.group(inner));
            }
        }
    }
    false
}

/// Something that a rule may name.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Reference<'a> {
    Token(&'a str),
    List(&'a str),
    Group(&'a str),
    Provider(&'a str),
}

impl Reference<'_> {
    fn in_rule(self, selector: &Selector) -> bool {
        match (self, selector) {
            (Self::Token(id), Selector::ServiceToken { token_id }) => id == token_id,
            (Self::List(id), Selector::EmailList { id: named } | Selector::IpList { id: named })
            | (Self::Group(id), Selector::Group { id: named })
            | (Self::Provider(id), Selector::LoginMethod { id: named }) => id == named,
            (Self::Provider(id), Selector::Oidc { identity_provider_id, .. }) => id == identity_provider_id,
            _ => false,
        }
    }
}

/// The enrolment policy or group that names something, in words; `None` when it can go.
pub(in super::super) async fn user_of(store: &Store, what: Reference<'_>) -> Result<Option<String>, StoreError> {
    let names = |rules: Option<RuleSet>| rules.is_some_and(|rules| rules.selectors().any(|rule| what.in_rule(rule)));
    for row in store.policies().await? {
        if names(RuleSet::read(&row.include, &row.require, &row.exclude)) {
            return Ok(Some(format!("the enrolment policy `{}`", row.name)));
        }
    }
    let groups = store.groups().await?;
    let found = groups.iter().find(|row| names(rules(row)));
    Ok(found.map(|row| format!("the access group `{}`", row.name)))
}
