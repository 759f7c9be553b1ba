//! What is known of a provider: read from it for every login, so that its new keys and addresses are taken up at once.

use super::exchange::ExchangeError;
use super::http;
use crate::gateway::store::ProviderRow;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreSubjectIdentifierType, CoreTokenIntrospectionResponse,
    CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthUrl, Client, ClientId, ClientSecret, EmptyAdditionalProviderMetadata, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IssuerUrl, JsonWebKeySetUrl, RedirectUrl,
    ResponseTypes, StandardErrorResponse, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Signatures taken: by the provider's own key, never by a shared secret or none.
pub(super) const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
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

/// Claims that the standard does not name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Said(Map<String, Value>);

impl AdditionalClaims for Said {}

type Fields = IdTokenFields<
    Said,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

/// The library's client, keeping all claims.
pub(super) type Provider = Client<
    Said,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Whether the provider's addresses were given by hand.
pub(super) fn hand_made(provider: &ProviderRow) -> bool {
    provider.issuer.is_empty()
}

/// The client for one login.
pub(super) async fn client(
    provider: &ProviderRow,
    redirect: &str,
    http: &reqwest::Client,
) -> Result<Provider, ExchangeError> {
    let call = |request| http::exchange(http.clone(), request);
    let metadata = if hand_made(provider) {
        let settings = &provider.settings;
        let text = |address: &Option<String>| address.clone().unwrap_or_default();
        let keys = JsonWebKeySetUrl::new(text(&settings.certs_url))?;
        CoreProviderMetadata::new(
            IssuerUrl::new(text(&settings.auth_url))?,
            AuthUrl::new(text(&settings.auth_url))?,
            keys.clone(),
            vec![ResponseTypes::new(vec![CoreResponseType::Code])],
            vec![CoreSubjectIdentifierType::Public],
            ALGORITHMS.to_vec(),
            EmptyAdditionalProviderMetadata {},
        )
        .set_token_endpoint(Some(TokenUrl::new(text(&settings.token_url))?))
        .set_jwks(CoreJsonWebKeySet::fetch_async(&keys, &call).await?)
    } else {
        CoreProviderMetadata::discover_async(IssuerUrl::new(provider.issuer.clone())?, &call).await?
    };
    let secret = Some(ClientSecret::new(provider.client_secret.clone()));
    let client = Client::from_provider_metadata(metadata, ClientId::new(provider.client_id.clone()), secret);
    Ok(client.set_redirect_uri(RedirectUrl::new(redirect.to_owned())?))
}
