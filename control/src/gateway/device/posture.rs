//! `POST /posture`: what a device's system is now.

use super::{Answer, bearer, body};
use crate::api::posture::{PostureReport, PostureSchedule};
use crate::gateway::app::App;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Longest text of a report, in bytes.
const LONGEST: usize = 256;

pub(super) async fn report(State(app): State<Arc<App>>, headers: HeaderMap, bytes: Bytes) -> Answer<PostureSchedule> {
    let registration = bearer::registration(&app, &headers).await?;
    bearer::standing(&registration)?;
    let report: PostureReport = body(&bytes)?;
    check(&report)?;
    let schedule = app.posture().schedule(&report.os);
    app.posture_reported(&registration.device_id, report).await?;
    Ok(Json(schedule))
}

/// A report's texts are short.
pub(super) fn check(report: &PostureReport) -> Result<(), super::DeviceError> {
    let PostureReport { os, os_version, os_version_extra, os_distro_name, os_distro_revision } = report;
    if [os, os_version, os_version_extra, os_distro_name, os_distro_revision].iter().any(|text| text.len() > LONGEST) {
        let message = format!("every text of a posture report must have at most {LONGEST} bytes");
        return Err(super::DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message));
    }
    Ok(())
}
