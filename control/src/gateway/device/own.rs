//! `DELETE /registrations/{id}`: a device gives up its own registration.

use super::{Answer, DeviceError, bearer};
use crate::gateway::app::{App, Standing};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<serde_json::Value> {
    let registration = bearer::registration(&app, &headers).await?;
    if id != registration.id.to_string() {
        let message = "a registration can delete itself only";
        return Err(DeviceError::new(StatusCode::FORBIDDEN, "registration_mismatch", message));
    }
    // Deleting what is deleted is done already.
    app.set_standing(&registration, Standing::Deleted, "device").await?;
    Ok(Json(serde_json::json!({})))
}
