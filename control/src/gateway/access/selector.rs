//! One condition of a policy or group, in the vendor's JSON: an object with one field, named as the selector.

use crate::rules::destination;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The identity provider that stands for local accounts, wherever an id of one is asked for.
pub(in super::super) const LOCAL_ACCOUNTS: &str = "local";

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in super::super) enum Selector {
    /// The user's mail address.
    Email { email: String },
    /// The domain of it.
    EmailDomain { domain: String },
    /// A list of mail addresses.
    EmailList { id: String },
    /// Anybody who has authenticated.
    Everyone {},
    /// Where the call comes from: an address or a prefix.
    Ip { ip: String },
    /// A list of addresses.
    IpList { id: String },
    /// An Access group.
    Group { id: String },
    /// A service token.
    ServiceToken { token_id: String },
    /// Any service token.
    AnyValidServiceToken {},
    /// The identity provider at which the user has logged in.
    LoginMethod { id: String },
    /// A claim of that login.
    Oidc { identity_provider_id: String, claim_name: String, claim_value: String },
    /// Any valid client certificate.
    Certificate {},
    /// A valid client certificate whose subject has this common name.
    CommonName { common_name: String },
}

/// Those that are judged.
pub(super) const JUDGED: [&str; 13] = [
    "email",
    "email_domain",
    "email_list",
    "everyone",
    "ip",
    "ip_list",
    "group",
    "service_token",
    "any_valid_service_token",
    "login_method",
    "oidc",
    "certificate",
    "common_name",
];

/// Those of the vendor that cannot be judged at an enrolment here, and why.
pub(super) const REFUSED: [(&str, &str); 13] = [
    ("device_posture", "posture only runs after enrolment: use it in network rules"),
    ("saml", "there is no login by SAML: use an OpenID Connect provider and `oidc`"),
    ("geo", "the gateway has no database of countries"),
    ("auth_method", "the gateway does not know by which factors a provider authenticates"),
    ("auth_context", "it belongs to another identity provider's own interface: use `oidc`"),
    ("azure_ad", "it belongs to another identity provider's own interface: use `oidc` with the groups claim"),
    ("okta", "it belongs to another identity provider's own interface: use `oidc` with the groups claim"),
    ("gsuite", "it belongs to another identity provider's own interface: use `oidc` with the groups claim"),
    ("github_organization", "it belongs to another identity provider's own interface: use `oidc`"),
    ("external_evaluation", "the gateway asks no other service who may enrol"),
    ("linked_app_token", "there are no applications that issue tokens here"),
    ("user_risk_score", "there are no risk scores here"),
    ("cloudflare_account_member", "there are no such accounts here"),
];

impl Selector {
    /// Reads one; the error says what was expected, without the place.
    pub(in super::super) fn parse(value: &Value) -> Result<Self, String> {
        let fields = value.as_object().filter(|fields| fields.len() == 1);
        let Some((name, content)) = fields.and_then(|fields| fields.iter().next()) else {
            return Err("a rule is an object with one field, its selector, like {\"everyone\": {}}".to_owned());
        };
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            return Err(format!("`{name}` cannot be judged at enrolment: {why}"));
        }
        if !JUDGED.contains(&name.as_str()) {
            return Err(format!("`{name}` is no selector: expected one of {}", JUDGED.join(", ")));
        }
        // The vendor's own SDK writes a selector without content as null or {}.
        let selector: Self = if content.is_null() {
            serde_json::from_value(serde_json::json!({ name: {} }))
        } else {
            serde_json::from_value(value.clone())
        }
        .map_err(|error| format!("`{name}`: {error}"))?;
        selector.check()?;
        Ok(selector)
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Email { email } if !email.contains('@') => {
                Err(format!("`email.email` must be a mail address, got `{email}`"))
            }
            Self::EmailDomain { domain }
                if domain.trim_start_matches('@').is_empty() || domain.trim_start_matches('@').contains('@') =>
            {
                Err(format!("`email_domain.domain` must be a domain like mycompany.example, got `{domain}`"))
            }
            Self::Ip { ip } if destination(ip).is_none() => {
                Err(format!("`ip.ip` must be an address or a prefix like 192.0.2.0/24, got `{ip}`"))
            }
            Self::Oidc { claim_name, .. } if claim_name.is_empty() => {
                Err("`oidc.claim_name` must not be empty".to_owned())
            }
            Self::CommonName { common_name } if common_name.is_empty() => {
                Err("`common_name.common_name` must not be empty".to_owned())
            }
            _ => Ok(()),
        }
    }
}
