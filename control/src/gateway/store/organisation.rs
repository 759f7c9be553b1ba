//! The organisation: one per gateway.

use super::{Millis, Store, StoreError};

/// The organisation's row.
#[derive(Clone, Debug)]
pub(crate) struct Organisation {
    pub(crate) name: String,
    pub(crate) account_id: String,
    /// Answer for service tokens when no rule matches.
    pub(crate) default_allow_non_identity: bool,
    /// Answer for users when no rule matches.
    pub(crate) default_allow_user: bool,
    /// Grows with every change of rules, lists or defaults.
    pub(crate) policy_version: i64,
}

impl Store {
    /// The organisation; made with `name` and the given ids, with its enrolment app and no policy (deny by default),
    /// when the database is fresh.
    pub(crate) async fn organisation(
        &self,
        name: &str,
        account_id: &str,
        app_id: &str,
        now: Millis,
    ) -> Result<Organisation, StoreError> {
        let mut write = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO organisation (id, name, account_id, created_at) VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(account_id)
        .bind(now)
        .execute(&mut *write)
        .await?;
        if made.rows_affected() == 1 {
            sqlx::query("INSERT INTO apps (id, name, created_at, updated_at) VALUES (?, 'Warp Login App', ?, ?)")
                .bind(app_id)
                .bind(now)
                .bind(now)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        self.current_organisation().await
    }

    /// The organisation as it is.
    pub(crate) async fn current_organisation(&self) -> Result<Organisation, StoreError> {
        let row: (String, String, bool, bool, i64) = sqlx::query_as(
            "SELECT name, account_id, default_allow_non_identity, default_allow_user, policy_version FROM organisation",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Organisation {
            name: row.0,
            account_id: row.1,
            default_allow_non_identity: row.2,
            default_allow_user: row.3,
            policy_version: row.4,
        })
    }

    /// Whether devices that ask are told to disconnect.
    pub(crate) async fn emergency_disconnect(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT emergency_disconnect FROM organisation").fetch_one(&self.pool).await?)
    }

    /// Sets what devices that ask are told.
    pub(crate) async fn set_emergency_disconnect(&self, engaged: bool) -> Result<(), StoreError> {
        sqlx::query("UPDATE organisation SET emergency_disconnect = ?").bind(engaged).execute(&self.pool).await?;
        Ok(())
    }

    /// Sets what happens when no rule matches.
    pub(crate) async fn set_defaults(&self, non_identity: bool, user: bool) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE organisation SET default_allow_non_identity = ?, default_allow_user = ?")
            .bind(non_identity)
            .bind(user)
            .execute(&mut *write)
            .await?;
        raise_policy_version(&mut write).await?;
        Ok(write.commit().await?)
    }
}

/// Part of every change of rules, in its transaction: the version that the change makes.
pub(super) async fn raise_policy_version(write: &mut sqlx::Transaction<'_, sqlx::Sqlite>) -> Result<i64, StoreError> {
    let raised = "UPDATE organisation SET policy_version = policy_version + 1 RETURNING policy_version";
    Ok(sqlx::query_scalar(raised).fetch_one(&mut **write).await?)
}
