//! Service tokens that expire soon: a week ahead the log and the audit log say so, once.

use super::clock;
use super::store::{AuditFilter, Millis, Store, StoreError};

/// How long ahead, as the vendor's alert "Expiring Access Service Token".
const AHEAD: Millis = 7 * 86_400_000;

/// Tells of every enabled token that expires within a week and has not been told of. How many.
pub(super) async fn remind(store: &Store, now: Millis) -> Result<usize, StoreError> {
    let mut told = 0;
    let soon = |expires_at: Millis| expires_at > now && expires_at <= now + AHEAD;
    for token in store.tokens().await?.into_iter().filter(|token| token.enabled && soon(token.expires_at)) {
        let at = clock::rfc3339(token.expires_at);
        let alert = format!("Expiring Access Service Token: `{}` expires at {at}, refresh it", token.name);
        let filter = AuditFilter {
            kind: Some("alert".to_owned()),
            resource_id: Some(token.id.clone()),
            newest_first: true,
            ..AuditFilter::default()
        };
        // A token that was refreshed since expires at another time, and is told of again.
        let last = store.audit_entries(&filter, 0, 1).await?.into_iter().next();
        if last.is_some_and(|entry| entry.detail.is_some_and(|detail| detail.contains(&at))) {
            continue;
        }
        tracing::warn!(
            token = token.id,
            name = token.name,
            expires_at = at,
            "a service token expires soon: refresh it"
        );
        store.alert("service_token", &token.id, &alert, now).await?;
        told += 1;
    }
    Ok(told)
}
