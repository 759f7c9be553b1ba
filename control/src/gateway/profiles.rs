//! The profiles, parsed once per change: which one a device gets.

use super::book::parse_lists;
use super::store::{ProfileRow, Store, StoreError};
use crate::api::profile::{OrganizationSettings, ProfileDocument};
use crate::rules::{Identity, Lists, RuleError, Subject};
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

/// Which devices a profile is for.
#[derive(Debug)]
pub(super) struct Matching(Identity);

impl Matching {
    /// Reads the expression of a profile.
    pub(super) fn parse(text: &str, _lists: &Lists) -> Result<Self, RuleError> {
        Identity::parse(text).map(Self)
    }

    fn holds(&self, subject: &Subject, _lists: &Lists) -> bool {
        self.0.matches(subject.email())
    }
}

/// An immutable snapshot of all profiles.
#[derive(Debug)]
pub(super) struct Profiles {
    custom: Vec<(Matching, Arc<Profile>)>,
    default: Arc<Profile>,
    lists: Lists,
}

impl Profiles {
    /// Reads them from the store.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let lists = parse_lists(&store.lists().await?);
        Ok(Self::new(&store.profiles().await?, &store.device_settings().await?, lists))
    }

    fn new(rows: &[ProfileRow], organization: &OrganizationSettings, lists: Lists) -> Self {
        let profile = |row: &ProfileRow| Arc::new(Profile::new(row, organization.clone()));
        let custom = rows.iter().filter(|row| !row.is_default && row.enabled).filter_map(|row| {
            match Matching::parse(&row.matching, &lists) {
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

    /// The first that matches, else the default.
    pub(super) fn resolve(&self, subject: &Subject) -> Arc<Profile> {
        let found = self.custom.iter().find(|(matching, _)| matching.holds(subject, &self.lists));
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
