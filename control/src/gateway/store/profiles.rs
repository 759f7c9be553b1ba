//! Device profiles, and what holds for all devices.

use super::{Millis, Store, StoreError};
use crate::api::profile::{OrganizationSettings, ProfileSettings};
use sqlx::{Row as _, sqlite::SqliteRow};

/// A profile's row.
#[derive(Clone, Debug)]
pub(crate) struct ProfileRow {
    pub(crate) id: String,
    /// Asked last, and for every device that no other matches.
    pub(crate) is_default: bool,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Which devices it is for, as an expression.
    pub(crate) matching: String,
    pub(crate) precedence: i64,
    pub(crate) enabled: bool,
    pub(crate) settings: ProfileSettings,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

fn profile(row: &SqliteRow) -> Result<ProfileRow, StoreError> {
    let settings = serde_json::from_str(row.try_get("settings")?);
    Ok(ProfileRow {
        id: row.try_get("id")?,
        is_default: row.try_get("is_default")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        matching: row.try_get("match")?,
        precedence: row.try_get("precedence")?,
        enabled: row.try_get("enabled")?,
        settings: settings.map_err(|_| StoreError::Unreadable { column: "device_profiles.settings" })?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All profiles in the order in which they are asked; the default is the last.
    pub(crate) async fn profiles(&self) -> Result<Vec<ProfileRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM device_profiles ORDER BY is_default, precedence").fetch_all(&self.pool);
        rows.await?.iter().map(profile).collect()
    }

    /// Writes a profile, new or changed.
    pub(crate) async fn put_profile(&self, row: &ProfileRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO device_profiles (id, is_default, name, description, match, precedence, enabled, settings, \
             created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             name = excluded.name, description = excluded.description, match = excluded.match, \
             precedence = excluded.precedence, enabled = excluded.enabled, settings = excluded.settings, \
             updated_at = excluded.updated_at",
        )
        .bind(&row.id)
        .bind(row.is_default)
        .bind(&row.name)
        .bind(&row.description)
        .bind(&row.matching)
        .bind(row.precedence)
        .bind(row.enabled)
        .bind(serde_json::to_string(&row.settings).unwrap_or_default())
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&mut *write)
        .await?;
        Ok(write.commit().await?)
    }

    /// Deletes a profile; the default stays. False when there is none.
    pub(crate) async fn delete_profile(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM device_profiles WHERE id = ? AND is_default = 0")
            .bind(id)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// What holds for all devices.
    pub(crate) async fn device_settings(&self) -> Result<OrganizationSettings, StoreError> {
        let stored: String =
            sqlx::query_scalar("SELECT device_settings FROM organisation").fetch_one(&self.pool).await?;
        serde_json::from_str(&stored).map_err(|_| StoreError::Unreadable { column: "organisation.device_settings" })
    }

    /// Sets what holds for all devices.
    pub(crate) async fn set_device_settings(&self, settings: &OrganizationSettings) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE organisation SET device_settings = ?")
            .bind(serde_json::to_string(settings).unwrap_or_default())
            .execute(&mut *write)
            .await?;
        Ok(write.commit().await?)
    }
}
