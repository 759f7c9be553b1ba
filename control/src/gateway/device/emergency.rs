//! `GET /emergency`: the administrator's emergency switch, in the vendor's words.
//!
//! Whoever asks is told: devices ask beside their tunnel, by the address in the organisation's settings or the MDM file,
//! also when no registration of theirs is in force.

use super::{Answer, DeviceError};
use crate::api::device::EmergencySignal;
use crate::gateway::app::App;
use axum::{Json, extract::State};
use std::sync::Arc;

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer<EmergencySignal> {
    let emergency_disconnect = app.store.emergency_disconnect().await.map_err(DeviceError::from)?;
    Ok(Json(EmergencySignal { emergency_disconnect }))
}
