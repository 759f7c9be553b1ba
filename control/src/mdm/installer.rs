//! An `mdm.xml` out of an installer's public properties, by the vendor's names.

use super::{MdmError, Secret, parse};
use zeroize::Zeroizing;

/// What a property's value becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// `true` or `false`, or how installers write them: `1`, `0`.
    Flag,
}

/// Properties of an organisation, with their keys in the file.
const ORGANIZATION: [(&str, &str, Kind); 11] = [
    ("ORGANIZATION", "organization", Kind::Text),
    ("AUTH_CLIENT_ID", "auth_client_id", Kind::Text),
    ("AUTH_CLIENT_SECRET", "auth_client_secret", Kind::Text),
    ("GATEWAY_UNIQUE_ID", "gateway_unique_id", Kind::Text),
    ("ONBOARDING", "onboarding", Kind::Flag),
    ("OVERRIDE_API_ENDPOINT", "override_api_endpoint", Kind::Text),
    ("OVERRIDE_DOH_ENDPOINT", "override_doh_endpoint", Kind::Text),
    ("OVERRIDE_WARP_ENDPOINT", "override_warp_endpoint", Kind::Text),
    ("SERVICE_MODE", "service_mode", Kind::Text),
    ("SUPPORT_URL", "support_url", Kind::Text),
    ("SWITCH_LOCKED", "switch_locked", Kind::Flag),
];

/// Ours: the token connects before login, and users sign in with their own identity.
const PRE_LOGIN: &str = "PRE_LOGIN";
/// Ours: one registration per user of the system.
const MULTI_USER: &str = "MULTI_USER";
/// What a token consists of, and whose it is.
const TOKEN_OF: [&str; 3] = ["ORGANIZATION", "AUTH_CLIENT_ID", "AUTH_CLIENT_SECRET"];

/// Why properties make no file. No message holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// Not a property of the installer.
    #[error("`{name}` is not a property: expected PROPERTY=VALUE with one of {}", names().join(", "))]
    Unknown {
        /// As given.
        name: String,
    },
    /// Given more than once.
    #[error("`{name}` is given twice")]
    Twice {
        /// Which.
        name: String,
    },
    /// Neither yes nor no.
    #[error("`{name}` must be true, false, 1 or 0")]
    Flag {
        /// Which.
        name: &'static str,
    },
    /// A property that needs another.
    #[error("`{name}` requires `{other}`")]
    Requires {
        /// Which.
        name: &'static str,
        /// What is missing.
        other: &'static str,
    },
    /// The file would be refused.
    #[error(transparent)]
    Refused(#[from] MdmError),
}

/// The names of all properties.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ORGANIZATION.iter().map(|(name, ..)| *name).chain([PRE_LOGIN, MULTI_USER]).collect()
}

/// The file that says what the properties say; `None` when all of them are empty, as installers leave those nobody
/// sets. It has been read once with [`parse`], so that a daemon will take it.
///
/// # Errors
/// A property is unknown, given twice, or not understood.
pub fn file(properties: &[(String, Secret)]) -> Result<Option<Zeroizing<String>>, PropertyError> {
    let mut known: Vec<&str> = Vec::new();
    for (name, _) in properties {
        if !names().contains(&name.as_str()) {
            return Err(PropertyError::Unknown { name: name.chars().take(64).collect() });
        }
        if known.contains(&name.as_str()) {
            return Err(PropertyError::Twice { name: name.clone() });
        }
        known.push(name);
    }
    let value = |wanted: &str| {
        let found = properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.expose());
        found.filter(|value| !value.is_empty())
    };
    if names().into_iter().all(|name| value(name).is_none()) {
        return Ok(None);
    }
    let flag = |name: &'static str| match value(name).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(PropertyError::Flag { name }),
    };
    let pre_login = flag(PRE_LOGIN)?.unwrap_or(false);
    let multi_user = flag(MULTI_USER)?;
    for (is, name, needed) in
        [(pre_login, PRE_LOGIN, &TOKEN_OF[..]), (multi_user.is_some(), MULTI_USER, &TOKEN_OF[..1])]
    {
        if let Some(other) = needed.iter().find(|other| is && value(other).is_none()) {
            return Err(PropertyError::Requires { name, other });
        }
    }
    let mut organization = Zeroizing::new(String::new());
    let mut before = Zeroizing::new(String::new());
    for (name, key, kind) in ORGANIZATION {
        let Some(text) = value(name) else { continue };
        let entry = match kind {
            Kind::Text => string(key, text),
            Kind::Flag => boolean(key, flag(name)? == Some(true)),
        };
        if pre_login && TOKEN_OF.contains(&name) {
            before.push_str(&entry);
        }
        if !pre_login || !TOKEN_OF[1..].contains(&name) {
            organization.push_str(&entry);
        }
    }
    let mut text = Zeroizing::new(String::from("<dict>\n"));
    if let Some(is) = multi_user {
        text.push_str(&boolean("multi_user", is));
    }
    if pre_login {
        text.push_str("<key>pre_login</key>\n<dict>\n");
        text.push_str(&before);
        text.push_str("</dict>\n");
    }
    if pre_login || multi_user.is_some() {
        text.push_str("<key>configs</key>\n<array>\n<dict>\n");
        text.push_str(&organization);
        text.push_str(&string("display_name", value("ORGANIZATION").unwrap_or_default()));
        text.push_str("</dict>\n</array>\n");
    } else {
        text.push_str(&organization);
    }
    text.push_str("</dict>\n");
    parse("the file out of the properties", text.as_bytes())?;
    Ok(Some(text))
}

