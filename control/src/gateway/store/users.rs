//! Local accounts.

use super::{Millis, Store, StoreError};
use crate::rules::{Group, Person};

/// A local account's row.
#[derive(Clone)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    /// Argon2id, as a PHC string.
    pub(crate) password_hash: String,
    pub(crate) groups: Vec<Group>,
    pub(crate) created_at: Millis,
}

type Row = (String, String, String, String, String, i64);

impl UserRow {
    /// What rules may ask of them.
    pub(crate) fn person(self) -> Person {
        Person { email: self.email, name: self.name, groups: self.groups, ..Person::default() }
    }
}

fn user((id, email, name, password_hash, groups, created_at): Row) -> Result<UserRow, StoreError> {
    let groups = serde_json::from_str(&groups).map_err(|_| StoreError::Unreadable { column: "users.groups" })?;
    Ok(UserRow { id, email, name, password_hash, groups, created_at })
}

impl Store {
    /// All accounts, by mail address.
    pub(crate) async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, email, name, password_hash, groups, created_at FROM users ORDER BY email")
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(user).collect()
    }

    /// One by mail address, without regard to case.
    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<UserRow>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, email, name, password_hash, groups, created_at FROM users WHERE email = ?")
                .bind(email)
                .fetch_optional(&self.pool)
                .await?;
        row.map(user).transpose()
    }

    /// Writes an account, new or changed; [`StoreError::Taken`] when another has its mail address.
    pub(crate) async fn put_user(&self, user: &UserRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO users (id, email, name, password_hash, groups, created_at) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash, \
             groups = excluded.groups",
        )
        .bind(&user.id)
        .bind(&user.email)
        .bind(&user.name)
        .bind(&user.password_hash)
        .bind(serde_json::to_string(&user.groups).unwrap_or_else(|_| "[]".to_owned()))
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
