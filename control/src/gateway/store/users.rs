//! Local accounts.

use super::{Millis, Store, StoreError};

/// A local account's row.
#[derive(Clone)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    /// Argon2id, as a PHC string.
    pub(crate) password_hash: String,
    pub(crate) created_at: Millis,
}

type Row = (String, String, String, String, i64);

fn user((id, email, name, password_hash, created_at): Row) -> UserRow {
    UserRow { id, email, name, password_hash, created_at }
}

impl Store {
    /// All accounts, by mail address.
    pub(crate) async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, email, name, password_hash, created_at FROM users ORDER BY email")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(user).collect())
    }

    /// One by mail address, without regard to case.
    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<UserRow>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, email, name, password_hash, created_at FROM users WHERE email = ?")
                .bind(email)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(user))
    }

    /// Adds an account; [`StoreError::Taken`] when the mail address has one.
    pub(crate) async fn add_user(&self, user: &UserRow) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO users (id, email, name, password_hash, created_at) VALUES (?, ?, ?, ?, ?)")
            .bind(&user.id)
            .bind(&user.email)
            .bind(&user.name)
            .bind(&user.password_hash)
            .bind(user.created_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes an account; false when there is none.
    pub(crate) async fn delete_user(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM users WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }
}
