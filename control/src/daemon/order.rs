//! The order to swap: fresh tunnel keys under a `swap_seq` above every earlier one, stored before it is sent.

use super::{
    device_key::DeviceKeyError,
    enrol::Device,
    held::HeldPolicies,
    posture,
    remote::{Gateway, Meaning, RemoteError, Secret},
    settings::HeldProfiles,
    store::{Store, StoreError},
    ways::Ways,
};
use crate::{
    api::{
        device::{Held, SwapRequest, SwapResponse, swap_message},
        profile::{ProfileDocument, TunnelProtocol},
    },
    crypto::RandomError,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
pub(crate) use transport::{Generation, Transport, TunnelKey, WIREGUARD_PORTS, elsewhere};
use uuid::Uuid;
use vestibule_engine::{generation::HttpChoice, policy::Policy};

mod transport;

/// Orders sent before a gateway that always knows a greater number is given up.
const ATTEMPTS: usize = 5;

/// Why a swap could not be ordered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OrderError {
    /// The gateway is away or said no.
    #[error("the order to swap failed")]
    Remote(#[from] RemoteError),
    /// `swap_seq` could not be stored, and an order that may be forgotten is not sent.
    #[error("the order to swap was not sent")]
    Store(#[from] StoreError),
    /// The gateway's answer cannot be used.
    #[error("the gateway's answer to the order to swap: expected {expected}, got {got}")]
    Answer {
        /// What should have come.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// No key could be made for a tunnel.
    #[error("no certificate could be made for the tunnel")]
    Certificate(#[from] rcgen::Error),
    /// What the tunnel's TLS is made of does not fit.
    #[error("the tunnel's TLS settings")]
    Tls(#[from] rustls::Error),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The device key failed.
    #[error(transparent)]
    Key(#[from] DeviceKeyError),
}

impl OrderError {
    /// What the gateway's refusal means; [`Meaning::Other`] when it was none.
    #[must_use]
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Self::Remote(error) => error.meaning(),
            _ => Meaning::Other,
        }
    }
}

/// An accepted order.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its number; the generation has the same.
    pub(crate) swap_seq: u64,
    /// What the tunnel travels over, with the keys for it.
    pub(crate) transport: Transport,
    /// Where the gateway is: never through the tunnel.
    pub(crate) bypass: Vec<IpAddr>,
    /// The rules of the identity.
    pub(crate) policy: Arc<Policy>,
    /// The profile of the registration.
    pub(crate) profile: Arc<ProfileDocument>,
    /// What the tunnel was to travel over. A gateway that does not know it gives another.
    pub(crate) wished: TunnelProtocol,
    /// All else the gateway said.
    pub(crate) answer: SwapResponse,
}

impl Order {
    /// What the device holds of it.
    #[must_use]
    pub(crate) fn held(&self) -> Held {
        Held {
            since: self.answer.policy_version,
            policy: Some(self.answer.policy_digest.clone()),
            profile: Some(self.answer.profile_digest.clone()),
            posture: Some(self.answer.posture.every.unwrap_or(0)),
        }
    }

    /// The generation that answers it. A receiver index is still to be drawn.
    #[must_use]
    pub(crate) fn generation(&self, identity: &str) -> Generation {
        self.transport.generation((self.swap_seq, identity, &self.policy), self.answer.endpoint)
    }
}

/// What this device wants of its tunnels.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    /// Its adapter's MTU in bytes.
    pub(crate) adapter_mtu: u16,
    /// What the MDM file says, whatever a profile does.
    pub(crate) protocol: Option<TunnelProtocol>,
    /// Which versions of HTTP are tried for MASQUE.
    pub(crate) http: Arc<Ways>,
}

/// Orders a swap to `registration`.
///
/// # Errors
/// See [`OrderError`].
pub(crate) async fn order(
    gateway: &impl Gateway,
    device: &Device,
    store: &Store,
    (held, profiles): (&HeldPolicies, &HeldProfiles),
    registration: Uuid,
    bearer: &Secret,
    Wishes { adapter_mtu, protocol: forced, http }: Wishes,
) -> Result<Order, OrderError> {
    let mut attempts = 0;
    let mut protocol = forced.or(profiles.protocol(registration)).unwrap_or_default();
    loop {
        let swap_seq = store.next_swap_seq()?;
        let key = TunnelKey::fresh(protocol)?;
        let public = key.public()?;
        let request = SwapRequest {
            swap_seq,
            registration,
            tunnel_public_key: BASE64_STANDARD.encode(public),
            tunnel_protocol: protocol,
            signature: device.key.sign(&swap_message(swap_seq, &registration, &public, protocol)).await?,
            policy_held: held.digest(registration),
            profile_held: profiles.digest(registration),
            posture: Some(posture::report()),
        };
        attempts += 1;
        match gateway.swap(bearer, &request).await {
            Ok(mut answer) => {
                let rules = held.take(registration, answer.policy.take(), &answer.policy_digest);
                let profile = profiles.take(registration, answer.profile.take(), &answer.profile_digest);
                let (Some((policy_version, policy)), Some(profile)) = (rules, profile) else {
                    let got = "neither, for what this device does not hold".to_owned();
                    return Err(OrderError::Answer {
                        expected: "rules and profile, or the digests of those held",
                        got,
                    });
                };
                // A change that left these rules alone is no news of them.
                answer.policy_version = answer.policy_version.max(policy_version);
                // The profile may have come with this answer, and a gateway may not know MASQUE.
                let wished = forced.unwrap_or(profile.settings.tunnel_protocol);
                let wanted = if answer.masque.is_some() { wished } else { TunnelProtocol::Wireguard };
                if wanted != protocol && attempts < ATTEMPTS {
                    tracing::info!(?wanted, "ordering again for the tunnel protocol");
                    protocol = wanted;
                    continue;
                }
                let addresses = gateway.addresses().await;
                let http = http.choice(addresses.first());
                return accept(swap_seq, key, (policy, profile, wished), answer, (addresses, http), adapter_mtu);
            }
            Err(error) => match error.meaning() {
                Meaning::SwapSeqStale(seen) if attempts < ATTEMPTS => {
                    tracing::warn!(ours = swap_seq, seen, "the gateway knows a later order: going on above it");
                    store.raise_swap_seq(seen)?;
                }
                _ => return Err(error.into()),
            },
        }
    }
}

fn accept(
    swap_seq: u64,
    key: TunnelKey,
    (policy, profile, wished): (Arc<Policy>, Arc<ProfileDocument>, TunnelProtocol),
    mut answer: SwapResponse,
    (reached_at, http): (Vec<SocketAddr>, HttpChoice),
    adapter_mtu: u16,
) -> Result<Order, OrderError> {
    let refuse = |expected, got| Err(OrderError::Answer { expected, got });
    if answer.addresses.is_empty() {
        return refuse("at least one inner address", "none".into());
    }
    if answer.mtu < adapter_mtu {
        let got = format!("{} (start the service with `--mtu {}`)", answer.mtu, answer.mtu);
        return refuse("an inner MTU that is not below the adapter's", got);
    }
    // A gateway that listens everywhere is where it was reached.
    if answer.endpoint.ip().is_unspecified() {
        match reached_at.first() {
            Some(address) => answer.endpoint.set_ip(address.ip()),
            None => return refuse("an endpoint, or a gateway whose name resolves", answer.endpoint.to_string()),
        }
    }
    let mut bypass: Vec<_> = reached_at.iter().map(SocketAddr::ip).chain([answer.endpoint.ip()]).collect();
    bypass.sort_unstable();
    bypass.dedup();
    let transport = key.transport(&answer, reached_at, http)?;
    Ok(Order { swap_seq, transport, bypass, policy, profile, wished, answer })
}
