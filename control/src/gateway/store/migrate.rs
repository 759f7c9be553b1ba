//! Schema versions: one file each, counted by `PRAGMA user_version`, each in a transaction of its own.

use super::StoreError;
use sqlx::SqlitePool;

const VERSIONS: [&str; 9] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
];

/// Brings the database to the newest version. Two starts at a time are kept apart by the write lock.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let known = VERSIONS.len() as i64;
    loop {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
        let next = usize::try_from(found).ok().filter(|_| found <= known).ok_or(StoreError::Newer { found, known })?;
        let Some(version) = VERSIONS.get(next) else { return Ok(()) };
        sqlx::raw_sql(*version).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Store;
    use super::*;

    #[tokio::test]
    async fn a_database_of_a_newer_gateway_is_refused_and_left_alone() {
        let dir = crate::gateway::testing::Directory::new("newer");
        let path = dir.path().join("vestibule.db");
        let store = Store::open(&path).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 999").execute(&store.pool).await.unwrap();
        store.close().await;
        let error = Store::open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    }

    #[tokio::test]
    async fn opening_twice_migrates_once() {
        let dir = crate::gateway::testing::Directory::new("twice");
        let path = dir.path().join("vestibule.db");
        Store::open(&path).await.unwrap().close().await;
        Store::open(&path).await.unwrap().close().await;
    }
}
