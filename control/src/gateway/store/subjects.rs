//! What expressions are judged for: a registration's person, its device, and the device's posture.

use super::registrations::person;
use super::{Millis, Store, StoreError};
use crate::rules::Subject;
use sqlx::Row as _;
use uuid::Uuid;

impl Store {
    /// The subject of a registration as things are at `now`; `None` when there is no such registration.
    pub(crate) async fn subject(&self, registration: &Uuid, now: Millis) -> Result<Option<Subject>, StoreError> {
        let row = sqlx::query(
            "SELECT registrations.*, devices.os, devices.os_version FROM registrations \
             JOIN devices ON devices.id = registrations.device_id WHERE registrations.id = ?",
        )
        .bind(registration.to_string())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut subject = Subject {
            person: person(&row)?,
            service_token: row.try_get("token_id")?,
            os_name: row.try_get("os")?,
            os_version: row.try_get("os_version")?,
            ..Subject::default()
        };
        let results = sqlx::query(
            "SELECT rule_id, passed FROM posture_results WHERE device_id = ? AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(row.try_get::<&str, _>("device_id")?)
        .bind(now)
        .fetch_all(&self.pool)
        .await?;
        for result in results {
            let passed: bool = result.try_get("passed")?;
            let rules = if passed { &mut subject.posture_passed } else { &mut subject.posture_failed };
            rules.insert(result.try_get("rule_id")?);
        }
        Ok(Some(subject))
    }
}
