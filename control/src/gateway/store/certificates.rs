//! Certificates of the authorities whose client certificates count at enrolment.

use super::{Millis, Store, StoreError};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// An authority's row.
#[derive(Clone, Debug)]
pub(crate) struct CertificateRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// SHA-256 of the certificate, hex.
    pub(crate) fingerprint: String,
    pub(crate) associated_hostnames: Vec<String>,
    pub(crate) expires_at: Millis,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

fn certificate(row: &SqliteRow) -> Result<CertificateRow, StoreError> {
    let hostnames: &str = row.try_get("associated_hostnames")?;
    let unreadable = |_| StoreError::Unreadable { column: "access_certificates.associated_hostnames" };
    Ok(CertificateRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        certificate: row.try_get("certificate")?,
        fingerprint: row.try_get("fingerprint")?,
        associated_hostnames: serde_json::from_str(hostnames).map_err(unreadable)?,
        expires_at: row.try_get("expires_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All of them, oldest first.
    pub(crate) async fn certificates(&self) -> Result<Vec<CertificateRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM access_certificates ORDER BY created_at, id");
        rows.fetch_all(&self.pool).await?.iter().map(certificate).collect()
    }

    /// Writes one, new or changed; [`StoreError::Taken`] when the same certificate is there under another id.
    pub(crate) async fn put_certificate(&self, row: &CertificateRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO access_certificates (id, name, certificate, fingerprint, associated_hostnames, expires_at, \
             created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             name = excluded.name, associated_hostnames = excluded.associated_hostnames, \
             updated_at = excluded.updated_at",
        )
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.certificate)
        .bind(&row.fingerprint)
        .bind(serde_json::to_string(&row.associated_hostnames).unwrap_or_default())
        .bind(row.expires_at)
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes one; false when there is none.
    pub(crate) async fn delete_certificate(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM access_certificates WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }
}
