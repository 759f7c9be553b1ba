//! The device API over HTTPS, the gateway's certificate pinned.

use super::{Gateway, Proof, RemoteError, Secret};
use crate::api::{
    device::{
        ASSERTION_HEADER, CLIENT_ID_HEADER, CLIENT_SECRET_HEADER, Changes, EnrolRequest, EnrolResponse, ErrorBody,
        Held, Nonce, SwapRequest, SwapResponse, TokenRequest, TokenResponse,
    },
    pin::{ClientError, Pin, client_config_with, http_client, https},
    posture::{PostureReport, PostureSchedule},
};
use crate::daemon::certificate;
use reqwest::{Method, RequestBuilder, Response, Url, header::HeaderValue};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a call may take; the gateway answers from its own store.
const CALL: Duration = Duration::from_secs(15);
/// How long the long poll may take: the gateway's 25 s, and a slow network's share.
const POLL: Duration = Duration::from_secs(40);
/// How long the gateway's name may take to resolve; it was resolved for a call just before.
const RESOLVE: Duration = Duration::from_secs(2);
/// Largest answer in bytes that is read. A policy document of 10,000 rules has some 2 MB.
const MAX_BODY: usize = 8 << 20;

/// A gateway reached over HTTPS and recognised by its certificate alone: the device's clock does not matter.
#[derive(Debug)]
pub struct HttpsGateway {
    client: reqwest::Client,
    base: Url,
    pin: Pin,
    /// Where the device's client certificate is, if it has one.
    certificate: Option<PathBuf>,
}

