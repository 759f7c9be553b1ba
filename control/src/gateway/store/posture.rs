//! Posture rules, what devices report, and what came of it.

use super::{Millis, Store, StoreError};
use crate::api::posture::PostureReport;
use serde_json::Value;
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use std::collections::BTreeSet;

/// A posture rule's row.
#[derive(Clone, Debug)]
pub(crate) struct PostureRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// The vendor's `type`.
    pub(crate) kind: String,
    pub(crate) input: Value,
    /// The systems it is for.
    pub(crate) platforms: Vec<String>,
    pub(crate) schedule: String,
    pub(crate) expiration: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// What a rule says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostureOutcome {
    pub(crate) rule_id: String,
    pub(crate) passed: bool,
    /// What was found.
    pub(crate) detail: String,
    pub(crate) expires_at: Option<Millis>,
}

/// A report and its outcomes.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) device_id: String,
    pub(crate) report: PostureReport,
    pub(crate) reported_at: Millis,
    pub(crate) outcomes: Vec<PostureOutcome>,
}

fn rule(row: &SqliteRow) -> Result<PostureRow, StoreError> {
    let unreadable = |column| move |_| StoreError::Unreadable { column };
    Ok(PostureRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        kind: row.try_get("type")?,
        input: serde_json::from_str(row.try_get("input")?).map_err(unreadable("posture_rules.input"))?,
        platforms: serde_json::from_str(row.try_get("match")?).map_err(unreadable("posture_rules.match"))?,
        schedule: row.try_get("schedule")?,
        expiration: row.try_get("expiration")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All posture rules, oldest first.
    pub(crate) async fn posture_rules(&self) -> Result<Vec<PostureRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM posture_rules ORDER BY created_at, id").fetch_all(&self.pool);
        rows.await?.iter().map(rule).collect()
    }

    /// Writes a posture rule, new or changed.
    pub(crate) async fn put_posture_rule(&self, row: &PostureRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO posture_rules (id, name, description, type, input, match, schedule, expiration, created_at, \
             updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             description = excluded.description, type = excluded.type, input = excluded.input, \
             match = excluded.match, schedule = excluded.schedule, expiration = excluded.expiration, \
             updated_at = excluded.updated_at",
        )
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.description)
        .bind(&row.kind)
        .bind(row.input.to_string())
        .bind(serde_json::to_string(&row.platforms).unwrap_or_default())
        .bind(&row.schedule)
        .bind(&row.expiration)
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&mut *write)
        .await?;
        Ok(write.commit().await?)
    }

    /// Deletes a posture rule; false when there is none.
    pub(crate) async fn delete_posture_rule(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM posture_rules WHERE id = ?").bind(id).execute(&mut *write).await?;
        write.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// What every device last reported, and when.
    pub(crate) async fn posture_reports(&self) -> Result<Vec<(String, PostureReport, Millis)>, StoreError> {
        let rows: Vec<(String, String, Millis)> =
            sqlx::query_as("SELECT device_id, report, reported_at FROM posture_reports").fetch_all(&self.pool).await?;
        let read = |(device, report, at): (String, String, Millis)| {
            let report = serde_json::from_str(&report);
            Ok((device, report.map_err(|_| StoreError::Unreadable { column: "posture_reports.report" })?, at))
        };
        rows.into_iter().map(read).collect()
    }

    /// What a device last reported.
    pub(crate) async fn posture_report(&self, device_id: &str) -> Result<Option<PostureReport>, StoreError> {
        let row: Option<String> = sqlx::query_scalar("SELECT report FROM posture_reports WHERE device_id = ?")
            .bind(device_id)
            .fetch_optional(&self.pool)
            .await?;
        let read = |text: String| serde_json::from_str(&text);
        row.map(read).transpose().map_err(|_| StoreError::Unreadable { column: "posture_reports.report" })
    }

    /// Writes reports with their outcomes, all at once; results of other rules go. The devices of which something else
    /// is known now.
    pub(crate) async fn put_posture(&self, all: &[Judged], now: Millis) -> Result<Vec<String>, StoreError> {
        let mut write = self.write().await?;
        let mut changed = Vec::new();
        for judged in all {
            if put(&mut write, judged, now).await? {
                changed.push(judged.device_id.clone());
            }
        }
        write.commit().await?;
        Ok(changed)
    }

    /// Takes back the results that are no longer valid: the devices that had them.
    pub(crate) async fn expire_posture(&self, now: Millis) -> Result<Vec<String>, StoreError> {
        let mut write = self.write().await?;
        let devices: BTreeSet<String> =
            sqlx::query_scalar("DELETE FROM posture_results WHERE expires_at <= ? RETURNING device_id")
                .bind(now)
                .fetch_all(&mut *write)
                .await?
                .into_iter()
                .collect();
        write.commit().await?;
        Ok(devices.into_iter().collect())
    }

    /// Makes all results older.
    #[cfg(test)]
    pub(crate) async fn age_posture(&self, millis: Millis) -> Result<(), StoreError> {
        sqlx::query("UPDATE posture_results SET expires_at = expires_at - ?").bind(millis).execute(&self.pool).await?;
        Ok(())
    }

    /// When the next result is no longer valid.
    pub(crate) async fn next_expiry(&self) -> Result<Option<Millis>, StoreError> {
        Ok(sqlx::query_scalar("SELECT MIN(expires_at) FROM posture_results").fetch_one(&self.pool).await?)
    }
}

async fn put(write: &mut Transaction<'_, Sqlite>, judged: &Judged, now: Millis) -> Result<bool, StoreError> {
    let device = &judged.device_id;
    let before: Vec<(String, bool)> = sqlx::query_as(
        "SELECT rule_id, passed FROM posture_results WHERE device_id = ? AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(device)
    .bind(now)
    .fetch_all(&mut **write)
    .await?;
    sqlx::query(
        "INSERT INTO posture_reports (device_id, report, reported_at) VALUES (?, ?, ?) ON CONFLICT (device_id) \
         DO UPDATE SET report = excluded.report, reported_at = excluded.reported_at",
    )
    .bind(device)
    .bind(serde_json::to_string(&judged.report).unwrap_or_default())
    .bind(judged.reported_at)
    .execute(&mut **write)
    .await?;
    // What it is now is what expressions about the system are judged for.
    let updated = sqlx::query(
        "UPDATE devices SET os = ?1, os_version = ?2, updated_at = ?3 WHERE id = ?4 AND (os <> ?1 OR os_version <> ?2)",
    )
    .bind(&judged.report.os)
    .bind(&judged.report.os_version)
    .bind(now)
    .bind(device)
    .execute(&mut **write)
    .await?;
    sqlx::query("DELETE FROM posture_results WHERE device_id = ?").bind(device).execute(&mut **write).await?;
    let valid = |outcome: &&PostureOutcome| outcome.expires_at.is_none_or(|at| at > now);
    for outcome in judged.outcomes.iter().filter(valid) {
        sqlx::query(
            "INSERT INTO posture_results (device_id, rule_id, passed, detail, checked_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(device)
        .bind(&outcome.rule_id)
        .bind(outcome.passed)
        .bind(&outcome.detail)
        .bind(judged.reported_at)
        .bind(outcome.expires_at)
        .execute(&mut **write)
        .await?;
    }
    let before: BTreeSet<(String, bool)> = before.into_iter().collect();
    let after = judged.outcomes.iter().filter(valid).map(|outcome| (outcome.rule_id.clone(), outcome.passed)).collect();
    Ok(updated.rows_affected() > 0 || before != after)
}
