//! Trust in a gateway by its certificate's SHA-256 instead of a certificate authority.
//!
//! The pin *is* the trust: names and dates in the certificate are not looked at, so a clock that is off by years never
//! locks a device out. The handshake's signature is checked as always: who has the certificate but not its key is refused.

use crate::crypto::sha256;
use rustls::{
    ClientConfig, ConfigBuilder, Error,
    client::WantsClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use vestibule_engine::masque::session::tls::Believed;

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(sha256(certificate))
    }
}

/// Not a pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is the SHA-256 of the gateway's certificate: expected 64 hex digits, got `{0}`")]
pub struct PinError(String);

impl FromStr for Pin {
    type Err = PinError;

    /// 64 hex digits; colons between bytes are allowed, as `openssl x509 -fingerprint` prints them.
    fn from_str(text: &str) -> Result<Self, PinError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim().replace(':', ""), &mut bytes).map_err(|_| PinError(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// A TLS configuration that trusts exactly the certificate with this pin.
///
/// # Errors
/// The provider supports no TLS version (never with the one built in).
pub fn client_config(pin: Pin) -> Result<ClientConfig, Error> {
    Ok(pinned(pin)?.with_no_client_auth())
}

/// As [`client_config`], with a certificate to present where one is asked for.
///
/// # Errors
/// The key is of no use, or not the certificate's.
pub fn client_config_with(
    pin: Pin,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    pinned(pin)?.with_client_auth_cert(chain, key)
}

fn believed(pin: Pin) -> Believed<impl Fn(&CertificateDer<'_>) -> Result<bool, Error>> {
    Believed::new(move |certificate: &CertificateDer<'_>| Ok(Pin::of(certificate) == pin))
}

fn pinned(pin: Pin) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(believed(pin));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

/// Why there is no HTTPS client.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the HTTPS client")]
pub enum ClientError {
    /// TLS refused its configuration.
    Tls(#[from] Error),
    /// HTTP refused its configuration.
    Http(#[from] reqwest::Error),
}

/// An HTTPS client that speaks to the pinned gateway only: no redirects, no proxy, no other trust. `timeout` bounds a
/// whole request (a long poll takes up to 25 s, so give it more).
///
/// # Errors
/// TLS or HTTP refused its configuration.
pub fn http_client(pin: Pin, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    https(client_config(pin)?, timeout)
}

/// As [`http_client`], by a TLS configuration of this module.
///
/// # Errors
/// HTTP refused its configuration.
pub fn https(tls: ClientConfig, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(true)
        // Shorter than the gateway's patience, so that no call goes out on a connection that it is closing.
        .pool_idle_timeout(Duration::from_secs(15))
        .connect_timeout(Duration::from_secs(5))
        .timeout(timeout)
        .build()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    #[test]
    fn a_pin_reads_what_it_prints_and_what_openssl_prints() {
        let pin = Pin::of(&CertificateDer::from(b"certificate".to_vec()));
        let plain = pin.to_string();
        let colons = plain.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap()).collect::<Vec<_>>().join(":");
        assert_eq!(plain.parse::<Pin>().unwrap(), pin);
        assert_eq!(colons.to_uppercase().parse::<Pin>().unwrap(), pin);
    }

    #[test]
    fn a_short_pin_is_refused_with_what_was_expected() {
        let error = "abcd".parse::<Pin>().unwrap_err().to_string();
        assert!(error.contains("64 hex digits") && error.contains("abcd"), "{error}");
    }

    #[test]
    fn only_the_pinned_certificate_is_trusted_whatever_the_date() {
        let certificate = CertificateDer::from(b"certificate".to_vec());
        let verifier = believed(Pin::of(&certificate));
        let name = ServerName::try_from("gateway").unwrap();
        let never = UnixTime::since_unix_epoch(Duration::ZERO);
        assert!(verifier.verify_server_cert(&certificate, &[], &name, &[], never).is_ok());
        let other = CertificateDer::from(b"another".to_vec());
        assert!(verifier.verify_server_cert(&other, &[], &name, &[], never).is_err());
    }
}
