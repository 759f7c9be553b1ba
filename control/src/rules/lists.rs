//! Lists that expressions name as `$id`.

use super::addresses::Addresses;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use vestibule_engine::policy::AddressSet;

/// The vendor's types of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ListKind {
    /// Addresses, prefixes, ranges.
    Ip,
    /// Domains, for names in and below them.
    Domain,
    /// Mail addresses.
    Email,
    /// Serial numbers of devices.
    Serial,
    /// Addresses of pages.
    Url,
    /// Ids of content categories.
    Category,
    /// Ids of DNS locations.
    Location,
    /// Ids of devices.
    Device,
}

impl ListKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Ip, Self::Domain, Self::Email, Self::Serial, Self::Url, Self::Category, Self::Location, Self::Device];

    /// As the API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "IP",
            Self::Domain => "DOMAIN",
            Self::Email => "EMAIL",
            Self::Serial => "SERIAL",
            Self::Url => "URL",
            Self::Category => "CATEGORY",
            Self::Location => "LOCATION",
            Self::Device => "DEVICE",
        }
    }

    /// What its items must be, when `item` is not one.
    #[must_use]
    pub fn refuses(self, item: &str) -> Option<&'static str> {
        let domain = || {
            let name = item.trim_end_matches('.');
            let label = |label: &str| {
                (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            };
            name.len() <= 253 && name.split('.').all(label)
        };
        match self {
            Self::Ip => Addresses::parse(item).is_none().then_some("an address, a prefix or a range `a..b`"),
            Self::Domain => (!domain()).then_some("a domain (`example.com`)"),
            Self::Email => {
                let mail = item.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
                (!mail).then_some("a mail address")
            }
            Self::Serial | Self::Url | Self::Category | Self::Location | Self::Device => {
                (item.trim().is_empty() || item.len() > 2048).then_some("1 to 2048 bytes of text")
            }
        }
    }
}

/// One list, read.
#[derive(Clone, Debug)]
pub struct List {
    kind: ListKind,
    addresses: Addresses,
    /// In lower case.
    texts: HashSet<String>,
    /// `addresses` as the engine takes them: one set for all rules that name the list.
    set: OnceLock<Arc<AddressSet>>,
    outside: OnceLock<Arc<AddressSet>>,
}

impl List {
    /// From its items; one that is not of the type (none is stored) is left out.
    #[must_use]
    pub fn new<'a>(kind: ListKind, items: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut addresses, mut texts) = (Addresses::default(), HashSet::new());
        for item in items {
            if kind != ListKind::Ip {
                texts.insert(item.trim_end_matches('.').to_lowercase());
            } else if let Some(set) = Addresses::parse(item) {
                addresses.extend(&set);
            }
        }
        Self { kind, addresses: addresses.normalised(), texts, set: OnceLock::new(), outside: OnceLock::new() }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ListKind {
        self.kind
    }

    /// Its addresses; none unless it is of type IP.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.texts.is_empty()
    }

    /// Whether a text, in lower case, is in it.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.texts.contains(text)
    }

    /// Its texts, in lower case and order.
    #[must_use]
    pub fn sorted_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.texts.iter().cloned().collect();
        texts.sort_unstable();
        texts
    }

    /// Its addresses for the engine.
    pub(super) fn set(&self) -> Arc<AddressSet> {
        Arc::clone(self.set.get_or_init(|| Arc::new(AddressSet::new(self.addresses.nets()))))
    }

    /// All other addresses for the engine.
    pub(super) fn outside(&self) -> Arc<AddressSet> {
        Arc::clone(self.outside.get_or_init(|| Arc::new(self.set().complement())))
    }
}

/// All lists, by id in lower case.
#[derive(Clone, Debug, Default)]
pub struct Lists(HashMap<String, Arc<List>>);

impl Lists {
    /// The list of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<List>> {
        self.0.get(id)
    }

    /// Adds one, or replaces it.
    pub fn insert(&mut self, id: &str, list: List) {
        self.0.insert(id.to_ascii_lowercase(), Arc::new(list));
    }

    /// Takes one away.
    pub fn remove(&mut self, id: &str) {
        self.0.remove(&id.to_ascii_lowercase());
    }
}
