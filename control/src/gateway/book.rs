//! The rule book: the stored rules, each parsed when it changes, compiled once for all who are judged alike.

mod compiled;
mod pages;

pub(super) use compiled::Compiled;
pub(super) use pages::{parse_rule, read_list};

use super::store::{Store, StoreError};
use crate::rules::{Lists, Subject};
use compiled::Compiling;
use pages::Pages;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Kinds of subjects whose compiled rules are kept; beyond it all are compiled anew.
const MAX_COMPILED: usize = 1024;

/// An immutable snapshot of all rules.
#[derive(Debug)]
pub(super) struct Book {
    pages: Arc<Pages>,
    /// By what rules say of a subject. A swap must not compile a thousand rules that have not changed since the last one,
    /// nor a change compile them for five hundred devices that are judged alike.
    compiled: Mutex<HashMap<Compiling, Arc<Compiled>>>,
    /// Those of the book before: a change leaves the rules of most as they were.
    former: Vec<Arc<Compiled>>,
}

impl Book {
    /// Reads all of it from the store.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        store.forget_removed().await?;
        Ok(Self::of(Pages::default().turned(store, None).await?, Vec::new()))
    }

    /// The book as it is now: what changed since this one is read and parsed, the rest is taken over.
    pub(super) async fn turned(&self, store: &Store) -> Result<Self, StoreError> {
        let pages = self.pages.turned(store, Some(self.pages.version())).await?;
        Ok(Self::of(pages, self.all().values().cloned().collect()))
    }

    fn of(pages: Pages, former: Vec<Arc<Compiled>>) -> Self {
        Self { pages: Arc::new(pages), compiled: Mutex::default(), former }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Compiling, Arc<Compiled>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules for a subject, compiled when somebody who is judged alike is first asked for.
    pub(super) fn compiled(&self, subject: &Subject) -> Arc<Compiled> {
        let asked = self.pages.judged(subject);
        let mut all = self.all();
        if let Some(compiled) = all.get(&asked) {
            return Arc::clone(compiled);
        }
        if all.len() >= MAX_COMPILED {
            all.clear();
        }
        let compiled = Arc::new(Compiled::new(&self.pages, &asked, &self.former));
        all.insert(asked, Arc::clone(&compiled));
        compiled
    }

    /// Grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.pages.version().unsigned_abs()
    }

    /// The lists that expressions name.
    pub(super) fn lists(&self) -> &Lists {
        self.pages.lists()
    }

    /// The name of a rule that names a list.
    pub(super) fn user_of_list(&self, id: &str) -> Option<&str> {
        self.pages.user_of_list(id)
    }
}

#[cfg(test)]
mod tests;
