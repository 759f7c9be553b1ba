//! Registrations: (device, identity) with a bearer secret.

use super::devices::{Device, NewDevice, upsert};
use super::{Millis, Store, StoreError, fixed};
use crate::api::device::RegistrationStatus;
use crate::rules::Person;
use ipnet::Ipv4Net;
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

/// A registration's row.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) id: Uuid,
    pub(crate) device_id: String,
    pub(crate) email: String,
    /// The service token that it was made with; `None` for a user's.
    pub(crate) token_id: Option<String>,
    pub(crate) tunnel_key: [u8; 32],
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_seen_at: Option<Millis>,
    pub(crate) revoked_at: Option<Millis>,
    pub(crate) deleted_at: Option<Millis>,
}

impl Registration {
    /// Whether it stands.
    pub(crate) fn status(&self) -> RegistrationStatus {
        match (self.deleted_at, self.revoked_at) {
            (Some(_), _) => RegistrationStatus::Deleted,
            (None, Some(_)) => RegistrationStatus::Revoked,
            (None, None) => RegistrationStatus::Active,
        }
    }
}

/// A registration to make.
#[derive(Clone)]
pub(crate) struct NewRegistration {
    pub(crate) id: Uuid,
    pub(crate) person: Person,
    pub(crate) token_id: Option<String>,
    pub(crate) tunnel_key: [u8; 32],
    /// SHA-256 of the bearer secret.
    pub(crate) bearer_hash: [u8; 32],
}

fn registration(row: &SqliteRow) -> Result<Registration, StoreError> {
    Ok(Registration {
        id: uuid(row.try_get("id")?)?,
        device_id: row.try_get("device_id")?,
        email: row.try_get("email")?,
        token_id: row.try_get("token_id")?,
        tunnel_key: fixed(row.try_get("tunnel_key")?, "registrations.tunnel_key")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        revoked_at: row.try_get("revoked_at")?,
        deleted_at: row.try_get("deleted_at")?,
    })
}

/// A stored person: the mail address is the registration's own.
pub(super) fn person(row: &SqliteRow) -> Result<Person, StoreError> {
    let stored: &str = row.try_get("person")?;
    let person: Person =
        serde_json::from_str(stored).map_err(|_| StoreError::Unreadable { column: "registrations.person" })?;
    Ok(Person { email: row.try_get("email")?, ..person })
}

pub(super) fn uuid(text: &str) -> Result<Uuid, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { column: "registrations.id", expected: 36, got: text.len() })
}

impl Store {
    /// Makes a registration with its device, in one step. An earlier one of the same device and identity is deleted;
    /// their ids come back.
    pub(crate) async fn enrol(
        &self,
        device: &NewDevice,
        new: &NewRegistration,
        pool: Ipv4Net,
        now: Millis,
    ) -> Result<(Device, Vec<Uuid>), StoreError> {
        let mut write = self.write().await?;
        let device = upsert(&mut write, device, pool, now).await?;
        let replaced: Vec<String> = sqlx::query_scalar(
            "UPDATE registrations SET deleted_at = ?, updated_at = ? \
             WHERE device_id = ? AND email = ? AND deleted_at IS NULL RETURNING id",
        )
        .bind(now)
        .bind(now)
        .bind(&device.id)
        .bind(&new.person.email)
        .fetch_all(&mut *write)
        .await?;
        sqlx::query(
            "INSERT INTO registrations (id, device_id, email, token_id, tunnel_key, bearer_hash, person, created_at, \
             updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.to_string())
        .bind(&device.id)
        .bind(&new.person.email)
        .bind(&new.token_id)
        .bind(new.tunnel_key.as_slice())
        .bind(new.bearer_hash.as_slice())
        .bind(serde_json::to_string(&new.person).unwrap_or_default())
        .bind(now)
        .bind(now)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok((device, replaced.iter().map(|id| uuid(id)).collect::<Result<_, _>>()?))
    }

    /// All registrations, oldest first, deleted ones only if asked for.
    pub(crate) async fn registrations(&self, deleted: bool) -> Result<Vec<Registration>, StoreError> {
        sqlx::query("SELECT * FROM registrations WHERE ? OR deleted_at IS NULL ORDER BY created_at, id")
            .bind(deleted)
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(registration)
            .collect()
    }

    /// One by its id, deleted ones too.
    pub(crate) async fn registration(&self, id: &Uuid) -> Result<Option<Registration>, StoreError> {
        let row = sqlx::query("SELECT * FROM registrations WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(registration).transpose()
    }

    /// One by the hash of its bearer secret, deleted ones too.
    pub(crate) async fn registration_by_bearer(&self, hash: &[u8; 32]) -> Result<Option<Registration>, StoreError> {
        let row = sqlx::query("SELECT * FROM registrations WHERE bearer_hash = ?")
            .bind(hash.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(registration).transpose()
    }

    /// Deletes a registration (its tombstone stays); false when there is none, or it is deleted already.
    pub(crate) async fn delete_registration(&self, id: &Uuid, now: Millis) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE registrations SET deleted_at = ?, updated_at = ? WHERE id = ? AND deleted_at IS NULL")
                .bind(now)
                .bind(now)
                .bind(id.to_string())
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Revokes (`Some(now)`) or restores (`None`) a registration; false when there is none.
    pub(crate) async fn revoke_registration(
        &self,
        id: &Uuid,
        revoked_at: Option<Millis>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE registrations SET revoked_at = ?, updated_at = ? WHERE id = ? AND deleted_at IS NULL")
                .bind(revoked_at)
                .bind(now)
                .bind(id.to_string())
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets tombstones older than `before` that no order to swap names.
    pub(crate) async fn prune_registrations(&self, before: Millis) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM registrations WHERE deleted_at < ? AND id NOT IN (SELECT registration_id FROM swap_orders)",
        )
        .bind(before)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
