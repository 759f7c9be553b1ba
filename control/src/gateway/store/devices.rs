//! Devices and the inner addresses that they own.

use super::{Millis, Store, StoreError, fixed};
use crate::api::device::DeviceFacts;
use ipnet::Ipv4Net;
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use std::net::Ipv4Addr;

/// Length of an uncompressed P-256 point.
pub(crate) const DEVICE_KEY_LENGTH: usize = 65;

/// A device's row.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Names it to the engine.
    pub(crate) peer: u64,
    /// SHA-256 of its public key, hex.
    pub(crate) id: String,
    pub(crate) public_key: [u8; DEVICE_KEY_LENGTH],
    pub(crate) address: Ipv4Addr,
    pub(crate) facts: DeviceFacts,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_seen_at: Option<Millis>,
}

/// A device that enrols.
#[derive(Clone, Debug)]
pub(crate) struct NewDevice {
    pub(crate) id: String,
    pub(crate) public_key: [u8; DEVICE_KEY_LENGTH],
    pub(crate) facts: DeviceFacts,
}

pub(super) fn device(row: &SqliteRow) -> Result<Device, StoreError> {
    Ok(Device {
        peer: row.try_get::<i64, _>("peer")?.unsigned_abs(),
        id: row.try_get("id")?,
        public_key: fixed(row.try_get("public_key")?, "devices.public_key")?,
        address: address(row.try_get("address")?),
        facts: DeviceFacts {
            name: row.try_get("name")?,
            os: row.try_get("os")?,
            os_version: row.try_get("os_version")?,
            client_version: row.try_get("client_version")?,
        },
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
    })
}

/// Addresses are stored as numbers, so that they sort.
pub(super) fn address(stored: i64) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(stored).unwrap_or_default())
}

impl Store {
    /// All devices, oldest first.
    pub(crate) async fn devices(&self) -> Result<Vec<Device>, StoreError> {
        sqlx::query("SELECT * FROM devices ORDER BY peer").fetch_all(&self.pool).await?.iter().map(device).collect()
    }

    /// One by its id.
    pub(crate) async fn device(&self, id: &str) -> Result<Option<Device>, StoreError> {
        let row = sqlx::query("SELECT * FROM devices WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(device).transpose()
    }
}

/// Adds the device, or brings its facts up to date; a new one gets the next free address of `pool`.
pub(super) async fn upsert(
    write: &mut Transaction<'_, Sqlite>,
    new: &NewDevice,
    pool: Ipv4Net,
    now: Millis,
) -> Result<Device, StoreError> {
    let known = sqlx::query(
        "UPDATE devices SET name = ?, os = ?, os_version = ?, client_version = ?, updated_at = ? WHERE id = ? \
         RETURNING *",
    )
    .bind(&new.facts.name)
    .bind(&new.facts.os)
    .bind(&new.facts.os_version)
    .bind(&new.facts.client_version)
    .bind(now)
    .bind(&new.id)
    .fetch_optional(&mut **write)
    .await?;
    if let Some(row) = known {
        return device(&row);
    }
    let address = free_address(write, pool).await?;
    let row = sqlx::query(
        "INSERT INTO devices (id, public_key, address, name, os, os_version, client_version, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
    )
    .bind(&new.id)
    .bind(new.public_key.as_slice())
    .bind(i64::from(address.to_bits()))
    .bind(&new.facts.name)
    .bind(&new.facts.os)
    .bind(&new.facts.os_version)
    .bind(&new.facts.client_version)
    .bind(now)
    .bind(now)
    .fetch_one(&mut **write)
    .await?;
    device(&row)
}

/// The lowest address of `pool` that no device has; the pool's first host is the gateway's own.
async fn free_address(write: &mut Transaction<'_, Sqlite>, pool: Ipv4Net) -> Result<Ipv4Addr, StoreError> {
    let first = pool.network().to_bits().saturating_add(2);
    let last = pool.broadcast().to_bits().saturating_sub(1);
    // The first gap begins at `first`, or right after a taken address whose successor is free.
    let gap: Option<i64> = sqlx::query_scalar(
        "SELECT MIN(candidate) FROM (SELECT ?1 AS candidate UNION ALL SELECT address + 1 FROM devices WHERE address >= ?1) \
         WHERE candidate NOT IN (SELECT address FROM devices)",
    )
    .bind(i64::from(first))
    .fetch_one(&mut **write)
    .await?;
    match gap {
        Some(gap) if gap <= i64::from(last) => Ok(address(gap)),
        _ => Err(StoreError::NoAddress),
    }
}
