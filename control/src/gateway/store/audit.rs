//! What happened: swaps, registrations, and every change by an administrator.

use super::{Millis, Store, StoreError};
use serde_json::Value;
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

/// One entry.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) id: i64,
    pub(crate) at: Millis,
    /// `swap`, `enrol`, `revoke`, `unrevoke`, `delete`, `change`, `alert`
    pub(crate) kind: String,
    pub(crate) device_id: Option<String>,
    pub(crate) swap_seq: Option<i64>,
    pub(crate) registration_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) detail: Option<String>,
    /// The API token's id, of a change.
    pub(crate) actor_id: Option<String>,
    pub(crate) actor_name: Option<String>,
    pub(crate) resource_type: Option<String>,
    pub(crate) resource_id: Option<String>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    /// Of the answer.
    pub(crate) status: Option<i64>,
}

/// A change by an administrator. What it was and what it became is JSON without secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) actor_id: String,
    pub(crate) actor_name: String,
    /// Method and path.
    pub(crate) call: String,
    pub(crate) resource_type: String,
    pub(crate) resource_id: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) status: Option<u16>,
}

/// Which entries; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    pub(crate) id: Option<i64>,
    /// Newer than this entry.
    pub(crate) since: i64,
    /// Older than this entry.
    pub(crate) below: Option<i64>,
    pub(crate) kind: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) resource_type: Option<String>,
    pub(crate) resource_id: Option<String>,
    pub(crate) device_id: Option<String>,
    /// Not before.
    pub(crate) from: Option<Millis>,
    /// Before.
    pub(crate) until: Option<Millis>,
    pub(crate) newest_first: bool,
}

fn entry(row: &SqliteRow) -> Result<AuditEntry, StoreError> {
    let json = |column| {
        let text: Option<&str> = row.try_get(column)?;
        text.map(|text| serde_json::from_str(text).map_err(|_| StoreError::Unreadable { column: "audit" })).transpose()
    };
    Ok(AuditEntry {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        kind: row.try_get("kind")?,
        device_id: row.try_get("device_id")?,
        swap_seq: row.try_get("swap_seq")?,
        registration_id: row.try_get("registration_id")?,
        email: row.try_get("email")?,
        detail: row.try_get("detail")?,
        actor_id: row.try_get("actor_id")?,
        actor_name: row.try_get("actor_name")?,
        resource_type: row.try_get("resource_type")?,
        resource_id: row.try_get("resource_id")?,
        before: json("before")?,
        after: json("after")?,
        status: row.try_get("status")?,
    })
}

macro_rules! filtered {
    ($what:literal, $tail:literal) => {
        concat!(
            $what,
            " FROM audit WHERE id > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR ?3 IN (actor_id, actor_name)) \
             AND (?4 IS NULL OR resource_type = ?4) AND (?5 IS NULL OR resource_id = ?5) \
             AND (?6 IS NULL OR device_id = ?6) AND (?7 IS NULL OR at >= ?7) AND (?8 IS NULL OR at < ?8) \
             AND (?9 IS NULL OR id = ?9) AND (?10 IS NULL OR id < ?10)",
            $tail
        )
    };
}

macro_rules! asked {
    ($query:expr, $filter:expr) => {
        $query
            .bind($filter.since)
            .bind(&$filter.kind)
            .bind(&$filter.actor)
            .bind(&$filter.resource_type)
            .bind(&$filter.resource_id)
            .bind(&$filter.device_id)
            .bind($filter.from)
            .bind($filter.until)
            .bind($filter.id)
            .bind($filter.below)
    };
}

impl Store {
    /// Adds an entry about a registration.
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

    /// Adds an entry about something that an administrator should look at.
    pub(crate) async fn alert(&self, resource: &str, id: &str, detail: &str, now: Millis) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO audit (at, kind, resource_type, resource_id, detail) VALUES (?, 'alert', ?, ?, ?)")
            .bind(now)
            .bind(resource)
            .bind(id)
            .bind(detail)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes down that a change is about to be made; the entry's id. On the disk with the change itself, not before.
    pub(crate) async fn begin_change(&self, change: &Change, now: Millis) -> Result<i64, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO audit (at, kind, detail, actor_id, actor_name, resource_type, resource_id, before) \
             VALUES (?, 'change', ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(now)
        .bind(&change.call)
        .bind(&change.actor_id)
        .bind(&change.actor_name)
        .bind(&change.resource_type)
        .bind(&change.resource_id)
        .bind(&change.before)
        .fetch_one(&self.notes)
        .await?;
        Ok(id)
    }

    /// Writes down what came of a change.
    pub(crate) async fn end_change(&self, id: i64, change: &Change) -> Result<(), StoreError> {
        sqlx::query("UPDATE audit SET status = ?, resource_id = ?, after = ? WHERE id = ?")
            .bind(change.status.map(i64::from))
            .bind(&change.resource_id)
            .bind(&change.after)
            .bind(id)
            .execute(&self.notes)
            .await?;
        Ok(())
    }

    /// A change was refused: nothing happened.
    pub(crate) async fn forget_change(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM audit WHERE id = ?").bind(id).execute(&self.notes).await?;
        Ok(())
    }

    /// How many swaps were committed, ever.
    pub(crate) async fn swap_count(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE kind = 'swap'").fetch_one(&self.pool).await?)
    }

    /// How many entries there are.
    pub(crate) async fn audit_count(&self, filter: &AuditFilter) -> Result<i64, StoreError> {
        Ok(asked!(sqlx::query_scalar(filtered!("SELECT COUNT(*)", "")), filter).fetch_one(&self.pool).await?)
    }

    /// A page of entries.
    pub(crate) async fn audit_entries(
        &self,
        filter: &AuditFilter,
        skip: i64,
        most: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        // Two orders by the key itself: neither sorts what it does not give.
        let page = if filter.newest_first {
            asked!(sqlx::query(filtered!("SELECT *", " ORDER BY id DESC LIMIT ?11 OFFSET ?12")), filter)
        } else {
            asked!(sqlx::query(filtered!("SELECT *", " ORDER BY id LIMIT ?11 OFFSET ?12")), filter)
        };
        page.bind(most).bind(skip).fetch_all(&self.pool).await?.iter().map(entry).collect()
    }
}