/// Why there is no client for a gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayAddressError {
    /// Not an address.
    #[error("gateway address `{address}`: expected https://HOST[:PORT]")]
    Address {
        /// What was given.
        address: String,
    },
    /// TLS or HTTP could not be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl HttpsGateway {
    /// The gateway at `address` (`https://HOST[:PORT]`) whose certificate has this pin.
    ///
    /// # Errors
    /// Not such an address, or no TLS.
    pub fn new(address: &str, pin: Pin) -> Result<Self, GatewayAddressError> {
        let refuse = || GatewayAddressError::Address { address: address.to_owned() };
        let base = Url::parse(address).map_err(|_| refuse())?;
        if base.scheme() != "https" || base.host_str().is_none() || !matches!(base.path(), "" | "/") {
            return Err(refuse());
        }
        Ok(Self { client: http_client(pin, CALL)?, base, pin, certificate: None })
    }

    /// Presents the certificate in this file at enrolments, when there is one by then.
    #[must_use]
    pub fn with_certificate(self, file: PathBuf) -> Self {
        Self { certificate: Some(file), ..self }
    }

    /// The client of an enrolment: one with the device's certificate has a connection of its own.
    fn enrolling(&self) -> reqwest::Client {
        let Some(file) = &self.certificate else { return self.client.clone() };
        let unusable = |error: &dyn std::error::Error| {
            let error = crate::causes::chain(error);
            tracing::warn!(file = %file.display(), error, "the client certificate is of no use: enrolling without");
        };
        let (chain, key) = match certificate::read(file) {
            Ok(Some(identity)) => identity,
            Ok(None) => return self.client.clone(),
            Err(error) => {
                unusable(&error);
                return self.client.clone();
            }
        };
        let tls = client_config_with(self.pin, chain, key).map_err(ClientError::from);
        tls.and_then(|tls| https(tls, CALL)).unwrap_or_else(|error| {
            unusable(&error);
            self.client.clone()
        })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    fn request(&self, method: Method, path: &str) -> (String, RequestBuilder) {
        let path = format!("/vestibule/v1/{path}");
        (format!("{method} {path}"), self.client.request(method, self.url(&path)))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        head: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<T, RemoteError> {
        let (call, request) = self.request(Method::POST, path);
        self.send(call, head(request.json(body))).await
    }

    async fn send<T: DeserializeOwned>(&self, call: String, request: RequestBuilder) -> Result<T, RemoteError> {
        let unreachable = |error: reqwest::Error| RemoteError::Unreachable {
            gateway: self.address(),
            cause: Box::new(error.without_url()),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response, &call).await?.map_err(unreachable)?;
        let garbled = |expected, got| RemoteError::Garbled { call: call.clone(), expected, got };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| garbled("the device API's JSON", error.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(RemoteError::Refused { status: status.as_u16(), body }),
            Err(_) => Err(garbled("an error in the device API's form", format!("status {status}"))),
        }
    }
}

/// The body, up to [`MAX_BODY`] bytes. The inner error is the connection's.
async fn read(mut response: Response, call: &str) -> Result<Result<Zeroizing<Vec<u8>>, reqwest::Error>, RemoteError> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(RemoteError::Garbled {
                    call: call.to_owned(),
                    expected: "at most 8 MiB",
                    got: "more".to_owned(),
                });
            }
            Ok(None) => return Ok(Ok(body)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// A header's value that no log shows.
fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Adds a header. A value that no header can hold is left out, and the gateway refuses the call for its lack.
fn with(request: RequestBuilder, name: &str, value: &str) -> RequestBuilder {
    match hidden(value) {
        Some(value) => request.header(name, value),
        None => request,
    }
}

impl Gateway for HttpsGateway {
    fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    async fn addresses(&self) -> Vec<SocketAddr> {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.base.port_or_known_default().unwrap_or(443);
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, port)];
        }
        let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, port))).await;
        found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default()
    }

    fn login_address(
        &self,
        organization: &str,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
        again: bool,
    ) -> String {
        let mut url = self.url("/warp");
        url.query_pairs_mut()
            .append_pair("organization", organization)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("code_challenge", code_challenge)
            .append_pair("code_challenge_method", "S256");
        if again {
            url.query_pairs_mut().append_pair("prompt", "login");
        }
        url.into()
    }

    async fn nonce(&self) -> Result<Nonce, RemoteError> {
        self.post("nonce", &serde_json::json!({}), |request| request).await
    }

    async fn enrol(&self, proof: &Proof, request: &EnrolRequest) -> Result<EnrolResponse, RemoteError> {
        let path = "/vestibule/v1/registrations";
        let call = self.enrolling().post(self.url(path)).json(request);
        let call = match proof {
            Proof::ServiceToken { client_id, client_secret } => {
                with(with(call, CLIENT_ID_HEADER, client_id), CLIENT_SECRET_HEADER, client_secret.expose())
            }
            Proof::Assertion(assertion) => with(call, ASSERTION_HEADER, assertion.expose()),
        };
        self.send(format!("POST {path}"), call).await
    }

    async fn delete(&self, registration: Uuid, bearer: &Secret) -> Result<(), RemoteError> {
        let (call, request) = self.request(Method::DELETE, &format!("registrations/{registration}"));
        self.send::<serde_json::Value>(call, request.bearer_auth(bearer.expose())).await.map(drop)
    }

    async fn swap(&self, bearer: &Secret, request: &SwapRequest) -> Result<SwapResponse, RemoteError> {
        self.post("swap", request, |request| request.bearer_auth(bearer.expose())).await
    }

    async fn changes(&self, bearer: &Secret, held: &Held) -> Result<Changes, RemoteError> {
        let (call, request) = self.request(Method::GET, "changes");
        let request = request.query(held).bearer_auth(bearer.expose()).timeout(POLL);
        self.send(call, request).await
    }

    async fn posture(&self, bearer: &Secret, report: &PostureReport) -> Result<PostureSchedule, RemoteError> {
        self.post("posture", report, |request| request.bearer_auth(bearer.expose())).await
    }

    async fn trade(&self, request: &TokenRequest) -> Result<TokenResponse, RemoteError> {
        self.post("auth/token", request, |request| request).await
    }
}

#[cfg(test)]
mod tests;
