//! Network rules as the administrator wrote them.

use super::organisation::raise_policy_version;
use super::{Millis, Store, StoreError};

/// A rule's row.
#[derive(Clone, Debug)]
pub(crate) struct RuleRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    /// `allow` or `block`.
    pub(crate) action: String,
    pub(crate) precedence: i64,
    pub(crate) traffic: String,
    pub(crate) identity: String,
    pub(crate) version: i64,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

type Row = (String, String, String, bool, String, i64, String, String, i64, i64, i64);

fn rule(row: Row) -> RuleRow {
    let (id, name, description, enabled, action, precedence, traffic, identity, version, created_at, updated_at) = row;
    RuleRow { id, name, description, enabled, action, precedence, traffic, identity, version, created_at, updated_at }
}

impl Store {
    /// All rules, in the order in which they are asked.
    pub(crate) async fn rules(&self) -> Result<Vec<RuleRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, description, enabled, action, precedence, traffic, identity, version, created_at, \
             updated_at FROM gateway_rules ORDER BY precedence, created_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(rule).collect())
    }

    /// Writes a rule, new or changed, and raises the policy version.
    pub(crate) async fn put_rule(&self, rule: &RuleRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO gateway_rules (id, name, description, enabled, action, precedence, traffic, identity, version, \
             created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             name = excluded.name, description = excluded.description, enabled = excluded.enabled, \
             action = excluded.action, precedence = excluded.precedence, traffic = excluded.traffic, \
             identity = excluded.identity, version = excluded.version, updated_at = excluded.updated_at",
        )
        .bind(&rule.id)
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(rule.enabled)
        .bind(&rule.action)
        .bind(rule.precedence)
        .bind(&rule.traffic)
        .bind(&rule.identity)
        .bind(rule.version)
        .bind(rule.created_at)
        .bind(rule.updated_at)
        .execute(&mut *write)
        .await?;
        raise_policy_version(&mut write).await?;
        Ok(write.commit().await?)
    }

    /// Deletes a rule and raises the policy version; false when there is none.
    pub(crate) async fn delete_rule(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM gateway_rules WHERE id = ?").bind(id).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        raise_policy_version(&mut write).await?;
        write.commit().await?;
        Ok(true)
    }
}
