//! Orders to swap, and the handshakes that must not be replayed.

use super::registrations::uuid;
use super::{Device, Millis, Store, StoreError, devices, fixed};
use crate::api::profile::TunnelProtocol;
use sqlx::{Row as _, Sqlite, Transaction};
use uuid::Uuid;

/// Values of `swap_orders.protocol`, whose table knows no others.
const WIREGUARD: &str = "wireguard";
const MASQUE: &str = "masque";

/// A stored order that may be taken up again after a restart.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) device: Device,
    pub(crate) registration: Uuid,
    pub(crate) swap_seq: u64,
    pub(crate) tunnel_key: [u8; 32],
    pub(crate) protocol: TunnelProtocol,
    /// Greatest TAI64N seen from `tunnel_key`; zeros if none.
    pub(crate) last_handshake: [u8; 12],
}

/// An order that a device has followed.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) registration: Uuid,
    pub(crate) swap_seq: u64,
    pub(crate) email: String,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderOutcome {
    /// It is on disk.
    Stored,
    /// The device sent a higher one before.
    Stale {
        /// The highest.
        seen: u64,
    },
    /// The registration was revoked or deleted.
    NotStanding,
}

impl Store {
    /// Stores the device's highest order. `swap_seq` must fit SQLite's signed 64 bits. `followed` is the order that the
    /// device's traffic goes by: if its record is still on its way, it is made in the same step, because no restart
    /// would take that order up again.
    pub(crate) async fn order(
        &self,
        device_id: &str,
        registration: &Uuid,
        swap_seq: i64,
        (tunnel_key, protocol): (&[u8; 32], TunnelProtocol),
        followed: Option<&Followed>,
        now: Millis,
    ) -> Result<OrderOutcome, StoreError> {
        let mut write = self.write().await?;
        let standing: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM registrations WHERE id = ? AND device_id = ? AND revoked_at IS NULL \
             AND deleted_at IS NULL)",
        )
        .bind(registration.to_string())
        .bind(device_id)
        .fetch_one(&mut *write)
        .await?;
        if !standing {
            return Ok(OrderOutcome::NotStanding);
        }
        let seen: Option<i64> = sqlx::query_scalar("SELECT swap_seq FROM swap_orders WHERE device_id = ?")
            .bind(device_id)
            .fetch_optional(&mut *write)
            .await?;
        if let Some(seen) = seen.filter(|seen| *seen >= swap_seq) {
            return Ok(OrderOutcome::Stale { seen: seen.unsigned_abs() });
        }
        if let Some(followed) = followed {
            record(&mut write, device_id, followed, now).await?;
        }
        sqlx::query(
            "INSERT INTO swap_orders (device_id, swap_seq, registration_id, tunnel_key, protocol, ordered_at) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE SET swap_seq = excluded.swap_seq, \
             registration_id = excluded.registration_id, tunnel_key = excluded.tunnel_key, protocol = excluded.protocol, \
             ordered_at = excluded.ordered_at, committed_at = NULL",
        )
        .bind(device_id)
        .bind(swap_seq)
        .bind(registration.to_string())
        .bind(tunnel_key.as_slice())
        .bind(match protocol {
            TunnelProtocol::Wireguard => WIREGUARD,
            TunnelProtocol::Masque => MASQUE,
        })
        .bind(now)
        .execute(&mut *write)
        .await?;
        sqlx::query("UPDATE registrations SET tunnel_key = ? WHERE id = ?")
            .bind(tunnel_key.as_slice())
            .bind(registration.to_string())
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(OrderOutcome::Stored)
    }

    /// The highest orders whose registrations stand.
    pub(crate) async fn standing_orders(&self) -> Result<Vec<Order>, StoreError> {
        let rows = sqlx::query(
            "SELECT devices.*, swap_orders.registration_id, swap_orders.swap_seq, swap_orders.tunnel_key, \
             swap_orders.protocol, handshakes.timestamp FROM swap_orders \
             JOIN registrations ON registrations.id = swap_orders.registration_id \
             JOIN devices ON devices.id = swap_orders.device_id \
             LEFT JOIN handshakes ON handshakes.tunnel_key = swap_orders.tunnel_key \
             WHERE registrations.revoked_at IS NULL AND registrations.deleted_at IS NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        let order = |row: &sqlx::sqlite::SqliteRow| {
            let timestamp: Option<Vec<u8>> = row.try_get("timestamp")?;
            Ok(Order {
                device: devices::device(row)?,
                registration: uuid(row.try_get("registration_id")?)?,
                swap_seq: row.try_get::<i64, _>("swap_seq")?.unsigned_abs(),
                tunnel_key: fixed(row.try_get("tunnel_key")?, "swap_orders.tunnel_key")?,
                protocol: match row.try_get("protocol")? {
                    MASQUE => TunnelProtocol::Masque,
                    _ => TunnelProtocol::Wireguard,
                },
                last_handshake: match timestamp {
                    Some(timestamp) => fixed(&timestamp, "handshakes.timestamp")?,
                    None => [0; 12],
                },
            })
        };
        rows.iter().map(order).collect()
    }

    /// Notes that a device swapped: the audit record and the signs of life, in one step. Once per order.
    pub(crate) async fn committed(&self, device_id: &str, order: &Followed, now: Millis) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        record(&mut write, device_id, order, now).await?;
        Ok(write.commit().await?)
    }

    /// Stores the greatest timestamps of these keys.
    pub(crate) async fn save_handshakes(&self, seen: &[([u8; 32], [u8; 12])], now: Millis) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        for (key, timestamp) in seen {
            sqlx::query(
                "INSERT INTO handshakes (tunnel_key, timestamp, seen_at) VALUES (?, ?, ?) \
                 ON CONFLICT (tunnel_key) DO UPDATE SET timestamp = MAX(timestamp, excluded.timestamp), \
                 seen_at = excluded.seen_at",
            )
            .bind(key.as_slice())
            .bind(timestamp.as_slice())
            .bind(now)
            .execute(&mut *write)
            .await?;
        }
        Ok(write.commit().await?)
    }

    /// Greatest timestamp seen from a key, with the time of it.
    pub(crate) async fn handshake(&self, key: &[u8; 32]) -> Result<Option<([u8; 12], Millis)>, StoreError> {
        let row: Option<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT timestamp, seen_at FROM handshakes WHERE tunnel_key = ?")
                .bind(key.as_slice())
                .fetch_optional(&self.pool)
                .await?;
        row.map(|(timestamp, at)| Ok((fixed(&timestamp, "handshakes.timestamp")?, at))).transpose()
    }

    /// Forgets the timestamps of keys that no order names, that are not in `keep`, and that were not heard from since
    /// `before`. The engine knows none of them any more, so a replay from them finds nobody.
    pub(crate) async fn prune_handshakes(&self, before: Millis, keep: &[[u8; 32]]) -> Result<u64, StoreError> {
        let mut write = self.write().await?;
        let old: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT tunnel_key FROM handshakes WHERE seen_at < ? \
             AND tunnel_key NOT IN (SELECT tunnel_key FROM swap_orders)",
        )
        .bind(before)
        .fetch_all(&mut *write)
        .await?;
        let mut gone = 0;
        for key in old.iter().filter(|old| keep.iter().all(|kept| kept.as_slice() != old.as_slice())) {
            let done =
                sqlx::query("DELETE FROM handshakes WHERE tunnel_key = ?").bind(key).execute(&mut *write).await?;
            gone += done.rows_affected();
        }
        write.commit().await?;
        Ok(gone)
    }
}

