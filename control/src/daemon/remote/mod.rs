//! The gateway as the daemon sees it: the device API, its answers and its refusals, as types.

mod https;

pub use crate::secret::Secret;
pub use https::{GatewayAddressError, HttpsGateway};

use crate::api::device::{
    Changes, EnrolRequest, EnrolResponse, ErrorBody, Held, Nonce, SwapRequest, SwapResponse, TokenRequest,
    TokenResponse,
};
use crate::api::posture::{PostureReport, PostureSchedule};
use std::{fmt, future::Future, net::SocketAddr};
use uuid::Uuid;

/// What an enrolment shows for itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A service token.
    ServiceToken {
        /// Its id.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
    /// A user's login.
    Assertion(Secret),
}

/// Why a call to the gateway failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No connection, a broken one, or no answer in time.
    #[error("cannot reach the gateway at {gateway}")]
    Unreachable {
        /// Its address.
        gateway: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It said no.
    #[error("the gateway refused: {} ({})", body.message, body.code)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        body: ErrorBody,
    },
    /// It said something else than the device API allows.
    #[error("the gateway's answer to {call} is not understood: expected {expected}, got {got}")]
    Garbled {
        /// Method and path.
        call: String,
        /// What should have come.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

/// What a refusal means for the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The service token is not accepted (expired, disabled, unknown).
    TokenRejected,
    /// The registration's key was invalidated.
    RegistrationRevoked,
    /// The registration is gone.
    RegistrationDeleted,
    /// The order to swap was not above this one.
    SwapSeqStale(u64),
    /// Anything else: retry later, or not at all.
    Other,
}

impl RemoteError {
    /// What the daemon should make of it.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        let Self::Refused { body, .. } = self else { return Meaning::Other };
        match body.code.as_str() {
            "registration_revoked" => Meaning::RegistrationRevoked,
            "registration_deleted" | "registration_unknown" => Meaning::RegistrationDeleted,
            "swap_seq_stale" => body.swap_seq.map_or(Meaning::Other, Meaning::SwapSeqStale),
            code if code.starts_with("token_") => Meaning::TokenRejected,
            _ => Meaning::Other,
        }
    }

    /// Whether the gateway was not there at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// The calls of the device API (see [`crate::api::device`]).
pub trait Gateway: fmt::Debug + Send + Sync + 'static {
    /// Its address, for people.
    fn address(&self) -> String;

    /// The addresses it is reached at, empty when its name does not resolve. They never go through the tunnel.
    fn addresses(&self) -> impl Future<Output = Vec<SocketAddr>> + Send;

    /// Where a user signs in. `redirect_uri` is the daemon's own listener; `code_challenge` is PKCE's, S256. `again` asks an
    /// identity provider to ask the user, whomever it remembers: they come back to be another.
    fn login_address(
        &self,
        organization: &str,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
        again: bool,
    ) -> String;

    /// A value to sign at an enrolment.
    fn nonce(&self) -> impl Future<Output = Result<Nonce, RemoteError>> + Send;

    /// Asks for a registration.
    fn enrol(
        &self,
        proof: &Proof,
        request: &EnrolRequest,
    ) -> impl Future<Output = Result<EnrolResponse, RemoteError>> + Send;

    /// Deletes a registration.
    fn delete(&self, registration: Uuid, bearer: &Secret) -> impl Future<Output = Result<(), RemoteError>> + Send;

    /// Orders a swap.
    fn swap(
        &self,
        bearer: &Secret,
        request: &SwapRequest,
    ) -> impl Future<Output = Result<SwapResponse, RemoteError>> + Send;

    /// Waits, up to 25 s, for something else than what is held.
    fn changes(&self, bearer: &Secret, held: &Held) -> impl Future<Output = Result<Changes, RemoteError>> + Send;

    /// Reports the device's posture.
    fn posture(
        &self,
        bearer: &Secret,
        report: &PostureReport,
    ) -> impl Future<Output = Result<PostureSchedule, RemoteError>> + Send;

    /// Trades a login code for an assertion.
    fn trade(&self, request: &TokenRequest) -> impl Future<Output = Result<TokenResponse, RemoteError>> + Send;
}
