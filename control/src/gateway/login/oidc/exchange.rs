//! The two conversations with a provider: where to send the browser, and what its code is worth.

use super::http::{self, HttpError};
use crate::crypto::{RandomError, random};
use crate::gateway::store::ProviderRow;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreJwsSigningAlgorithm, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, ConfigurationError, CsrfToken, DiscoveryError,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    Scope, TokenResponse as _, url::ParseError,
};

/// Signatures taken: by the provider's own key, never by a shared secret or none.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why nobody was logged in. `Display` is for the user, the sources are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("The identity provider cannot be reached.")]
    Reach(#[from] HttpError),
    #[error("The identity provider cannot be reached.")]
    Discovery(#[from] DiscoveryError<HttpError>),
    #[error("The identity provider is not set up right: its address is none.")]
    Address(#[from] ParseError),
    #[error("The identity provider is not set up right: it has no address for codes.")]
    Endpoint(#[from] ConfigurationError),
    #[error("The identity provider did not take its own code.")]
    Code(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("The identity provider gave no identity.")]
    NoToken,
    #[error("The identity provider's answer cannot be trusted.")]
    Claims(#[from] ClaimsVerificationError),
    #[error("The identity provider {0}.")]
    Email(&'static str),
    #[error("The gateway has a problem of its own. Try again in a moment.")]
    Random(#[from] RandomError),
}

/// A login that goes to the provider.
pub(super) struct Begun {
    pub(super) url: String,
    pub(super) state: CsrfToken,
    pub(super) nonce: Nonce,
    pub(super) verifier: PkceCodeVerifier,
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

async fn client(provider: &ProviderRow, redirect: &str, http: &reqwest::Client) -> Result<Client, ExchangeError> {
    let call = |request| http::exchange(http.clone(), request);
    let metadata = CoreProviderMetadata::discover_async(IssuerUrl::new(provider.issuer.clone())?, &call).await?;
    let secret = Some(ClientSecret::new(provider.client_secret.clone()));
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(provider.client_id.clone()), secret);
    Ok(client.set_redirect_uri(RedirectUrl::new(redirect.to_owned())?))
}

/// Where to send the browser, and what must come back.
pub(super) async fn begin(provider: &ProviderRow, redirect: &str) -> Result<Begun, ExchangeError> {
    let client = client(provider, redirect, &http::client()?).await?;
    let fresh = || random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let verifier = PkceCodeVerifier::new(fresh()?);
    let (state, nonce) = (CsrfToken::new(fresh()?), Nonce::new(fresh()?));
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
        .add_scope(Scope::new("email".to_owned()))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
        .url();
    Ok(Begun { url: url.into(), state, nonce, verifier })
}

/// The mail address that the provider vouches for.
pub(super) async fn finish(
    provider: &ProviderRow,
    redirect: &str,
    code: String,
    verifier: PkceCodeVerifier,
    nonce: Nonce,
) -> Result<String, ExchangeError> {
    let http = http::client()?;
    let call = |request| http::exchange(http.clone(), request);
    let client = client(provider, redirect, &http).await?;
    let request = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(verifier);
    let answer = request.request_async(&call).await.map_err(|error| ExchangeError::Code(Box::new(error)))?;
    let token = answer.id_token().ok_or(ExchangeError::NoToken)?;
    let token_verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    let claims = token.claims(&token_verifier, &nonce)?;
    let email = claims.email().ok_or(ExchangeError::Email("gave no mail address"))?;
    if claims.email_verified() == Some(false) {
        return Err(ExchangeError::Email("has not verified your mail address"));
    }
    Ok(email.to_string())
}
