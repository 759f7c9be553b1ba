//! What a tunnel travels over, and the keys for it: fresh for every order.

use super::OrderError;
use crate::api::device::{MasqueOffer, SwapResponse};
use crate::api::profile::TunnelProtocol;
use crate::daemon::enrol::fresh_key;
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{net::SocketAddr, sync::Arc};
use vestibule_engine::generation::{
    GenerationConfig, GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey,
    PublicKey,
};
use vestibule_engine::masque::request::{Credentials, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::policy::Policy;

/// The name in a device's certificate; only its key counts.
const NAME: &str = "vestibule-device";

/// Seconds between keepalives of an idle tunnel: shorter than the 30 s after which common NATs forget a flow.
const KEEPALIVE: u16 = 25;

/// Where the vendor's clients try WireGuard when its usual port is silent,
pub(crate) const WIREGUARD_PORTS: [u16; 3] = [500, 1701, 4500];
/// and MASQUE over UDP.
const MASQUE_PORTS: [u16; 6] = [500, 1701, 4500, 4443, 8443, 8095];

/// The same host at these ports, as far as they are others than its own.
pub(crate) fn elsewhere(endpoint: SocketAddr, ports: &[u16]) -> Vec<SocketAddr> {
    let others = ports.iter().filter(|port| **port != endpoint.port());
    others.map(|port| SocketAddr::new(endpoint.ip(), *port)).collect()
}

/// What the tunnel travels over, with the keys for it.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Our key and the gateway's.
    WireGuard { private_key: PrivateKey, peer_public_key: PublicKey },
    /// Where to connect, and how.
    Masque(Box<MasqueGateway>),
}

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Generation {
    /// Over WireGuard.
    WireGuard(GenerationConfig),
    /// Over MASQUE.
    Masque(MasqueConfig),
}

impl Transport {
    /// The generation that answers order `swap_seq`. A receiver index is still to be drawn.
    pub(crate) fn generation(
        &self,
        (swap_seq, identity, policy): (u64, &str, &Arc<Policy>),
        endpoint: SocketAddr,
    ) -> Generation {
        let (id, identity, policy) = (GenerationId(swap_seq), identity.into(), Arc::clone(policy));
        match self {
            Self::WireGuard { private_key, peer_public_key } => Generation::WireGuard(GenerationConfig {
                id,
                swap_seq,
                identity,
                private_key: private_key.clone(),
                peer_public_key: *peer_public_key,
                preshared_key: None,
                endpoint: Some(endpoint),
                persistent_keepalive: Some(KEEPALIVE),
                policy,
                // The gateway never initiates, so there is no timestamp of its to remember.
                last_handshake: [0; 12],
                index: 0,
            }),
            Self::Masque(gateway) => {
                let end = MasqueEnd::Device(gateway.clone());
                Generation::Masque(MasqueConfig { id, swap_seq, identity, policy, end })
            }
        }
    }
}

/// A private key, and what the gateway knows it by.
pub(crate) enum TunnelKey {
    WireGuard(PrivateKey),
    /// P-256, with a certificate of its own.
    Masque {
        pair: KeyPair,
        certificate: CertificateDer<'static>,
    },
}

impl TunnelKey {
    pub(crate) fn fresh(protocol: TunnelProtocol) -> Result<Self, OrderError> {
        match protocol {
            TunnelProtocol::Wireguard => Ok(Self::WireGuard(fresh_key()?)),
            TunnelProtocol::Masque => {
                let pair = KeyPair::generate()?;
                let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&pair)?;
                Ok(Self::Masque { pair, certificate: certificate.der().clone() })
            }
        }
    }

    /// What the gateway is told.
    pub(crate) fn public(&self) -> Result<[u8; 32], OrderError> {
        match self {
            Self::WireGuard(key) => Ok(key.public().0),
            Self::Masque { certificate, .. } => Ok(tls::key_id(&tls::public_key(certificate)?)),
        }
    }

    /// The transport to the gateway that gave this answer.
    /// `reached_at`: where its calls are answered.
    pub(crate) fn transport(
        self,
        answer: &SwapResponse,
        reached_at: Vec<SocketAddr>,
        choice: HttpChoice,
    ) -> Result<Transport, OrderError> {
        let refuse = |expected, got: &str| OrderError::Answer { expected, got: got.to_owned() };
        match self {
            Self::WireGuard(private_key) => {
                let key = BASE64_STANDARD.decode(&answer.gateway_public_key).ok();
                let key: Option<[u8; 32]> = key.and_then(|key| key.try_into().ok());
                let wrong = || refuse("a public key of 32 bytes in base64", &answer.gateway_public_key);
                Ok(Transport::WireGuard { private_key, peer_public_key: PublicKey(key.ok_or_else(wrong)?) })
            }
            Self::Masque { pair, certificate } => {
                let offer = answer.masque.as_ref().ok_or_else(|| refuse("an offer of tunnels over MASQUE", "none"))?;
                let MasqueOffer { template, public_key, http2 } = offer;
                let wrong = |_| refuse("a public key in base64", public_key);
                let trust = tls::Trust::Keys(vec![BASE64_STANDARD.decode(public_key).map_err(wrong)?]);
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
                let identity = tls::Identity { chain: vec![certificate], key };
                let parsed = UriTemplate::parse(template).map_err(|_| refuse("an RFC 9484 template", template))?;
                Ok(Transport::Masque(Box::new(MasqueGateway {
                    address: answer.endpoint,
                    further: elsewhere(answer.endpoint, &MASQUE_PORTS),
                    http2: if *http2 { reached_at } else { Vec::new() },
                    choice,
                    server_name: host(parsed.authority()).to_owned(),
                    tls: Arc::new(tls::client(trust, Some(identity))?),
                    template: parsed,
                    credentials: Credentials::None,
                    addresses: answer.addresses.clone(),
                    asks: MasqueAsks::default(),
                })))
            }
        }
    }
}

/// An authority without its port.
fn host(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_ports_are_the_vendor_s_in_its_order() {
        let at = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        assert_eq!(elsewhere(at(2408), &WIREGUARD_PORTS), [at(500), at(1701), at(4500)]);
        let masque = [500, 1701, 4500, 4443, 8443, 8095].map(at);
        assert_eq!(elsewhere(at(443), &MASQUE_PORTS), masque);
        assert_eq!(elsewhere(at(4500), &WIREGUARD_PORTS), [at(500), at(1701)]);
    }

    #[test]
    fn an_authority_s_host_is_a_name_for_tls() {
        for (authority, expected) in [
            ("gateway.example:443", "gateway.example"),
            ("gateway.example", "gateway.example"),
            ("192.0.2.1:51820", "192.0.2.1"),
            ("[2001:db8::1]:51820", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(host(authority), expected);
            assert!(rustls::pki_types::ServerName::try_from(expected).is_ok());
        }
    }
}
