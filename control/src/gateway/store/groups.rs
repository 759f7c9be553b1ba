//! Access groups: rules of enrolment policies under a name.

use super::{Millis, Store, StoreError};
use sqlx::Row as _;

/// A group's row; the three rule lists are the vendor's JSON.
#[derive(Clone, Debug)]
pub(crate) struct GroupRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) include: String,
    pub(crate) require: String,
    pub(crate) exclude: String,
    pub(crate) is_default: bool,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl Store {
    /// All groups, by name.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM access_groups ORDER BY name").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(GroupRow {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    include: row.try_get("include")?,
                    require: row.try_get("require")?,
                    exclude: row.try_get("exclude")?,
                    is_default: row.try_get("is_default")?,
                    created_at: row.try_get("created_at")?,
                    updated_at: row.try_get("updated_at")?,
                })
            })
            .collect()
    }

    /// Writes a group, new or changed; [`StoreError::Taken`] when another has its name.
    pub(crate) async fn put_group(&self, group: &GroupRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO access_groups (id, name, include, require, exclude, is_default, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             include = excluded.include, require = excluded.require, exclude = excluded.exclude, \
             is_default = excluded.is_default, updated_at = excluded.updated_at",
        )
        .bind(&group.id)
        .bind(&group.name)
        .bind(&group.include)
        .bind(&group.require)
        .bind(&group.exclude)
        .bind(group.is_default)
        .bind(group.created_at)
        .bind(group.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a group; false when there is none.
    pub(crate) async fn delete_group(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM access_groups WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }
}
