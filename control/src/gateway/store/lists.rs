//! Lists that rules name as `$id`.

use super::organisation::raise_policy_version;
use super::rules::{forget_removal, note_removed};
use super::{Millis, Store, StoreError};
use crate::rules::ListKind;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// A list's row.
#[derive(Clone, Debug)]
pub(crate) struct ListRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: ListKind,
    pub(crate) items: Vec<ListItem>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListItem {
    pub(crate) value: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) created_at: Millis,
}

/// As items are stored: earlier gateways wrote the values alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Item(ListItem),
    Value(String),
}

fn list(row: &SqliteRow) -> Result<ListRow, StoreError> {
    let created_at = row.try_get("created_at")?;
    let unreadable = |column| StoreError::Unreadable { column };
    let items: Vec<Stored> = serde_json::from_str(row.try_get("items")?).map_err(|_| unreadable("items"))?;
    let item = |stored| match stored {
        Stored::Item(item) => item,
        Stored::Value(value) => ListItem { value, description: String::new(), created_at },
    };
    let kind: String = row.try_get("type")?;
    Ok(ListRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        kind: ListKind::ALL.into_iter().find(|known| known.name() == kind).ok_or(unreadable("type"))?,
        items: items.into_iter().map(item).collect(),
        created_at,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// All lists, by name.
    pub(crate) async fn lists(&self) -> Result<Vec<ListRow>, StoreError> {
        self.lists_since(-1).await
    }

    /// Lists that changed after a policy version, by name.
    pub(crate) async fn lists_since(&self, version: i64) -> Result<Vec<ListRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM gateway_lists WHERE changed_in > ? ORDER BY name")
            .bind(version)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(list).collect()
    }

    /// One list.
    pub(crate) async fn list(&self, id: &str) -> Result<Option<ListRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM gateway_lists WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(list).transpose()
    }

    /// Writes a list, new or changed, and raises the policy version.
    pub(crate) async fn put_list(&self, list: &ListRow) -> Result<(), StoreError> {
        let items = serde_json::to_string(&list.items).map_err(|_| StoreError::Unreadable { column: "items" })?;
        let mut write = self.write().await?;
        let changed_in = raise_policy_version(&mut write).await?;
        forget_removal(&mut write, &list.id).await?;
        sqlx::query(
            "INSERT INTO gateway_lists (id, name, description, type, items, created_at, updated_at, changed_in) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, \
             items = excluded.items, updated_at = excluded.updated_at, changed_in = excluded.changed_in",
        )
        .bind(&list.id)
        .bind(&list.name)
        .bind(&list.description)
        .bind(list.kind.name())
        .bind(items)
        .bind(list.created_at)
        .bind(list.updated_at)
        .bind(changed_in)
        .execute(&mut *write)
        .await?;
        Ok(write.commit().await?)
    }

    /// Deletes a list and raises the policy version; false when there is none.
    pub(crate) async fn delete_list(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM gateway_lists WHERE id = ?").bind(id).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let changed_in = raise_policy_version(&mut write).await?;
        note_removed(&mut write, id, changed_in).await?;
        write.commit().await?;
        Ok(true)
    }
}
