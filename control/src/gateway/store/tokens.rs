//! Service tokens. Secrets are stored as SHA-256: they are 256 random bits, so there is nothing to guess.

use super::{Millis, Store, StoreError, fixed};

/// A service token's row.
#[derive(Clone)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) secret_hash: [u8; 32],
    pub(crate) secret_version: i64,
    pub(crate) previous_hash: Option<[u8; 32]>,
    pub(crate) previous_expires_at: Option<Millis>,
    pub(crate) duration: String,
    pub(crate) expires_at: Millis,
    pub(crate) enabled: bool,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_seen_at: Option<Millis>,
}

/// What the organisation says of its service tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceTokenRules {
    /// How many there may be.
    pub(crate) limit: i64,
    /// JSON: what becomes of those that nobody uses.
    pub(crate) inactivity: Option<String>,
    /// Registrations made with one are revoked when it is no longer good.
    pub(crate) revoke: bool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, client_id, secret_hash, secret_version, previous_hash, previous_expires_at, duration, ",
            "expires_at, enabled, created_at, updated_at, last_seen_at FROM service_tokens ",
            $tail
        )
    };
}

fn row(row: &sqlx::sqlite::SqliteRow) -> Result<TokenRow, StoreError> {
    use sqlx::Row as _;
    let previous: Option<Vec<u8>> = row.try_get(5)?;
    Ok(TokenRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        client_id: row.try_get(2)?,
        secret_hash: fixed(row.try_get(3)?, "service_tokens.secret_hash")?,
        secret_version: row.try_get(4)?,
        previous_hash: previous.map(|hash| fixed(&hash, "service_tokens.previous_hash")).transpose()?,
        previous_expires_at: row.try_get(6)?,
        duration: row.try_get(7)?,
        expires_at: row.try_get(8)?,
        enabled: row.try_get(9)?,
        created_at: row.try_get(10)?,
        updated_at: row.try_get(11)?,
        last_seen_at: row.try_get(12)?,
    })
}

impl Store {
    /// All service tokens, oldest first.
    pub(crate) async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        sqlx::query(select!("ORDER BY created_at, id")).fetch_all(&self.pool).await?.iter().map(row).collect()
    }

    /// One by its id.
    pub(crate) async fn token(&self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        let found = sqlx::query(select!("WHERE id = ?")).bind(id).fetch_optional(&self.pool).await?;
        found.as_ref().map(row).transpose()
    }

    /// One by its client id.
    pub(crate) async fn token_by_client_id(&self, client_id: &str) -> Result<Option<TokenRow>, StoreError> {
        let found = sqlx::query(select!("WHERE client_id = ?")).bind(client_id).fetch_optional(&self.pool).await?;
        found.as_ref().map(row).transpose()
    }

    /// Writes a token, new or changed. `last_seen_at` is left as it is.
    pub(crate) async fn put_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO service_tokens (id, name, client_id, secret_hash, secret_version, previous_hash, \
             previous_expires_at, duration, expires_at, enabled, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             secret_hash = excluded.secret_hash, secret_version = excluded.secret_version, \
             previous_hash = excluded.previous_hash, previous_expires_at = excluded.previous_expires_at, \
             duration = excluded.duration, expires_at = excluded.expires_at, enabled = excluded.enabled, \
             updated_at = excluded.updated_at",
        )
        .bind(&token.id)
        .bind(&token.name)
        .bind(&token.client_id)
        .bind(token.secret_hash.as_slice())
        .bind(token.secret_version)
        .bind(token.previous_hash.map(|hash| hash.to_vec()))
        .bind(token.previous_expires_at)
        .bind(&token.duration)
        .bind(token.expires_at)
        .bind(token.enabled)
        .bind(token.created_at)
        .bind(token.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a token; false when there is none.
    pub(crate) async fn delete_token(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM service_tokens WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that a token was used.
    pub(crate) async fn token_seen(&self, id: &str, now: Millis) -> Result<(), StoreError> {
        sqlx::query("UPDATE service_tokens SET last_seen_at = ? WHERE id = ?")
            .bind(now)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What the organisation says of its service tokens.
    pub(crate) async fn service_token_rules(&self) -> Result<ServiceTokenRules, StoreError> {
        let columns = "SELECT service_token_limit, service_token_inactivity, revoke_with_token FROM organisation";
        let (limit, inactivity, revoke) = sqlx::query_as(columns).fetch_one(&self.pool).await?;
        Ok(ServiceTokenRules { limit, inactivity, revoke })
    }

    /// Changes what the organisation says of its service tokens.
    pub(crate) async fn set_service_token_rules(&self, rules: &ServiceTokenRules) -> Result<(), StoreError> {
        let update = "UPDATE organisation SET service_token_limit = ?, service_token_inactivity = ?, \
                      revoke_with_token = ?";
        sqlx::query(update).bind(rules.limit).bind(&rules.inactivity).bind(rules.revoke).execute(&self.pool).await?;
        Ok(())
    }
}
