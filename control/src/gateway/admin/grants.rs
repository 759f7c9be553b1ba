//! An API token's policies and condition: the vendor's JSON, read into what the token may do and from where.

use super::envelope::ApiError;
use super::permission::{Permission, SCOPE};
use crate::gateway::store::ApiTokenRow;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    #[serde(skip_serializing)]
    #[serde(rename = "id")]
    _id: Option<Value>,
    effect: Effect,
    permission_groups: Vec<Group>,
    resources: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    id: String,
    name: Option<String>,
    #[serde(skip_serializing)]
    #[serde(rename = "meta")]
    _meta: Option<Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_ip: Option<RequestIp>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestIp {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    r#in: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_in: Vec<String>,
}

/// Checks policies, names their groups, and gives what they allow.
pub(super) fn check(policies: &mut [Policy], account: &str) -> Result<Vec<Permission>, ApiError> {
    if policies.is_empty() {
        return Err(ApiError::field("`policies` must have at least one policy: a token without can do nothing"));
    }
    for policy in policies.iter_mut() {
        for group in &mut policy.permission_groups {
            let known = Permission::all().find(|known| known.id() == group.id).ok_or_else(|| {
                let id: String = group.id.chars().take(80).collect();
                let message = "must be an id that `tokens/permission_groups` lists";
                ApiError::field(format!("`permission_groups.id` {message}, got `{id}`"))
            })?;
            group.name = Some(known.name());
        }
        let ours = [format!("{SCOPE}.{account}"), format!("{SCOPE}.*")];
        if policy.resources.is_empty()
            || !policy.resources.iter().all(|(name, value)| ours.contains(name) && value == "*")
        {
            let message = format!("`resources` must be {{\"{}\": \"*\"}}: there is no other account here", ours[0]);
            return Err(ApiError::field(message));
        }
    }
    Ok(granted(policies))
}

/// What the policies allow, less what they deny. Denying to read denies to write.
fn granted(policies: &[Policy]) -> Vec<Permission> {
    let groups = |effect: Effect| {
        let of = move |group: &Group| Permission::all().find(|known| known.id() == group.id);
        let policies = policies.iter().filter(move |policy| policy.effect == effect);
        policies.flat_map(move |policy| policy.permission_groups.iter().filter_map(of))
    };
    let denied: Vec<Permission> = groups(Effect::Deny).collect();
    groups(Effect::Allow)
        .filter_map(|mut group| {
            for denied in denied.iter().filter(|denied| denied.area == group.area) {
                if !denied.write {
                    return None;
                }
                group.write = false;
            }
            Some(group)
        })
        .collect()
}

/// What a stored token allows.
pub(super) fn of(token: &ApiTokenRow) -> Vec<Permission> {
    serde_json::from_str::<Vec<Policy>>(&token.policies).map(|policies| granted(&policies)).unwrap_or_default()
}

impl Condition {
    /// Checks its prefixes.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let Some(request) = &self.request_ip else { return Ok(()) };
        for text in request.r#in.iter().chain(&request.not_in) {
            if net(text).is_none() {
                let message = format!("`condition.request_ip` must have addresses or prefixes, got `{text}`");
                return Err(ApiError::field(message));
            }
        }
        Ok(())
    }

    /// Whether a token with this may be used from there.
    pub(super) fn admits(&self, from: IpAddr) -> bool {
        let Some(request) = &self.request_ip else { return true };
        let from = from.to_canonical();
        let has = |texts: &[String]| texts.iter().any(|text| net(text).is_some_and(|net| net.contains(&from)));
        (request.r#in.is_empty() || has(&request.r#in)) && !has(&request.not_in)
    }
}

/// The condition of a stored token; `None` when it does not read, and then nobody passes.
pub(super) fn condition(token: &ApiTokenRow) -> Option<Condition> {
    serde_json::from_str(&token.condition).ok()
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::permission::Area;
    use super::*;
    use serde_json::json;

    fn policy(effect: &str, groups: &[Permission]) -> Policy {
        let groups: Vec<Value> = groups.iter().map(|group| json!({ "id": group.id() })).collect();
        let resources = json!({ "com.cloudflare.api.account.a1": "*" });
        serde_json::from_value(json!({ "effect": effect, "permission_groups": groups, "resources": resources }))
            .unwrap()
    }

    #[test]
    fn what_is_denied_is_not_allowed() {
        let group = |area, write| Permission { area, write };
        let (read, write) = (group(Area::ZeroTrust, false), group(Area::ZeroTrust, true));
        let tokens = group(Area::ServiceTokens, true);
        let allowed = |denied: &[Permission]| {
            check(&mut [policy("allow", &[write, tokens]), policy("deny", denied)], "a1").ok().unwrap()
        };
        assert_eq!(allowed(&[]), [write, tokens]);
        assert_eq!(allowed(&[write]), [read, tokens]);
        assert_eq!(allowed(&[read]), [tokens]);
        assert!(check(&mut [policy("allow", &[read])], "another").is_err());
        assert!(check(&mut [], "a1").is_err());
    }

    #[test]
    fn a_condition_admits_addresses() {
        let condition: Condition =
            serde_json::from_value(json!({ "request_ip": { "in": ["10.0.0.0/8", "::1"], "not_in": ["10.0.0.1"] } }))
                .unwrap();
        assert!(condition.check().is_ok());
        for (from, admitted) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("::1", true), ("10.0.0.1", false)] {
            assert_eq!(condition.admits(from.parse().unwrap()), admitted, "{from}");
        }
        assert!(!condition.admits("192.0.2.1".parse().unwrap()) && Condition::default().admits("::1".parse().unwrap()));
        let wrong: Condition = serde_json::from_value(json!({ "request_ip": { "in": ["here"] } })).unwrap();
        assert!(wrong.check().is_err());
    }
}
