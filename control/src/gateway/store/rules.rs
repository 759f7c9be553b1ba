//! Network rules as the administrator wrote them.

use super::organisation::raise_policy_version;
use super::{Millis, Store, StoreError};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// A rule's row.
#[derive(Clone, Debug)]
pub(crate) struct RuleRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    /// `allow`, `block` or `l4_override`.
    pub(crate) action: String,
    pub(crate) precedence: i64,
    pub(crate) traffic: String,
    pub(crate) identity: String,
    pub(crate) device_posture: String,
    /// JSON object.
    pub(crate) settings: String,
    pub(crate) version: i64,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

fn rule(row: &SqliteRow) -> Result<RuleRow, StoreError> {
    Ok(RuleRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        enabled: row.try_get("enabled")?,
        action: row.try_get("action")?,
        precedence: row.try_get("precedence")?,
        traffic: row.try_get("traffic")?,
        identity: row.try_get("identity")?,
        device_posture: row.try_get("device_posture")?,
        settings: row.try_get("settings")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All rules, in the order in which they are asked.
    pub(crate) async fn rules(&self) -> Result<Vec<RuleRow>, StoreError> {
        self.rules_since(-1).await
    }

    /// Rules that changed after a policy version, in the order in which they are asked.
    pub(crate) async fn rules_since(&self, version: i64) -> Result<Vec<RuleRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM gateway_rules WHERE changed_in > ? ORDER BY precedence, created_at, id")
            .bind(version)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(rule).collect()
    }

    /// One rule.
    pub(crate) async fn rule(&self, id: &str) -> Result<Option<RuleRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM gateway_rules WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(rule).transpose()
    }

    /// The highest precedence that a rule has.
    pub(crate) async fn last_precedence(&self) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar("SELECT max(precedence) FROM gateway_rules").fetch_one(&self.pool).await?)
    }

    /// Writes a rule, new or changed, and raises the policy version.
    pub(crate) async fn put_rule(&self, rule: &RuleRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let changed_in = raise_policy_version(&mut write).await?;
        forget_removal(&mut write, &rule.id).await?;
        sqlx::query(
            "INSERT INTO gateway_rules (id, name, description, enabled, action, precedence, traffic, identity, \
             device_posture, settings, version, created_at, updated_at, changed_in) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             name = excluded.name, description = excluded.description, enabled = excluded.enabled, \
             action = excluded.action, precedence = excluded.precedence, traffic = excluded.traffic, \
             identity = excluded.identity, device_posture = excluded.device_posture, settings = excluded.settings, \
             version = excluded.version, updated_at = excluded.updated_at, changed_in = excluded.changed_in",
        )
        .bind(&rule.id)
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(rule.enabled)
        .bind(&rule.action)
        .bind(rule.precedence)
        .bind(&rule.traffic)
        .bind(&rule.identity)
        .bind(&rule.device_posture)
        .bind(&rule.settings)
        .bind(rule.version)
        .bind(rule.created_at)
        .bind(rule.updated_at)
        .bind(changed_in)
        .execute(&mut *write)
        .await?;
        Ok(write.commit().await?)
    }

    /// Deletes a rule and raises the policy version; false when there is none.
    pub(crate) async fn delete_rule(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM gateway_rules WHERE id = ?").bind(id).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let changed_in = raise_policy_version(&mut write).await?;
        note_removed(&mut write, id, changed_in).await?;
        write.commit().await?;
        Ok(true)
    }

    /// The ids of rules and lists that were deleted after a policy version.
    pub(crate) async fn removed_since(&self, version: i64) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar("SELECT id FROM gateway_removed WHERE changed_in > ?");
        Ok(ids.bind(version).fetch_all(&self.pool).await?)
    }

    /// Forgets which rules and lists were deleted: nobody has read an older version.
    pub(crate) async fn forget_removed(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM gateway_removed").execute(&self.pool).await?;
        Ok(())
    }
}

/// Part of a deletion, in its transaction: those who hold an earlier version find out.
pub(super) async fn note_removed(
    write: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    id: &str,
    changed_in: i64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO gateway_removed (id, changed_in) VALUES (?, ?)")
        .bind(id)
        .bind(changed_in)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Part of a write, in its transaction: what was deleted and is written again is there.
pub(super) async fn forget_removal(
    write: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM gateway_removed WHERE id = ?").bind(id).execute(&mut **write).await?;
    Ok(())
}
