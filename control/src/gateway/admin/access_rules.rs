//! The rule lists of enrolment policies and of access groups: the vendor's JSON, checked before anything is stored.

use super::envelope::ApiError;
use crate::gateway::access::{LOCAL_ACCOUNTS, References, RuleSet, Selector};
use crate::gateway::app::App;
use crate::rules::destination;
use serde_json::Value;

/// Most rules in one list.
const MOST: usize = 1000;

/// Reads the three lists of a body; everything that they name must be there.
pub(super) async fn read(
    app: &App,
    references: &References,
    include: &[Value],
    require: &[Value],
    exclude: &[Value],
) -> Result<RuleSet, ApiError> {
    if include.is_empty() {
        return Err(ApiError::field("`include` must have at least one rule: an empty one matches nobody"));
    }
    let rules = RuleSet {
        include: list("include", include)?,
        require: list("require", require)?,
        exclude: list("exclude", exclude)?,
    };
    for selector in [&rules.include, &rules.require, &rules.exclude].into_iter().flatten() {
        refers(app, references, selector).await?;
    }
    Ok(rules)
}

fn list(field: &str, values: &[Value]) -> Result<Vec<Selector>, ApiError> {
    if values.len() > MOST {
        return Err(ApiError::field(format!("`{field}` must have at most {MOST} rules, got {}", values.len())));
    }
    let parse = |(index, value)| {
        Selector::parse(value).map_err(|error| ApiError::field(format!("`{field}[{index}]`: {error}")))
    };
    values.iter().enumerate().map(parse).collect()
}

async fn refers(app: &App, references: &References, selector: &Selector) -> Result<(), ApiError> {
    let wrong = |field: &str, expected: &str, got: &str| {
        Err(ApiError::field(format!("`{field}` must be {expected}, got `{got}`")))
    };
    match selector {
        Selector::ServiceToken { token_id } if app.store.token(token_id).await?.is_none() => {
            wrong("service_token.token_id", "a service token's id", token_id)
        }
        Selector::Group { id } if !references.has_group(id) => wrong("group.id", "an access group's id", id),
        Selector::EmailList { id } => match references.list(id) {
            Some(items) if items.iter().all(|item| item.contains('@')) => Ok(()),
            _ => wrong("email_list.id", "the id of a list of mail addresses", id),
        },
        Selector::IpList { id } => match references.list(id) {
            Some(items) if items.iter().all(|item| destination(item).is_some()) => Ok(()),
            _ => wrong("ip_list.id", "the id of a list of addresses", id),
        },
        Selector::LoginMethod { id } => provider(app, "login_method.id", id, true).await,
        Selector::Oidc { identity_provider_id: id, .. } => provider(app, "oidc.identity_provider_id", id, false).await,
        _ => Ok(()),
    }
}

/// Whether there is such an identity provider.
pub(super) async fn provider(app: &App, field: &str, id: &str, or_local: bool) -> Result<(), ApiError> {
    if (or_local && id == LOCAL_ACCOUNTS) || app.store.providers().await?.iter().any(|provider| provider.id == id) {
        return Ok(());
    }
    let local = if or_local { ", or `local` for local accounts" } else { "" };
    Err(ApiError::field(format!("`{field}` must be an identity provider's id{local}, got `{id}`")))
}

/// As they are stored.
pub(super) fn text(rules: &[Selector]) -> Result<String, ApiError> {
    serde_json::to_string(rules).map_err(|error| ApiError::field(error.to_string()))
}

/// As they are shown.
pub(super) fn shown(stored: &str) -> Value {
    serde_json::from_str(stored).unwrap_or(Value::Null)
}
