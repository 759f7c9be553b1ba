//! What a login says of its user: claims become the [`Person`] that rules ask about.

use crate::gateway::store::ProviderSettings;
use crate::rules::{Group, Person};
use serde_json::{Map, Value};

/// Groups kept of one login; a token that names more is cut here, and the log says so.
const MOST_GROUPS: usize = 1000;
/// Values kept of one claim.
const MOST_VALUES: usize = 1000;
/// Characters kept of one value.
const LONGEST: usize = 1024;

/// The claims of a login, by name.
pub(super) type Claims = Map<String, Value>;

/// Groups as an administrator or a claim lists them: names, or objects; `None` when it is something else.
pub(in super::super) fn groups(value: &Value) -> Option<Vec<Group>> {
    value.as_array()?.iter().take(MOST_GROUPS).map(group).collect()
}

fn group(value: &Value) -> Option<Group> {
    if let Some(name) = value.as_str() {
        let email = if name.contains('@') { name.to_owned() } else { String::new() };
        return Some(Group { id: name.to_owned(), name: name.to_owned(), email });
    }
    let fields = value.as_object()?;
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| fields.get(*name)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    let (id, name, email) = (text(&["id", "value"]), text(&["name", "display", "displayName"]), text(&["email"]));
    let group = Group { id: if id.is_empty() { name.clone() } else { id }, name, email };
    (group != Group::default()).then_some(group)
}

/// The claim that holds the mail address.
pub(super) fn email_claim(settings: &ProviderSettings) -> &str {
    settings.email_claim_name.as_deref().unwrap_or("email")
}

/// The claim that holds the groups.
pub(super) fn groups_claim(settings: &ProviderSettings) -> &str {
    settings.groups_claim_name.as_deref().unwrap_or("groups")
}

/// Whether everything that is asked of a login is there.
pub(super) fn complete(claims: &Claims, settings: &ProviderSettings) -> bool {
    let asked = [email_claim(settings), groups_claim(settings), "name"];
    asked.into_iter().chain(settings.claims.iter().map(String::as_str)).all(|name| claims.contains_key(name))
}

/// The person of a login; the error says what the provider did not do.
pub(super) fn person(claims: &Claims, settings: &ProviderSettings) -> Result<Person, &'static str> {
    let email_claim = email_claim(settings);
    let email = claims.get(email_claim).and_then(Value::as_str).map(str::trim).filter(|email| email.contains('@'));
    let email = email.ok_or("gave no mail address")?;
    // It speaks of `email` alone.
    let unverified = matches!(claims.get("email_verified"), Some(Value::Bool(false)))
        || claims.get("email_verified").and_then(Value::as_str) == Some("false");
    if email_claim == "email" && unverified {
        return Err("has not verified your mail address");
    }
    let groups = match claims.get(groups_claim(settings)) {
        Some(Value::Array(listed)) => {
            if listed.len() > MOST_GROUPS {
                tracing::warn!(groups = listed.len(), "a login names more groups than are kept");
            }
            listed.iter().take(MOST_GROUPS).filter_map(group).collect()
        }
        // Some providers write one group without a list.
        Some(one @ Value::String(_)) => group(one).into_iter().collect(),
        _ => Vec::new(),
    };
    let attributes =
        settings.claims.iter().filter_map(|name| Some((name.clone(), values(claims.get(name)?)))).collect();
    let name = claims.get("name").and_then(Value::as_str).unwrap_or_default();
    Ok(Person { email: email.to_owned(), name: short(name), groups, attributes })
}

/// The values of a claim, as text.
fn values(claim: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(short(text)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match claim {
        Value::Array(listed) => listed.iter().take(MOST_VALUES).filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn groups_come_as_names_or_as_objects() {
        let listed = groups(&json!(["admins", "ops@mycompany.example", { "id": "7", "name": "Developers" }])).unwrap();
        assert_eq!(
            (listed[0].id.as_str(), listed[0].name.as_str(), listed[0].email.as_str()),
            ("admins", "admins", "")
        );
        assert_eq!(listed[1].email, "ops@mycompany.example");
        assert_eq!((listed[2].id.as_str(), listed[2].name.as_str()), ("7", "Developers"));
        assert!(groups(&json!("admins")).is_none() && groups(&json!([7])).is_none() && groups(&json!([{}])).is_none());
        let one = person(&claims(json!({ "email": "a@b", "groups": "admins" })), &ProviderSettings::default()).unwrap();
        assert_eq!(one.groups.len(), 1);
    }

    #[test]
    fn claims_that_are_asked_for_become_attributes_and_others_do_not() {
        let settings = ProviderSettings {
            claims: vec!["department".to_owned(), "level".to_owned(), "absent".to_owned()],
            groups_claim_name: Some("roles".to_owned()),
            ..ProviderSettings::default()
        };
        let login = json!({
            "email": "a@b", "name": "Ada", "department": ["r", "d"], "level": 7, "secret": "x", "roles": ["one", 2],
        });
        let person = person(&claims(login), &settings).unwrap();
        assert_eq!((person.email.as_str(), person.name.as_str()), ("a@b", "Ada"));
        assert_eq!(person.attributes["department"], ["r", "d"]);
        assert_eq!(person.attributes["level"], ["7"]);
        assert_eq!(person.attributes.len(), 2);
        assert_eq!(person.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["one"]);
    }

    #[test]
    fn the_mail_address_is_the_configured_claim_and_must_not_be_called_unverified() {
        let standard = ProviderSettings::default();
        for unverified in [json!(false), json!("false")] {
            assert!(person(&claims(json!({ "email": "a@b", "email_verified": unverified })), &standard).is_err());
        }
        assert!(person(&claims(json!({ "email": "a@b" })), &standard).is_ok(), "silence is believed");
        assert!(person(&claims(json!({ "upn": "a@b" })), &standard).is_err());
        let upn = ProviderSettings { email_claim_name: Some("upn".to_owned()), ..ProviderSettings::default() };
        assert_eq!(person(&claims(json!({ "email": "x@y", "upn": "a@b" })), &upn).unwrap().email, "a@b");
        assert!(person(&claims(json!({ "upn": "not an address" })), &upn).is_err());
    }
}
