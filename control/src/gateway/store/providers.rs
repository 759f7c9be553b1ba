//! OpenID Connect providers.

use super::{Millis, Store, StoreError};

/// A provider's row. The client secret must be sent to the provider, so it is stored as it is, in a file of mode 0600.
#[derive(Clone)]
pub(crate) struct ProviderRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) created_at: Millis,
}

type Row = (String, String, String, String, String, i64);

fn provider((id, name, issuer, client_id, client_secret, created_at): Row) -> ProviderRow {
    ProviderRow { id, name, issuer, client_id, client_secret, created_at }
}

impl Store {
    /// All providers, oldest first.
    pub(crate) async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, issuer, client_id, client_secret, created_at FROM identity_providers \
             ORDER BY created_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(provider).collect())
    }

    /// Adds a provider.
    pub(crate) async fn add_provider(&self, provider: &ProviderRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO identity_providers (id, name, issuer, client_id, client_secret, created_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&provider.id)
        .bind(&provider.name)
        .bind(&provider.issuer)
        .bind(&provider.client_id)
        .bind(&provider.client_secret)
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
