//! A network rule's `rule_settings`: what is acted on, what is kept, what is refused by name.

use super::body::says_nothing;
use super::envelope::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// The actions that there are here.
pub(super) const ACTIONS: &[&str] = &["allow", "block", "l4_override"];

/// Kept and shown, for tools that compare what they wrote with what they read.
const KEPT: &[&str] = &["notification_settings", "block_reason"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    ip: IpAddr,
    port: Option<u16>,
}

/// The settings as they are stored: those that say something.
pub(super) fn checked(action: &str, settings: Option<Value>) -> Result<String, ApiError> {
    let settings = match settings {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => return Err(ApiError::field("`rule_settings` must be an object")),
    };
    let target = settings.get("l4override").filter(|target| !says_nothing(target));
    match (action == "l4_override", target) {
        (true, None) => {
            return Err(ApiError::field("`rule_settings.l4override` must say where to: {\"ip\": .., \"port\": ..}"));
        }
        (false, Some(_)) => return Err(ApiError::field("`rule_settings.l4override` is for the action `l4_override`")),
        (true, Some(target)) => {
            let read = Override::deserialize(target);
            let Override { ip, port } =
                read.map_err(|error| ApiError::field(format!("`rule_settings.l4override`: {error}")))?;
            if port == Some(0) || ip.is_unspecified() || ip.is_multicast() {
                let message = "`rule_settings.l4override` must be one host's address, with a port from 1 to 65535";
                return Err(ApiError::field(message));
            }
        }
        (false, None) => {}
    }
    let mut kept = Map::new();
    for (name, value) in settings {
        if says_nothing(&value) {
            continue;
        }
        let session_of_no_effect = name == "check_session" && value.get("enforce").is_none_or(says_nothing);
        if name != "l4override" && !session_of_no_effect && !KEPT.contains(&name.as_str()) {
            let why = match name.as_str() {
                "check_session" => "users are not asked to sign in again yet",
                "audit_ssh" => "it would need SSH to end at the gateway",
                _ => "it is not for network rules here",
            };
            return Err(ApiError::field(format!("`rule_settings.{name}` is refused: {why}; leave it out")));
        }
        kept.insert(name, value);
    }
    Ok(Value::Object(kept).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_acted_on_is_kept_or_refused_by_name() {
        let kept = |action, settings| checked(action, Some(settings)).unwrap();
        assert_eq!(checked("allow", None).unwrap(), "{}");
        // As provisioning tools send them: everything there, nothing said.
        assert_eq!(
            kept(
                "allow",
                json!({ "block_page_enabled": false, "add_headers": {}, "audit_ssh": { "command_logging": false } })
            ),
            "{}"
        );
        let session = json!({ "check_session": { "enforce": false, "duration": "24h" } });
        assert_eq!(kept("allow", session.clone()), session.to_string());
        let to = json!({ "l4override": { "ip": "10.0.0.9", "port": 8443 } });
        assert_eq!(kept("l4_override", to.clone()), to.to_string());
        for (action, settings, named) in [
            (
                "allow",
                json!({ "check_session": { "enforce": true, "duration": "24h" } }),
                "`rule_settings.check_session`",
            ),
            ("allow", json!({ "audit_ssh": { "command_logging": true } }), "`rule_settings.audit_ssh`"),
            ("block", json!({ "block_page_enabled": true }), "`rule_settings.block_page_enabled`"),
            ("allow", to, "`rule_settings.l4override` is for"),
            ("l4_override", json!({}), "`rule_settings.l4override` must say"),
            ("l4_override", json!({ "l4override": { "ip": "dc.example" } }), "`rule_settings.l4override`"),
            ("l4_override", json!({ "l4override": { "ip": "10.0.0.1", "port": 70000 } }), "`rule_settings.l4override`"),
            ("l4_override", json!({ "l4override": { "ip": "10.0.0.1", "port": 0 } }), "from 1 to 65535"),
            ("allow", json!([1]), "must be an object"),
        ] {
            let error = format!("{:?}", checked(action, Some(settings)).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
