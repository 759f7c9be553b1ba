//! What can go wrong with the store.

/// The store failed. Nothing of the write in question was kept, and nothing acknowledged earlier was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    /// No room on the disk.
    #[error("the disk of the gateway's database is full: nothing was changed; free some space and try again")]
    Full(#[source] sqlx::Error),
    /// Anything else that SQLite reports.
    #[error("the gateway's database failed: nothing was changed")]
    Database(#[source] sqlx::Error),
    /// Made by a newer gateway.
    #[error("the database has schema version {found}, this gateway knows up to {known}: run a newer gateway")]
    Newer {
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A value that this program never wrote.
    #[error("the database's `{column}` is damaged: expected {expected} bytes, got {got}; restore a backup")]
    Damaged {
        /// Where.
        column: &'static str,
        /// Length it must have.
        expected: usize,
        /// Length it has.
        got: usize,
    },
    /// A document that this program never wrote.
    #[error("the database's `{column}` does not read; restore a backup")]
    Unreadable {
        /// Where.
        column: &'static str,
    },
    /// The pool of inner addresses is used up.
    #[error("all inner addresses are taken: start the gateway with a wider `--addresses`")]
    NoAddress,
    /// A name that must be unique is taken.
    #[error("the name or mail address is taken: expected a new one")]
    Taken,
}

/// SQLite's primary result code for a full disk.
const SQLITE_FULL: i32 = 13;
/// Extended codes by which a full disk shows in the write-ahead log and its index.
const SQLITE_IOERR_WRITE: i32 = 778;
const SQLITE_IOERR_SHMSIZE: i32 = 4874;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else { return Self::Database(error) };
        if database.is_unique_violation() {
            return Self::Taken;
        }
        match database.code().and_then(|code| code.parse::<i32>().ok()) {
            Some(code) if code & 0xff == SQLITE_FULL || matches!(code, SQLITE_IOERR_WRITE | SQLITE_IOERR_SHMSIZE) => {
                Self::Full(error)
            }
            _ => Self::Database(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    #[tokio::test]
    async fn a_full_disk_is_told_from_other_failures() {
        let options = SqliteConnectOptions::new().in_memory(true).pragma("max_page_count", "4");
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (x BLOB)").execute(&pool).await.unwrap();
        let insert = sqlx::query("INSERT INTO t VALUES (zeroblob(100000))").execute(&pool).await;
        assert!(matches!(StoreError::from(insert.unwrap_err()), StoreError::Full(_)));
        let other = sqlx::query("INSERT INTO nowhere VALUES (1)").execute(&pool).await;
        assert!(matches!(StoreError::from(other.unwrap_err()), StoreError::Database(_)));
    }
}
