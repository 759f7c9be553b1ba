//! Whom expressions are judged for: what is known of a registration's person and of its device.

use super::non_identity_email;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A group that an identity provider, or an administrator, put a user into. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// The provider's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its mail address.
    pub email: String,
}

/// Who a registration is for, as the login said it. Kept with the registration until the next login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    /// The user's mail address, or `non_identity@<team>.cloudflareaccess.com`.
    pub email: String,
    /// The user's name.
    pub name: String,
    /// Their groups.
    pub groups: Vec<Group>,
    /// SAML attributes, or the claims of an OpenID Connect login, by name.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// Everything that an expression may ask about one registration on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The person, or the service token's stand-in for one.
    pub person: Person,
    /// Id of the service token that the registration was made with.
    pub service_token: Option<String>,
    /// The device's system: `windows`, `linux`, `mac`.
    pub os_name: String,
    /// The system's version, three numbers.
    pub os_version: String,
    /// The managed network that the device says it is in.
    pub network: Option<String>,
    /// Ids of the posture rules that the device passes now.
    pub posture_passed: BTreeSet<String>,
    /// Ids of those that it fails.
    pub posture_failed: BTreeSet<String>,
}

impl Person {
    /// Somebody of whom nothing but the mail address is known.
    #[must_use]
    pub fn with_email(email: impl Into<String>) -> Self {
        Self { email: email.into(), ..Self::default() }
    }
}

impl Subject {
    /// A person on a device of which nothing is known.
    #[must_use]
    pub fn of(person: Person) -> Self {
        Self { person, ..Self::default() }
    }

    /// Somebody of whom nothing but the mail address is known.
    #[must_use]
    pub fn with_email(email: impl Into<String>) -> Self {
        Self::of(Person::with_email(email))
    }

    /// The mail address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.person.email
    }

    /// Whether it is the identity that devices enrolled by service token have.
    #[must_use]
    pub fn is_non_identity(&self, organization: &str) -> bool {
        self.person.email.eq_ignore_ascii_case(&non_identity_email(organization))
    }
}
