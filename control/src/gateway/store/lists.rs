//! Address lists that rules name as `$id`.

use super::organisation::raise_policy_version;
use super::{Millis, Store, StoreError};

/// A list's row.
#[derive(Clone, Debug)]
pub(crate) struct ListRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// JSON array of strings.
    pub(crate) items: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

type Row = (String, String, String, String, i64, i64);

fn list((id, name, description, items, created_at, updated_at): Row) -> ListRow {
    ListRow { id, name, description, items, created_at, updated_at }
}

impl Store {
    /// All lists, by name.
    pub(crate) async fn lists(&self) -> Result<Vec<ListRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, description, items, created_at, updated_at FROM gateway_lists ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(list).collect())
    }

    /// Writes a list, new or changed, and raises the policy version.
    pub(crate) async fn put_list(&self, list: &ListRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO gateway_lists (id, name, description, items, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, \
             items = excluded.items, updated_at = excluded.updated_at",
        )
        .bind(&list.id)
        .bind(&list.name)
        .bind(&list.description)
        .bind(&list.items)
        .bind(list.created_at)
        .bind(list.updated_at)
        .execute(&mut *write)
        .await?;
        raise_policy_version(&mut write).await?;
        Ok(write.commit().await?)
    }

    /// Deletes a list and raises the policy version; false when there is none.
    pub(crate) async fn delete_list(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM gateway_lists WHERE id = ?").bind(id).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        raise_policy_version(&mut write).await?;
        write.commit().await?;
        Ok(true)
    }
}
