//! The two conversations with a provider: where to send the browser, and what its code is worth.

use super::client::{ALGORITHMS, Said, client, hand_made};
use super::http::{self, HttpError};
use crate::crypto::{RandomError, random};
use crate::gateway::login::claims::{self, Claims};
use crate::gateway::store::ProviderRow;
use crate::rules::Person;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreGenderClaim};
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, ConfigurationError, CsrfToken, DiscoveryError, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, Scope, TokenResponse as _, UserInfoClaims,
    url::ParseError,
};
use serde_json::Value;

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
    #[error("The identity provider did not say who you are.")]
    UserInfo(#[source] Box<dyn std::error::Error + Send + Sync>),
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

/// Where to send the browser, and what must come back.
pub(super) async fn begin(provider: &ProviderRow, redirect: &str, again: bool) -> Result<Begun, ExchangeError> {
    let client = client(provider, redirect, &http::client()?).await?;
    let fresh = || random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let verifier = PkceCodeVerifier::new(fresh()?);
    let (state, nonce) = (CsrfToken::new(fresh()?), Nonce::new(fresh()?));
    let asked: Vec<&str> = match provider.settings.scopes.as_slice() {
        [] => vec!["email", "profile"],
        // The library adds it by itself.
        scopes => scopes.iter().map(String::as_str).filter(|scope| *scope != "openid").collect(),
    };
    let mut request = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
        .add_scopes(asked.into_iter().map(|scope| Scope::new(scope.to_owned())))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    if again {
        request = request.add_prompt(CoreAuthPrompt::Login);
    }
    let (url, state, nonce) = request.url();
    Ok(Begun { url: url.into(), state, nonce, verifier })
}

/// Who the provider says has logged in.
pub(super) async fn finish(
    provider: &ProviderRow,
    redirect: &str,
    code: String,
    verifier: PkceCodeVerifier,
    nonce: Nonce,
) -> Result<Person, ExchangeError> {
    let http = http::client()?;
    let call = |request| http::exchange(http.clone(), request);
    let client = client(provider, redirect, &http).await?;
    let request = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(verifier);
    let answer = request.request_async(&call).await.map_err(|error| ExchangeError::Code(Box::new(error)))?;
    let token = answer.id_token().ok_or(ExchangeError::NoToken)?;
    // A provider given by three addresses has not told its name; its key still must be the one at `certs_url`.
    let token_verifier =
        client.id_token_verifier().set_allowed_algs(ALGORITHMS).require_issuer_match(!hand_made(provider));
    let vouched = token.claims(&token_verifier, &nonce)?;
    let mut said = fields(vouched);
    // What the token does not say, the provider's own page on the user may.
    if !claims::complete(&said, &provider.settings)
        && let Ok(request) = client.user_info(answer.access_token().clone(), Some(vouched.subject().clone()))
    {
        let more: Result<UserInfoClaims<Said, CoreGenderClaim>, _> = request.request_async(&call).await;
        for (name, value) in fields(&more.map_err(|error| ExchangeError::UserInfo(Box::new(error)))?) {
            said.entry(name).or_insert(value);
        }
    }
    claims::person(&said, &provider.settings).map_err(ExchangeError::Email)
}

/// All claims by name.
fn fields(said: &impl serde::Serialize) -> Claims {
    match serde_json::to_value(said) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|_, value| !value.is_null());
            fields
        }
        _ => Claims::new(),
    }
}
