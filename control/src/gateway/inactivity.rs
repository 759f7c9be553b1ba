//! Service tokens that nobody uses: disabled or deleted after a while, if the organisation says so.

use super::access::{Reference, user_of};
use super::store::{Change, Millis, ServiceTokenRules, Store, StoreError, TokenRow};
use serde::{Deserialize, Serialize};

const DAY: Millis = 86_400_000;

/// What becomes of service tokens that nobody uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inactivity {
    enabled: bool,
    #[serde(default = "fewest")]
    inactivity_threshold_days: i64,
    #[serde(default)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Disable,
    Delete,
}

fn fewest() -> i64 {
    30
}

impl Inactivity {
    /// What was said last; off when nothing was.
    pub(super) fn of(rules: &ServiceTokenRules) -> Self {
        let off = Self { inactivity_threshold_days: fewest(), ..Self::default() };
        rules.inactivity.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(off)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let days = self.inactivity_threshold_days;
        if (30..=365).contains(&days) {
            return Ok(());
        }
        Err(format!("`service_token_inactivity.inactivity_threshold_days` must be 30 to 365, got {days}"))
    }

    fn applies(&self, token: &TokenRow, now: Millis) -> bool {
        let used = token.last_seen_at.unwrap_or(token.created_at).max(token.updated_at);
        self.enabled && now - used >= self.inactivity_threshold_days * DAY
    }
}

/// Disables or deletes what nobody used for that long; a token that an enrolment policy names counts as used. How many.
pub(super) async fn sweep(store: &Store, now: Millis) -> Result<usize, StoreError> {
    let inactivity = Inactivity::of(&store.service_token_rules().await?);
    if !inactivity.enabled {
        return Ok(0);
    }
    let mut swept = 0;
    for token in store.tokens().await? {
        let delete = inactivity.action == Action::Delete;
        if !inactivity.applies(&token, now) || !(delete || token.enabled) {
            continue;
        }
        if user_of(store, Reference::Token(&token.id)).await?.is_some() {
            continue;
        }
        let change = Change {
            actor_id: "gateway".to_owned(),
            actor_name: "service_token_inactivity".to_owned(),
            call: if delete { "DELETE inactive service token" } else { "PUT inactive service token" }.to_owned(),
            resource_type: "service_token".to_owned(),
            resource_id: Some(token.id.clone()),
            status: Some(200),
            ..Change::default()
        };
        let entry = store.begin_change(&change, now).await?;
        if delete {
            store.delete_token(&token.id).await?;
        } else {
            store.put_token(&TokenRow { enabled: false, updated_at: now, ..token.clone() }).await?;
        }
        store.end_change(entry, &change).await?;
        tracing::info!(token = token.id, delete, "a service token that nobody uses is disabled or deleted");
        swept += 1;
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::testing::Directory;

    fn token(id: &str, created_at: Millis) -> TokenRow {
        TokenRow {
            id: id.to_owned(),
            name: id.to_owned(),
            client_id: format!("{id}.access"),
            secret_hash: [0; 32],
            secret_version: 1,
            previous_hash: None,
            previous_expires_at: None,
            duration: "8760h".to_owned(),
            expires_at: Millis::MAX,
            enabled: true,
            created_at,
            updated_at: created_at,
            last_seen_at: None,
        }
    }

    #[tokio::test]
    async fn what_nobody_uses_is_disabled_or_deleted_and_what_is_used_is_not() {
        let directory = Directory::new("inactive");
        let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
        store.organisation("mycompany", "account", "app", 0).await.unwrap();
        for (id, created_at) in [("old", 0), ("used", 0), ("new", 40 * DAY)] {
            store.put_token(&token(id, created_at)).await.unwrap();
        }
        store.token_seen("used", 40 * DAY).await.unwrap();
        let ask = async |json: Option<&str>| {
            let rules = ServiceTokenRules { limit: 50, inactivity: json.map(str::to_owned), revoke: false };
            store.set_service_token_rules(&rules).await.unwrap();
            sweep(&store, 45 * DAY).await.unwrap()
        };
        assert_eq!(ask(None).await, 0, "it is off unless asked for");
        let disable = r#"{"enabled":true,"inactivity_threshold_days":30,"action":"disable"}"#;
        assert_eq!(ask(Some(disable)).await, 1);
        assert!(
            !store.token("old").await.unwrap().unwrap().enabled && store.token("used").await.unwrap().unwrap().enabled
        );
        assert_eq!(ask(Some(disable)).await, 0, "once is enough");
        let delete = r#"{"enabled":true,"inactivity_threshold_days":30,"action":"delete"}"#;
        store.put_token(&token("older", 0)).await.unwrap();
        assert_eq!(ask(Some(delete)).await, 1);
        assert!(store.token("older").await.unwrap().is_none() && store.token("new").await.unwrap().is_some());
        let entries = store.audit_entries(&Default::default(), 0, 10).await.unwrap();
        assert!(entries.len() == 2 && entries.iter().all(|entry| entry.actor_id.as_deref() == Some("gateway")));
    }
}
