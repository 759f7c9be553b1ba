//! The gateway's memory: one SQLite file. What was answered with success is on disk, whatever happens next.
//!
//! WAL with `synchronous = FULL`: a commit has reached the disk when it returns. Writers begin with `BEGIN IMMEDIATE`,
//! so none finds out halfway that another was faster. The audit log's notes on changes are written with
//! `synchronous = NORMAL`: they reach the disk with the next commit of the others, at the latest with that of the change
//! that they are about, since the log is flushed from its beginning.

mod api_tokens;
mod audit;
mod certificates;
mod devices;
mod error;
mod groups;
mod lists;
mod migrate;
mod organisation;
mod policies;
mod posture;
mod profiles;
mod providers;
mod registrations;
mod rules;
mod subjects;
mod swaps;
mod tokens;
mod users;

pub(crate) use api_tokens::ApiTokenRow;
pub(crate) use audit::{AuditEntry, AuditFilter, Change};
pub(crate) use certificates::CertificateRow;
pub(crate) use devices::{Device, NewDevice};
pub(crate) use error::StoreError;
pub(crate) use groups::GroupRow;
pub(crate) use lists::{ListItem, ListRow};
pub(crate) use organisation::Organisation;
pub(crate) use policies::{AppRow, AppSettings, PolicyRow};
pub(crate) use posture::{Judged, PostureOutcome, PostureRow};
pub(crate) use profiles::ProfileRow;
pub(crate) use providers::{ProviderRow, ProviderSettings};
pub(crate) use registrations::{NewRegistration, Registration};
pub(crate) use rules::RuleRow;
pub(crate) use swaps::{Followed, Order, OrderOutcome};
pub(crate) use tokens::{ServiceTokenRules, TokenRow};
pub(crate) use users::UserRow;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, Transaction};
use std::{path::Path, time::Duration};

/// Unix milliseconds.
pub(crate) type Millis = i64;

/// What each connection keeps of the file, in KiB (which the minus says). SQLite's own 2,000, for each of five, would hold
/// what the system holds all the same.
const CACHE: &str = "-256";

/// The open database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    /// For the audit log's notes.
    notes: SqlitePool,
}

impl Store {
    /// Opens `path`, creating and migrating it as needed.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", CACHE)
            .busy_timeout(Duration::from_secs(5));
        let notes = connections(1, options.clone().synchronous(SqliteSynchronous::Normal));
        let pool = connections(4, options);
        migrate::migrate(&pool).await?;
        Ok(Self { pool, notes })
    }

    /// Begins a write: nothing of it is seen, or kept, unless it is committed.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Writes everything out and closes.
    pub(crate) async fn close(&self) {
        self.notes.close().await;
        self.pool.close().await;
    }
}

/// Up to `most` connections, made when they are needed.
fn connections(most: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(Duration::from_secs(10))
        .after_release(|connection, _| {
            Box::pin(async move {
                // Waits for the roll-back of a transaction that was dropped.
                connection.ping().await?;
                // SQLite ends a transaction by itself when the disk is full. The driver's own roll-back then fails,
                // and the connection counts as inside of one for ever: it could begin no other.
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_lazy_with(options)
}

/// A blob of fixed length.
fn fixed<const N: usize>(bytes: &[u8], column: &'static str) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged { column, expected: N, got: bytes.len() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::testing::Directory;

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_spoils_no_connection() {
        let directory = Directory::new("ended");
        let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
        for _ in 0..8 {
            let mut write = store.write().await.unwrap();
            // What a full disk does to it.
            sqlx::query("ROLLBACK").execute(&mut *write).await.unwrap();
            assert!(write.rollback().await.is_err(), "the driver knows now: the work-around can go");
        }
    }
}