async fn record(
    write: &mut Transaction<'_, Sqlite>,
    device_id: &str,
    order: &Followed,
    now: Millis,
) -> Result<(), StoreError> {
    let swap_seq = i64::try_from(order.swap_seq).unwrap_or(i64::MAX);
    let registration = order.registration.to_string();
    let recorded = sqlx::query(
        "INSERT INTO audit (at, kind, device_id, swap_seq, registration_id, email) VALUES (?, 'swap', ?, ?, ?, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind(now)
    .bind(device_id)
    .bind(swap_seq)
    .bind(&registration)
    .bind(&order.email)
    .execute(&mut **write)
    .await?;
    if recorded.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("UPDATE swap_orders SET committed_at = ? WHERE device_id = ? AND swap_seq = ?")
        .bind(now)
        .bind(device_id)
        .bind(swap_seq)
        .execute(&mut **write)
        .await?;
    sqlx::query("UPDATE registrations SET last_seen_at = ? WHERE id = ?")
        .bind(now)
        .bind(&registration)
        .execute(&mut **write)
        .await?;
    sqlx::query("UPDATE devices SET last_seen_at = ? WHERE id = ?")
        .bind(now)
        .bind(device_id)
        .execute(&mut **write)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{NewDevice, NewRegistration};
    use super::*;
    use crate::api::device::DeviceFacts;
    use crate::gateway::testing::Directory;

    #[tokio::test]
    async fn the_greatest_timestamp_stays_and_only_forgotten_keys_are_pruned() {
        let directory = Directory::new("handshakes");
        let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
        let (device, plain) = ([1; 32], [2; 32]);
        store.save_handshakes(&[(device, [7; 12]), (plain, [7; 12])], 100).await.unwrap();
        store.save_handshakes(&[(device, [6; 12])], 101).await.unwrap();
        assert_eq!(store.handshake(&device).await.unwrap(), Some(([7; 12], 101)), "an older one changes nothing");
        assert_eq!(store.prune_handshakes(101, &[plain]).await.unwrap(), 0);
        assert_eq!(store.prune_handshakes(200, &[plain]).await.unwrap(), 1);
        assert_eq!(store.handshake(&device).await.unwrap(), None);
        assert!(store.handshake(&plain).await.unwrap().is_some());
    }

    /// A device with a registration.
    async fn enrolled(store: &Store) -> (String, Uuid) {
        let device = NewDevice { id: "d".to_owned(), public_key: [4; 65], facts: DeviceFacts::default() };
        let id = Uuid::from_u128(1);
        let person = crate::rules::Person::with_email("ada@example.com");
        let new = NewRegistration { id, person, token_id: None, tunnel_key: [1; 32], bearer_hash: [2; 32] };
        let pool = "100.96.0.0/12".parse().unwrap();
        (store.enrol(&device, &new, pool, 1).await.unwrap().0.id, id)
    }

    #[tokio::test]
    async fn the_next_order_records_the_one_before_if_nobody_did_and_nothing_is_recorded_twice() {
        let directory = Directory::new("followed");
        let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
        let (device, registration) = enrolled(&store).await;
        let followed = |swap_seq| Followed { registration, swap_seq, email: "ada@example.com".to_owned() };
        let order = |seq, key, followed: Option<Followed>| {
            let (store, device) = (&store, &device);
            async move {
                store
                    .order(device, &registration, seq, (&[key; 32], TunnelProtocol::Masque), followed.as_ref(), 9)
                    .await
                    .unwrap()
            }
        };
        assert_eq!(order(1, 1, None).await, OrderOutcome::Stored);
        assert_eq!(store.swap_count().await.unwrap(), 0);
        assert_eq!(order(2, 2, Some(followed(1))).await, OrderOutcome::Stored);
        assert_eq!(store.swap_count().await.unwrap(), 1);
        store.committed(&device, &followed(1), 10).await.unwrap();
        store.committed(&device, &followed(2), 11).await.unwrap();
        assert_eq!(order(3, 3, Some(followed(2))).await, OrderOutcome::Stored);
        assert_eq!(store.swap_count().await.unwrap(), 2);
        assert_eq!(order(3, 4, None).await, OrderOutcome::Stale { seen: 3 });
        let standing = store.standing_orders().await.unwrap();
        assert_eq!((standing.len(), standing[0].swap_seq, standing[0].tunnel_key), (1, 3, [3; 32]));
        assert_eq!(standing[0].protocol, TunnelProtocol::Masque);
        store.revoke_registration(&registration, Some(12), 12).await.unwrap();
        assert!(store.standing_orders().await.unwrap().is_empty(), "what was revoked is not taken up again");
        assert_eq!(order(4, 5, None).await, OrderOutcome::NotStanding);
    }
}
