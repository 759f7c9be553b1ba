//! `POST /registrations`: a device joins the organisation under an identity.

use super::credentials::{Credentials, authenticate};
use super::signature::verify;
use super::{Answer, DeviceError, binary, body};
use crate::api::device::{DeviceFacts, EnrolRequest, EnrolResponse, RegistrationInfo, enrol_message};
use crate::crypto::sha256;
use crate::gateway::access::{Applicant, EnrolPolicy, Presented, References, Who, Worthless, permits};
use crate::gateway::app::{App, inner};
use crate::gateway::clock;
use crate::gateway::login::Identified;
use crate::gateway::secret;
use crate::gateway::store::{NewDevice, NewRegistration};
use crate::rules::{Person, non_identity_email};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use rustls::pki_types::UnixTime;
use std::net::{IpAddr, SocketAddr};
use std::{sync::Arc, time::Instant};
use uuid::Uuid;

/// Longest of each thing that a device says of itself, in characters.
const MAX_FACT: usize = 128;

pub(super) async fn enrol(
    State(app): State<Arc<App>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Extension(presented): Extension<Presented>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer<EnrolResponse> {
    let request: EnrolRequest = body(&bytes)?;
    organization(&app, &request.organization)?;
    let device = possession(&app, &request)?;
    let tunnel_key = binary("tunnel_public_key", &request.tunnel_public_key)?;
    let credentials = authenticate(&app, &headers).await?;
    let (person, token_id) = allowed(&app, &credentials, from.ip(), &presented).await?;

    let secret = secret::plain()?;
    let new = NewRegistration { id: Uuid::new_v4(), person, token_id, tunnel_key, bearer_hash: secret.hash() };
    let now = clock::now();
    let enrolled = app.store.enrol(&device, &new, app.settings.addresses, now).await;
    if enrolled.is_err()
        && let Credentials::User(assertion) = credentials
    {
        // The user need not log in again for our trouble.
        app.login.grants.restore_assertion(assertion, Instant::now());
    }
    let (device, replaced) = enrolled?;
    for id in &replaced {
        app.hub.registration_changed(id);
    }
    // It said what it is, which its other registrations are judged by as well.
    app.hub.devices_changed(std::slice::from_ref(&device.id));
    note(&app, &device.id, &new, now).await;
    Ok(Json(EnrolResponse {
        registration: RegistrationInfo {
            id: new.id,
            organization: app.settings.organization.clone(),
            device_id: device.id,
            email: new.person.email,
            service_token: new.token_id.is_some(),
        },
        token: secret.expose().to_owned(),
        addresses: inner(device.address),
    }))
}

fn organization(app: &App, asked: &str) -> Result<(), DeviceError> {
    if asked.eq_ignore_ascii_case(&app.settings.organization) {
        return Ok(());
    }
    let message = format!("this gateway serves another organisation than `{asked}`: check `organization`");
    Err(DeviceError::new(StatusCode::NOT_FOUND, "organization_unknown", message))
}

/// The device, once it has proved that it has its key, freshly and for this tunnel key.
fn possession(app: &App, request: &EnrolRequest) -> Result<NewDevice, DeviceError> {
    let nonce: [u8; 32] = binary("nonce", &request.nonce)?;
    let public_key: [u8; 65] = binary("device_public_key", &request.device_public_key)?;
    let tunnel_key: [u8; 32] = binary("tunnel_public_key", &request.tunnel_public_key)?;
    let signature: [u8; 64] = binary("signature", &request.signature)?;
    if !app.nonces.take(&nonce, Instant::now()) {
        let message = "the nonce is unknown, used, or older than two minutes: fetch a new one";
        return Err(DeviceError::unauthenticated("nonce_used", message));
    }
    verify(&public_key, &enrol_message(&nonce, &tunnel_key), &signature)?;
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_FACT).collect();
    let facts = DeviceFacts {
        name: short(&request.device.name),
        os: short(&request.device.os),
        os_version: short(&request.device.os_version),
        client_version: short(&request.device.client_version),
    };
    Ok(NewDevice { id: hex::encode(sha256(&public_key)), public_key, facts })
}

/// Who the policies let enrol, and the service token's id.
async fn allowed(
    app: &App,
    credentials: &Credentials,
    from: IpAddr,
    presented: &Presented,
) -> Result<(Person, Option<String>), DeviceError> {
    let policies = app.store.policies().await?;
    let policies: Vec<_> = policies.iter().filter(|policy| policy.attached).map(EnrolPolicy::read).collect();
    let references = References::load(&app.store).await?;
    let (who, person, token_id, at_login) = match credentials {
        Credentials::Token(id) => {
            let person = Person::with_email(non_identity_email(&app.settings.organization));
            (Who::Token { id }, person, Some(id.clone()), None)
        }
        Credentials::User(assertion) => {
            let Identified { person, provider, presented } = &assertion.user;
            (Who::User { person, provider: provider.as_deref() }, person.clone(), None, Some(presented))
        }
    };
    let (mut certificates, mut worthless) = (Vec::new(), Vec::new());
    let authorities = app.authorities();
    for presented in [Some(presented), at_login].into_iter().flatten() {
        match authorities.judge(presented, UnixTime::now()) {
            Ok(certificate) => certificates.push(certificate),
            Err(Worthless::None) => {}
            Err(why) => {
                let why = crate::causes::chain(&why);
                tracing::warn!(%from, why, "a client certificate does not count");
                worthless.push(why);
            }
        }
    }
    if permits(&policies, &references, &Applicant { who, from, certificates: &certificates }) {
        return Ok((person, token_id));
    }
    let certificate = match worthless.first() {
        Some(why) if certificates.is_empty() => format!(" (the client certificate does not count: {why})"),
        _ if certificates.is_empty() && authorities.certificates().next().is_some() => {
            " (no client certificate was presented)".to_owned()
        }
        _ => String::new(),
    };
    let message = format!(
        "{} is authenticated, but no enrolment policy lets it in{certificate}: ask an administrator",
        person.email
    );
    Err(DeviceError::new(StatusCode::FORBIDDEN, "enrolment_denied", message))
}

/// Signs of life and the audit entry; the registration stands without them.
async fn note(app: &App, device_id: &str, new: &NewRegistration, now: i64) {
    tracing::info!(device = device_id, registration = %new.id, token = new.token_id.is_some(), "enrolled");
    let audited = app.store.audit("enrol", Some((&new.id, device_id, &new.person.email)), None, now).await;
    let seen = match &new.token_id {
        Some(id) => app.store.token_seen(id, now).await,
        None => Ok(()),
    };
    for error in [audited.err(), seen.err()].into_iter().flatten() {
        tracing::error!(error = crate::causes::chain(&error), "an enrolment is not fully recorded");
    }
}
