//! Access applications of type `warp` and their policies: who may enrol.

use super::{Millis, Store, StoreError};

/// An application's row.
#[derive(Clone, Debug)]
pub(crate) struct AppRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// A policy's row; the three rule lists are the vendor's JSON.
#[derive(Clone, Debug)]
pub(crate) struct PolicyRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) name: String,
    pub(crate) decision: String,
    pub(crate) precedence: i64,
    pub(crate) include: String,
    pub(crate) require: String,
    pub(crate) exclude: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

type Row = (String, String, String, String, i64, String, String, String, i64, i64);

fn policy(row: Row) -> PolicyRow {
    let (id, app_id, name, decision, precedence, include, require, exclude, created_at, updated_at) = row;
    PolicyRow { id, app_id, name, decision, precedence, include, require, exclude, created_at, updated_at }
}

impl Store {
    /// All applications.
    pub(crate) async fn apps(&self) -> Result<Vec<AppRow>, StoreError> {
        let rows: Vec<(String, String, i64, i64)> =
            sqlx::query_as("SELECT id, name, created_at, updated_at FROM apps ORDER BY created_at, id")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(id, name, created_at, updated_at)| AppRow { id, name, created_at, updated_at })
            .collect())
    }

    /// Writes an application, new or changed.
    pub(crate) async fn put_app(&self, app: &AppRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO apps (id, name, created_at, updated_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, updated_at = excluded.updated_at",
        )
        .bind(&app.id)
        .bind(&app.name)
        .bind(app.created_at)
        .bind(app.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The policies of all applications, by precedence.
    pub(crate) async fn policies(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, app_id, name, decision, precedence, include, require, exclude, created_at, updated_at \
             FROM app_policies ORDER BY precedence, created_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(policy).collect())
    }

    /// Writes a policy, new or changed.
    pub(crate) async fn put_policy(&self, policy: &PolicyRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO app_policies (id, app_id, name, decision, precedence, include, require, exclude, created_at, \
             updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             decision = excluded.decision, precedence = excluded.precedence, include = excluded.include, \
             require = excluded.require, exclude = excluded.exclude, updated_at = excluded.updated_at",
        )
        .bind(&policy.id)
        .bind(&policy.app_id)
        .bind(&policy.name)
        .bind(&policy.decision)
        .bind(policy.precedence)
        .bind(&policy.include)
        .bind(&policy.require)
        .bind(&policy.exclude)
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