fn boolean(key: &str, is: bool) -> Zeroizing<String> {
    Zeroizing::new(format!("<key>{key}</key>\n<{is}/>\n"))
}

fn string(key: &str, value: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(value.len() * 6 + 64));
    text.push_str("<key>");
    text.push_str(key);
    text.push_str("</key>\n<string>");
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            other => text.push(other),
        }
    }
    text.push_str("</string>\n");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn given(properties: &[(&str, &str)]) -> Result<Option<Zeroizing<String>>, PropertyError> {
        let properties: Vec<_> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        file(&properties)
    }

    const TOKEN: [(&str, &str); 3] =
        [("ORGANIZATION", "mycompany"), ("AUTH_CLIENT_ID", "1a2b.access"), ("AUTH_CLIENT_SECRET", "s&<>3cret")];

    #[test]
    fn the_vendors_properties_make_the_vendors_flat_file() {
        let mut properties = TOKEN.to_vec();
        properties.extend([
            ("SERVICE_MODE", "tunnelonly"),
            ("ONBOARDING", "0"),
            ("SUPPORT_URL", ""),
            ("SWITCH_LOCKED", "TRUE"),
        ]);
        let text = given(&properties).unwrap().unwrap();
        let config = parse("", text.as_bytes()).unwrap();
        let organization = config.organization("mycompany").unwrap();
        assert!(config.pre_login.is_none());
        assert_eq!(organization.token.as_ref().unwrap().client_secret.expose(), "s&<>3cret");
        assert_eq!((organization.onboarding, organization.switch_locked), (Some(false), Some(true)));
        assert_eq!(organization.support_url, None);
    }

    #[test]
    fn a_token_for_before_login_is_nobodys_afterwards() {
        let mut properties = TOKEN.to_vec();
        properties.extend([("PRE_LOGIN", "true"), ("MULTI_USER", "1"), ("SWITCH_LOCKED", "0")]);
        let config = parse("", given(&properties).unwrap().unwrap().as_bytes()).unwrap();
        let pre_login = config.pre_login.as_ref().unwrap();
        assert_eq!((pre_login.organization.as_str(), pre_login.token.client_id.as_str()), ("mycompany", "1a2b.access"));
        assert!(config.multi_user && config.organization("mycompany").unwrap().token.is_none());
        assert_eq!(config.organization("mycompany").unwrap().switch_locked, Some(false));
    }

    #[test]
    fn nothing_set_is_no_file() {
        assert!(given(&[]).unwrap().is_none());
        assert!(given(&[("ORGANIZATION", ""), ("PRE_LOGIN", "")]).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named_without_values() {
        let refused = |properties: &[(&str, &str)]| given(properties).unwrap_err().to_string();
        assert!(refused(&[("ORGANISATION", "x")]).contains("`ORGANISATION` is not a property"));
        assert!(refused(&[("SWITCH_LOCKED", "perhaps")]).contains("`SWITCH_LOCKED` must be"));
        assert!(refused(&[("ORGANIZATION", "a"), ("ORGANIZATION", "a")]).contains("twice"));
        assert!(refused(&[("PRE_LOGIN", "1"), ("ORGANIZATION", "a")]).contains("requires `AUTH_CLIENT_ID`"));
        assert!(refused(&[("MULTI_USER", "1"), ("SERVICE_MODE", "warp")]).contains("requires `ORGANIZATION`"));
        let half = refused(&[("ORGANIZATION", "a"), ("AUTH_CLIENT_SECRET", "hunter2")]);
        assert!(half.contains("auth_client_id") && !half.contains("hunter2"), "{half}");
        let control =
            refused(&[("ORGANIZATION", "a"), ("AUTH_CLIENT_ID", "x"), ("AUTH_CLIENT_SECRET", "hunter\u{1}2")]);
        assert!(!control.contains("hunter"), "{control}");
    }
}
