//! What stands in a call's path.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use std::collections::HashMap;

/// The `{id}` of the path.
pub(super) struct Id(pub(super) String);

/// The `{policy}` of the path.
pub(super) struct PolicyId(pub(super) String);

async fn part(name: &str, parts: &mut Parts) -> Result<String, PathRejection> {
    let Path(mut path) = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await?;
    Ok(path.remove(name).unwrap_or_default())
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = PathRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PathRejection> {
        part("id", parts).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PolicyId {
    type Rejection = PathRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PathRejection> {
        part("policy", parts).await.map(Self)
    }
}
