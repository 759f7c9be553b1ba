//! OpenID Connect providers.

use super::{Millis, Store, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, sqlite::SqliteRow};

/// A provider's row. The client secret must be sent to the provider, so it is stored as it is, in a file of mode 0600.
#[derive(Clone)]
pub(crate) struct ProviderRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Empty when its addresses are given by hand.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) settings: ProviderSettings,
    pub(crate) created_at: Millis,
}

/// What is asked of a provider, and how. Stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProviderSettings {
    /// Beyond `openid`; empty for `email` and `profile`.
    pub(crate) scopes: Vec<String>,
    /// Claims kept as attributes.
    pub(crate) claims: Vec<String>,
    /// Which claim has the mail address: `email`.
    pub(crate) email_claim_name: Option<String>,
    /// Which claim has the groups: `groups`.
    pub(crate) groups_claim_name: Option<String>,
    /// Addresses given by hand; all three or none.
    pub(crate) auth_url: Option<String>,
    pub(crate) token_url: Option<String>,
    pub(crate) certs_url: Option<String>,
}

fn provider(row: &SqliteRow) -> Result<ProviderRow, StoreError> {
    let settings = serde_json::from_str(row.try_get("settings")?);
    Ok(ProviderRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        issuer: row.try_get("issuer")?,
        client_id: row.try_get("client_id")?,
        client_secret: row.try_get("client_secret")?,
        settings: settings.map_err(|_| StoreError::Unreadable { column: "identity_providers.settings" })?,
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    /// All providers, oldest first.
    pub(crate) async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM identity_providers ORDER BY created_at, id");
        rows.fetch_all(&self.pool).await?.iter().map(provider).collect()
    }

    /// Writes a provider, new or changed.
    pub(crate) async fn put_provider(&self, provider: &ProviderRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO identity_providers (id, name, issuer, client_id, client_secret, settings, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             issuer = excluded.issuer, client_id = excluded.client_id, client_secret = excluded.client_secret, \
             settings = excluded.settings",
        )
        .bind(&provider.id)
        .bind(&provider.name)
        .bind(&provider.issuer)
        .bind(&provider.client_id)
        .bind(&provider.client_secret)
        .bind(serde_json::to_string(&provider.settings).unwrap_or_else(|_| "{}".to_owned()))
        .bind(provider.created_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a provider; false when there is none.
    pub(crate) async fn delete_provider(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM identity_providers WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }
}
