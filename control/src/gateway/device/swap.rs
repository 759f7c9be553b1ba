//! `POST /swap`: the order to swap. On disk first, at the engine next, then the answer; the device handshakes after it.

use super::signature::verify;
use super::{Answer, DeviceError, bearer, binary, body};
use crate::api::device::{MasqueOffer, SwapRequest, SwapResponse, swap_message};
use crate::gateway::app::{App, inner, tunnel_of};
use crate::gateway::clock;
use crate::gateway::store::{Device, Followed, Order, OrderOutcome};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::HOST};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use vestibule_engine::core::PeerId;

pub(super) async fn swap(State(app): State<Arc<App>>, headers: HeaderMap, bytes: Bytes) -> Answer<SwapResponse> {
    let registration = bearer::registration(&app, &headers).await?;
    let request: SwapRequest = body(&bytes)?;
    if request.registration != registration.id {
        let message = "`registration` must be the one whose secret the call carries";
        return Err(DeviceError::new(StatusCode::BAD_REQUEST, "registration_mismatch", message));
    }
    let tunnel_key: [u8; 32] = binary("tunnel_public_key", &request.tunnel_public_key)?;
    let signature: [u8; 64] = binary("signature", &request.signature)?;
    let stored_seq = i64::try_from(request.swap_seq).ok().filter(|seq| *seq > 0).ok_or_else(|| {
        let message = format!("`swap_seq` must be between 1 and {}, got {}", i64::MAX, request.swap_seq);
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })?;
    let Some(device) = app.store.device(&registration.device_id).await? else {
        return Err(DeviceError::unauthenticated(
            "registration_unknown",
            "the registration's device is gone: enrol again",
        ));
    };
    verify(
        &device.public_key,
        &swap_message(request.swap_seq, &request.registration, &tunnel_key, request.tunnel_protocol),
        &signature,
    )?;
    bearer::standing(&registration)?;

    if let Some(report) = request.posture.clone() {
        super::posture::check(&report)?;
        app.posture_with_order(&device.id, report).await?;
    }
    let now = clock::now();
    let steering = app.steering.lock().await;
    let followed = followed(&app, &device).await?;
    match app
        .store
        .order(&device.id, &registration.id, stored_seq, (&tunnel_key, request.tunnel_protocol), followed.as_ref(), now)
        .await
    {
        Ok(OrderOutcome::Stored) => {}
        Ok(OrderOutcome::Stale { seen }) => return Err(DeviceError::stale(request.swap_seq, seen)),
        Ok(OrderOutcome::NotStanding) => {
            // It ended while we looked: say how.
            let again = bearer::registration(&app, &headers).await?;
            bearer::standing(&again)?;
            return Err(DeviceError::unauthenticated("registration_unknown", "the registration is gone: enrol again"));
        }
        Err(crate::gateway::store::StoreError::Taken) => {
            let message = "the tunnel key is another device's: make a fresh one for every swap";
            return Err(DeviceError::new(StatusCode::CONFLICT, "tunnel_key_in_use", message));
        }
        Err(error) => return Err(error.into()),
    }
    let Some(subject) = app.store.subject(&registration.id, now).await? else {
        return Err(DeviceError::unauthenticated("registration_unknown", "the registration is gone: enrol again"));
    };
    let book = app.book();
    let rules = book.compiled(&subject);
    let profile = app.profiles().resolve(&subject);
    let posture = app.posture().schedule(&subject.os_name);
    let addresses = inner(device.address);
    let order = Order {
        device,
        registration: registration.id,
        swap_seq: request.swap_seq,
        tunnel_key,
        protocol: request.tunnel_protocol,
        last_handshake: [0; 12],
    };
    app.plane.prepare(tunnel_of(order, subject), &rules.policy, now).await?;
    drop(steering);
    let endpoint = endpoint(app.settings.endpoint, &headers);
    Ok(Json(SwapResponse {
        gateway_public_key: STANDARD.encode(app.plane.public_key()),
        endpoint,
        masque: Some(MasqueOffer {
            template: format!("https://{endpoint}/.well-known/masque/ip/{{target}}/{{ipproto}}/"),
            public_key: app.settings.masque_public_key.clone(),
            http2: true,
        }),
        addresses,
        routes: app.settings.routes.clone(),
        mtu: app.settings.mtu,
        policy: (request.policy_held.as_deref() != Some(rules.digest())).then(|| rules.document().clone()),
        policy_digest: rules.digest().to_owned(),
        policy_version: book.version(),
        profile: (request.profile_held.as_deref() != Some(&profile.digest)).then(|| profile.document.clone()),
        profile_digest: profile.digest.clone(),
        posture,
    }))
}

/// The order that the device's traffic goes by now.
async fn followed(app: &App, device: &Device) -> Result<Option<Followed>, DeviceError> {
    let active = app.plane.active(PeerId(device.peer)).await?;
    Ok(active.and_then(|tunnel| {
        let registration = tunnel.owner?.registration;
        Some(Followed { registration, swap_seq: tunnel.swap_seq, email: tunnel.subject.person.email })
    }))
}

/// Where the device sends datagrams. A gateway that listens everywhere and was told no address to advertise is where
/// the device reached it, when it used an address and no name.
fn endpoint(told: SocketAddr, headers: &HeaderMap) -> SocketAddr {
    if !told.ip().is_unspecified() {
        return told;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| {
        let with_port = host.parse::<SocketAddr>().map(|address| address.ip());
        with_port.or_else(|_| host.trim_matches(['[', ']']).parse::<IpAddr>()).ok()
    });
    SocketAddr::new(host.unwrap_or(told.ip()), told.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_gateway_that_listens_everywhere_is_where_it_was_reached() {
        let everywhere: SocketAddr = "0.0.0.0:51820".parse().unwrap();
        let reached = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            endpoint(everywhere, &headers).to_string()
        };
        assert_eq!(reached("192.0.2.7:8443"), "192.0.2.7:51820");
        assert_eq!(reached("192.0.2.7"), "192.0.2.7:51820");
        assert_eq!(reached("[2001:db8::1]:8443"), "[2001:db8::1]:51820");
        assert_eq!(reached("gateway.example:8443"), "0.0.0.0:51820", "a name: the device knows its address");
        let told: SocketAddr = "198.51.100.1:1".parse().unwrap();
        assert_eq!(endpoint(told, &HeaderMap::new()), told);
    }
}
