//! Access applications of type `warp` and their policies: who may enrol.

use super::{Millis, Store, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, sqlite::SqliteRow};

/// An application's row.
#[derive(Clone, Debug)]
pub(crate) struct AppRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) settings: AppSettings,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// What an application says of logins. Stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AppSettings {
    /// Identity providers that the login page offers; empty for all.
    pub(crate) allowed_idps: Vec<String>,
    /// Whether the login page is passed over.
    pub(crate) auto_redirect_to_identity: bool,
    pub(crate) app_launcher_visible: bool,
    pub(crate) session_duration: Option<String>,
    /// The header that may carry both halves of a service token, as JSON.
    pub(crate) read_service_tokens_from_header: Option<String>,
}

/// A policy's row; the three rule lists are the vendor's JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) name: String,
    pub(crate) decision: String,
    pub(crate) precedence: i64,
    pub(crate) include: String,
    pub(crate) require: String,
    pub(crate) exclude: String,
    pub(crate) session_duration: Option<String>,
    /// Whether it was made apart from the application.
    pub(crate) reusable: bool,
    /// Whether the application uses it.
    pub(crate) attached: bool,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

fn policy(row: &SqliteRow) -> Result<PolicyRow, StoreError> {
    Ok(PolicyRow {
        id: row.try_get("id")?,
        app_id: row.try_get("app_id")?,
        name: row.try_get("name")?,
        decision: row.try_get("decision")?,
        precedence: row.try_get("precedence")?,
        include: row.try_get("include")?,
        require: row.try_get("require")?,
        exclude: row.try_get("exclude")?,
        session_duration: row.try_get("session_duration")?,
        reusable: row.try_get("reusable")?,
        attached: row.try_get("attached")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn app(row: &SqliteRow) -> Result<AppRow, StoreError> {
    let settings = serde_json::from_str(row.try_get("settings")?);
    Ok(AppRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        settings: settings.map_err(|_| StoreError::Unreadable { column: "apps.settings" })?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All applications.
    pub(crate) async fn apps(&self) -> Result<Vec<AppRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM apps ORDER BY created_at, id").fetch_all(&self.pool).await?;
        rows.iter().map(app).collect()
    }

    /// Writes a changed application. With `policies` it uses exactly those, at these precedences: its own that are not
    /// among them are deleted, reusable ones are let go.
    pub(crate) async fn put_app(&self, app: &AppRow, policies: Option<&[(String, i64)]>) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE apps SET name = ?, settings = ?, updated_at = ? WHERE id = ?")
            .bind(&app.name)
            .bind(serde_json::to_string(&app.settings).unwrap_or_else(|_| "{}".to_owned()))
            .bind(app.updated_at)
            .bind(&app.id)
            .execute(&mut *write)
            .await?;
        if let Some(policies) = policies {
            sqlx::query("UPDATE app_policies SET attached = 0 WHERE app_id = ?")
                .bind(&app.id)
                .execute(&mut *write)
                .await?;
            for (id, precedence) in policies {
                sqlx::query("UPDATE app_policies SET attached = 1, precedence = ? WHERE id = ? AND app_id = ?")
                    .bind(precedence)
                    .bind(id)
                    .bind(&app.id)
                    .execute(&mut *write)
                    .await?;
            }
            sqlx::query("DELETE FROM app_policies WHERE app_id = ? AND attached = 0 AND reusable = 0")
                .bind(&app.id)
                .execute(&mut *write)
                .await?;
        }
        Ok(write.commit().await?)
    }

    /// All policies, by precedence; those that are not attached decide nothing.
    pub(crate) async fn policies(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM app_policies ORDER BY precedence, created_at, id");
        rows.fetch_all(&self.pool).await?.iter().map(policy).collect()
    }

    /// Writes a policy, new or changed.
    pub(crate) async fn put_policy(&self, policy: &PolicyRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO app_policies (id, app_id, name, decision, precedence, include, require, exclude, \
             session_duration, reusable, attached, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             decision = excluded.decision, precedence = excluded.precedence, include = excluded.include, \
             require = excluded.require, exclude = excluded.exclude, session_duration = excluded.session_duration, \
             attached = excluded.attached, updated_at = excluded.updated_at",
        )
        .bind(&policy.id)
        .bind(&policy.app_id)
        .bind(&policy.name)
        .bind(&policy.decision)
        .bind(policy.precedence)
        .bind(&policy.include)
        .bind(&policy.require)
        .bind(&policy.exclude)
        .bind(&policy.session_duration)
        .bind(policy.reusable)
        .bind(policy.attached)
        .bind(policy.created_at)
        .bind(policy.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a policy; false when there is none.
    pub(crate) async fn delete_policy(&self, app_id: &str, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM app_policies WHERE id = ? AND app_id = ?")
            .bind(id)
            .bind(app_id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
