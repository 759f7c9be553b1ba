//! API tokens. As of service tokens, of their secrets only the SHA-256 is kept.

use super::{Millis, Store, StoreError};
use sqlx::{Row as _, sqlite::SqliteRow};

/// An API token's row.
#[derive(Clone, Debug)]
pub(crate) struct ApiTokenRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The vendor's JSON.
    pub(crate) policies: String,
    /// The vendor's JSON.
    pub(crate) condition: String,
    pub(crate) enabled: bool,
    pub(crate) not_before: Option<Millis>,
    pub(crate) expires_at: Option<Millis>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_seen_at: Option<Millis>,
}

fn token(row: &SqliteRow) -> Result<ApiTokenRow, StoreError> {
    Ok(ApiTokenRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        policies: row.try_get("policies")?,
        condition: row.try_get("condition")?,
        enabled: row.try_get("enabled")?,
        not_before: row.try_get("not_before")?,
        expires_at: row.try_get("expires_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
    })
}

impl Store {
    /// All API tokens, oldest first.
    pub(crate) async fn api_tokens(&self) -> Result<Vec<ApiTokenRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM api_tokens ORDER BY created_at, id").fetch_all(&self.pool).await?;
        rows.iter().map(token).collect()
    }

    /// One by its id.
    pub(crate) async fn api_token(&self, id: &str) -> Result<Option<ApiTokenRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM api_tokens WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(token).transpose()
    }

    /// One by the hash of its secret.
    pub(crate) async fn api_token_by_secret(&self, hash: &[u8; 32]) -> Result<Option<ApiTokenRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM api_tokens WHERE secret_hash = ?")
            .bind(hash.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// Writes a token: a new one with its secret's hash, a known one with another, or as it is but for the secret.
    pub(crate) async fn put_api_token(&self, token: &ApiTokenRow, hash: Option<&[u8; 32]>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_tokens (id, name, secret_hash, policies, condition, enabled, not_before, expires_at, \
             created_at, updated_at) VALUES (?1, ?2, COALESCE(?3, (SELECT secret_hash FROM api_tokens WHERE id = ?1)), \
             ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             secret_hash = excluded.secret_hash, policies = excluded.policies, condition = excluded.condition, \
             enabled = excluded.enabled, not_before = excluded.not_before, expires_at = excluded.expires_at, \
             updated_at = excluded.updated_at",
        )
        .bind(&token.id)
        .bind(&token.name)
        .bind(hash.map(|hash| hash.to_vec()))
        .bind(&token.policies)
        .bind(&token.condition)
        .bind(token.enabled)
        .bind(token.not_before)
        .bind(token.expires_at)
        .bind(token.created_at)
        .bind(token.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a token; false when there is none.
    pub(crate) async fn delete_api_token(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM api_tokens WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that a token was used.
    pub(crate) async fn api_token_seen(&self, id: &str, now: Millis) -> Result<(), StoreError> {
        sqlx::query("UPDATE api_tokens SET last_seen_at = ? WHERE id = ?")
            .bind(now)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
