//! `/tokens`: API tokens with permissions.

use super::envelope::{Answer, many};
use super::permission::Permission;
use serde_json::json;

/// What API tokens can be allowed.
pub(super) async fn permission_groups() -> Answer {
    let group = |group: Permission| json!({ "id": group.id(), "name": group.name(), "scopes": [SCOPE] });
    many(Permission::all().map(group).collect())
}

/// What all permission groups here are about.
const SCOPE: &str = "com.cloudflare.api.account";
