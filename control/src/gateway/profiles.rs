//! The profiles, parsed once per change: which one a device gets.

use super::book::read_list;
use super::store::{ListRow, ProfileRow, Store, StoreError};
use crate::api::profile::{OrganizationSettings, ProfileDocument};
use crate::rules::{Lists, Match, RuleError, Scope, Subject};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::Arc;

/// A profile as devices get it.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) document: ProfileDocument,
    /// The document's name: see [`crate::api::device::SwapResponse::profile_digest`].
    pub(super) digest: String,
    /// The document's JSON, made once for all who ask.
    pub(super) json: String,
}

/// Reads the expression of a profile, whose lists must be there.
pub(super) fn parse_match(text: &str, lists: &[ListRow]) -> Result<Match, RuleError> {
    let matching = Match::parse(text, Scope::Profile)?;
    matching.check_lists(&read_lists(lists))?;
    Ok(matching)
}

fn read_lists(rows: &[ListRow]) -> Lists {
    let mut lists = Lists::default();
    for row in rows {
        lists.insert(&row.id, read_list(row));
    }
    lists
}

/// An immutable snapshot of all profiles.
#[derive(Debug)]
pub(super) struct Profiles {
    custom: Vec<(Match, Arc<Profile>)>,
    default: Arc<Profile>,
    lists: Lists,
}

impl Profiles {
    /// Reads them from the store.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let lists = read_lists(&store.lists().await?);
        Ok(Self::new(&store.profiles().await?, &store.device_settings().await?, lists))
    }

    fn new(rows: &[ProfileRow], organization: &OrganizationSettings, lists: Lists) -> Self {
        let profile = |row: &ProfileRow| Arc::new(Profile::new(row, organization.clone()));
        let custom = rows.iter().filter(|row| !row.is_default && row.enabled).filter_map(|row| {
            match Match::parse(&row.matching, Scope::Profile) {
                Ok(matching) => Some((matching, profile(row))),
                Err(error) => {
                    // Expressions are checked before they are stored.
                    tracing::error!(profile = %row.id, %error, "a stored expression is not readable: it matches nobody");
                    None
                }
            }
        });
        let custom = custom.collect();
        // The default is made with the schema and never deleted.
        let default = rows.iter().find(|row| row.is_default).map_or_else(
            || Arc::new(Profile::of(ProfileDocument { default: true, ..ProfileDocument::default() })),
            profile,
        );
        Self { custom, default, lists }
    }

    /// Whether a list's content may decide who gets which.
    pub(super) fn name_lists(&self) -> bool {
        self.custom.iter().any(|(matching, _)| matching.lists().next().is_some())
    }

    /// The name of a profile whose expression names a list.
    pub(super) fn user_of_list(&self, id: &str) -> Option<&str> {
        let id = id.to_ascii_lowercase();
        let mut users = self.custom.iter().filter(|(matching, _)| matching.lists().any(|list| list == id));
        users.next().map(|(_, profile)| profile.document.name.as_str())
    }

    /// The first that matches, else the default.
    pub(super) fn resolve(&self, subject: &Subject) -> Arc<Profile> {
        let found = self.custom.iter().find(|(matching, _)| matching.matches(subject, &self.lists));
        Arc::clone(found.map_or(&self.default, |(_, profile)| profile))
    }
}

impl Profile {
    fn new(row: &ProfileRow, organization: OrganizationSettings) -> Self {
        Self::of(ProfileDocument {
            id: row.id.clone(),
            name: row.name.clone(),
            default: row.is_default,
            settings: row.settings.clone(),
            organization,
        })
    }

    fn of(document: ProfileDocument) -> Self {
        let json = serde_json::to_string(&document).unwrap_or_default();
        let digest = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json.as_bytes()));
        Self { document, digest, json }
    }
}
