//! What happened: swaps and changes.

use super::{Millis, Store, StoreError};
use uuid::Uuid;

/// One entry.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) id: i64,
    pub(crate) at: Millis,
    /// `swap`, `enrol`, `revoke`, `unrevoke`, `delete`, ...
    pub(crate) kind: String,
    pub(crate) device_id: Option<String>,
    pub(crate) swap_seq: Option<i64>,
    pub(crate) registration_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) detail: Option<String>,
}

type Row = (i64, i64, String, Option<String>, Option<i64>, Option<String>, Option<String>, Option<String>);

impl Store {
    /// Adds an entry about a change.
    pub(crate) async fn audit(
        &self,
        kind: &'static str,
        registration: Option<(&Uuid, &str, &str)>,
        detail: Option<&str>,
        now: Millis,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit (at, kind, registration_id, device_id, email, detail) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(now)
        .bind(kind)
        .bind(registration.map(|(id, _, _)| id.to_string()))
        .bind(registration.map(|(_, device, _)| device))
        .bind(registration.map(|(_, _, email)| email))
        .bind(detail)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many swaps were committed, ever.
    pub(crate) async fn swap_count(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE kind = 'swap'").fetch_one(&self.pool).await?)
    }

    /// The newest entries after `since`, oldest first.
    pub(crate) async fn audit_since(&self, since: i64, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, kind, device_id, swap_seq, registration_id, email, detail FROM audit WHERE id > ? \
             ORDER BY id LIMIT ?",
        )
        .bind(since)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(id, at, kind, device_id, swap_seq, registration_id, email, detail)| AuditEntry {
                id,
                at,
                kind,
                device_id,
                swap_seq,
                registration_id,
                email,
                detail,
            })
            .collect())
    }
}
