//! What all parts of the gateway share, and the steps that touch several of them.

use super::access::Authorities;
use super::book::Book;
use super::dataplane::{DataPlane, DataPlaneError, Owner, Tunnel};
use super::device::Nonces;
use super::hub::Hub;
use super::login::Login;
use super::posture::PostureRules;
use super::profiles::Profiles;
use super::store::{Order, Registration, Store, StoreError};
use super::tls::Tls;
use super::{PlainPeer, clock, dataplane};
use crate::api::profile::TunnelProtocol;
use crate::crypto::sha256;
use crate::rules::{Subject, access_domain};
use ipnet::{IpNet, Ipv4Net};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::{Mutex, MutexGuard, Notify};
use vestibule_engine::core::PeerId;

/// What does not change while the gateway runs.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) organization: String,
    pub(super) account_id: String,
    /// Where devices send datagrams; an unspecified address means "where you reached the API".
    pub(super) endpoint: SocketAddr,
    /// The certificate's key, for tunnels over MASQUE: DER of SubjectPublicKeyInfo, base64.
    pub(super) masque_public_key: String,
    pub(super) addresses: Ipv4Net,
    pub(super) routes: Vec<IpNet>,
    pub(super) mtu: u16,
    /// SHA-256 of the administrator's bearer token.
    pub(super) admin_token_hash: [u8; 32],
}

/// The gateway.
pub(super) struct App {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) hub: Hub,
    pub(super) plane: DataPlane,
    pub(super) tls: Tls,
    pub(super) nonces: Nonces,
    pub(super) login: Login,
    pub(super) started: Instant,
    /// Held across "write, then steer": store and engine never disagree about who may send.
    pub(super) steering: Mutex<()>,
    /// Held by administrators' writes: "look, then write" is one step.
    pub(super) administration: Mutex<()>,
    /// Held by an administrator's change of one thing from before it looks to after it wrote.
    pub(super) turns: Turns,
    book: RwLock<Arc<Book>>,
    profiles: RwLock<Arc<Profiles>>,
    posture: RwLock<Arc<PostureRules>>,
    authorities: RwLock<Arc<Authorities>>,
    /// A result was written that may expire sooner than the others.
    pub(super) posture_timer: Notify,
}

/// Changes of one thing wait for each other; those of different things hardly ever do.
pub(super) struct Turns([Mutex<()>; 64]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// The turn at the thing of that name.
    pub(super) async fn at(&self, thing: &str) -> MutexGuard<'_, ()> {
        let bucket = usize::from(sha256(thing.as_bytes())[0]) % self.0.len();
        self.0[bucket].lock().await
    }
}

/// A step that needs the store and the engine.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
}

/// What becomes of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Revoked,
    Restored,
    Deleted,
}

impl App {
    pub(super) fn new(
        settings: Settings,
        store: Store,
        book: Book,
        (profiles, posture): (Profiles, PostureRules),
        (tls, authorities): (Tls, Authorities),
        plane: DataPlane,
    ) -> Self {
        Self {
            hub: Hub::new(),
            nonces: Nonces::default(),
            login: Login::new(),
            started: Instant::now(),
            steering: Mutex::default(),
            administration: Mutex::default(),
            turns: Turns::default(),
            book: RwLock::new(Arc::new(book)),
            profiles: RwLock::new(Arc::new(profiles)),
            posture: RwLock::new(Arc::new(posture)),
            authorities: RwLock::new(Arc::new(authorities)),
            tls,
            posture_timer: Notify::new(),
            settings,
            store,
            plane,
        }
    }

    /// The rules as they are now.
    pub(super) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The device profiles as they are now.
    pub(super) fn profiles(&self) -> Arc<Profiles> {
        Arc::clone(&self.profiles.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The posture rules as they are now.
    pub(super) fn posture(&self) -> Arc<PostureRules> {
        Arc::clone(&self.posture.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_posture(&self, rules: Arc<PostureRules>) {
        *self.posture.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// The authorities whose client certificates count at enrolment.
    pub(super) fn authorities(&self) -> Arc<Authorities> {
        Arc::clone(&self.authorities.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After a change of authorities on disk: from the next connection on the new ones are asked for, and the next
    /// enrolment is judged by them.
    pub(super) async fn authorities_changed(&self) -> Result<(), StoreError> {
        let rows = self.store.certificates().await?;
        let authorities = Authorities::read(&rows, &access_domain(&self.settings.organization));
        self.tls.ask_for(&authorities);
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
        tracing::info!("certificate authorities changed");
        Ok(())
    }

    /// After a change of profiles on disk: every device is told of its own.
    pub(super) async fn profiles_changed(&self) -> Result<(), StoreError> {
        self.load_profiles().await?;
        self.hub.all_changed();
        tracing::info!("device profiles changed");
        Ok(())
    }

    async fn load_profiles(&self) -> Result<(), StoreError> {
        let profiles = Arc::new(Profiles::load(&self.store).await?);
        *self.profiles.write().unwrap_or_else(PoisonError::into_inner) = profiles;
        Ok(())
    }

    /// After a change of rules on disk: everybody judges by the new ones when this returns. Calls that wait for each other
    /// are served together: whoever comes first publishes for all whose changes are on disk by then.
    pub(super) async fn rules_changed(&self) -> Result<(), StepError> {
        let wanted = self.store.current_organisation().await?.policy_version.unsigned_abs();
        let _steering = self.steering.lock().await;
        let known = self.book();
        if known.version() >= wanted {
            return Ok(());
        }
        if self.profiles().name_lists() {
            self.load_profiles().await?;
        }
        let book = Arc::new(known.turned(&self.store).await?);
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&book);
        let version = book.version();
        let published = self.plane.publish(|_| true, |subject| Arc::clone(&book.compiled(subject).policy)).await;
        self.hub.all_changed();
        tracing::info!(version, "rules changed");
        Ok(published?)
    }

    /// After a change of what is known of devices (their posture, their system, their users' groups): their generations
    /// are judged by the rules for what is known now, and they are told.
    pub(super) async fn subjects_changed(&self, devices: &[String]) -> Result<(), StepError> {
        if devices.is_empty() {
            return Ok(());
        }
        let _steering = self.steering.lock().await;
        let now = clock::now();
        let mut registrations = BTreeSet::new();
        for device in devices {
            registrations.extend(self.plane.registrations_of(device));
        }
        for registration in &registrations {
            if let Some(subject) = self.store.subject(registration, now).await? {
                self.plane.set_subject(registration, &subject);
            }
        }
        let book = self.book();
        let concerned =
            |tunnel: &Tunnel| tunnel.owner.as_ref().is_some_and(|owner| registrations.contains(&owner.registration));
        let published = self.plane.publish(concerned, |subject| Arc::clone(&book.compiled(subject).policy)).await;
        self.hub.devices_changed(devices);
        Ok(published?)
    }

    /// Changes a registration's standing: on disk, then at the engine, then the device is told. False when there is no
    /// such registration.
    pub(super) async fn set_standing(
        &self,
        registration: &Registration,
        standing: Standing,
        by: &'static str,
    ) -> Result<bool, StepError> {
        let now = clock::now();
        let _steering = self.steering.lock().await;
        let id = &registration.id;
        let (done, kind) = match standing {
            Standing::Deleted => (self.store.delete_registration(id, now).await?, "delete"),
            Standing::Revoked => (self.store.revoke_registration(id, Some(now), now).await?, "revoke"),
            Standing::Restored => (self.store.revoke_registration(id, None, now).await?, "unrevoke"),
        };
        if !done {
            return Ok(false);
        }
        if standing != Standing::Restored {
            // Also what an earlier registration of the same device and identity left behind when it was replaced.
            let ended = |tunnel: &Tunnel| {
                tunnel.owner.as_ref().is_some_and(|owner| {
                    owner.registration == *id
                        || (owner.device_id == registration.device_id
                            && tunnel.subject.email().eq_ignore_ascii_case(&registration.email))
                })
            };
            self.plane.retire(ended).await?;
        }
        self.hub.registration_changed(id);
        tracing::info!(registration = %id, kind, by, "registration changed");
        let about = (id, registration.device_id.as_str(), registration.email.as_str());
        if let Err(error) = self.store.audit(kind, Some(about), Some(by), now).await {
            tracing::error!(error = crate::causes::chain(&error), "an audit entry is lost");
        }
        Ok(true)
    }

    /// Takes up the stored orders and the configured plain peers after a start, so that a device whose gateway was
    /// restarted handshakes again under the keys it has.
    pub(super) async fn restore(&self, plain: &[PlainPeer]) -> Result<(), StepError> {
        let now = clock::now();
        let book = self.book();
        for order in self.store.standing_orders().await? {
            let device = order.device.id.clone();
            let Some(subject) = self.store.subject(&order.registration, now).await? else { continue };
            let rules = book.compiled(&subject);
            match self.plane.prepare(tunnel_of(order, subject), &rules.policy, now).await {
                Err(error @ DataPlaneError::Stopped(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%device, error = crate::causes::chain(&error), "an order is not taken up")
                }
                Ok(()) => tracing::debug!(%device, "order taken up"),
            }
        }
        for (position, peer) in plain.iter().enumerate() {
            let subject = Subject::with_email(peer.identity());
            let last_handshake = self.store.handshake(&peer.key).await?.map(|(timestamp, _)| timestamp);
            let rules = book.compiled(&subject);
            let tunnel = Tunnel {
                peer: dataplane::plain_peer(position),
                owner: None,
                subject,
                swap_seq: 1,
                tunnel_key: peer.key,
                protocol: TunnelProtocol::Wireguard,
                addresses: peer.addresses.clone(),
                endpoint: peer.endpoint,
                last_handshake: last_handshake.unwrap_or_default(),
            };
            self.plane.prepare(tunnel, &rules.policy, now).await?;
        }
        Ok(())
    }
}

/// The whole of a device's inner addresses.
pub(super) fn inner(address: Ipv4Addr) -> Vec<IpNet> {
    vec![IpNet::from(std::net::IpAddr::V4(address))]
}

/// What the engine is told of an order.
pub(super) fn tunnel_of(order: Order, subject: Subject) -> Tunnel {
    Tunnel {
        peer: PeerId(order.device.peer),
        addresses: inner(order.device.address),
        owner: Some(Owner { device_id: order.device.id, registration: order.registration }),
        subject,
        swap_seq: order.swap_seq,
        tunnel_key: order.tunnel_key,
        protocol: order.protocol,
        endpoint: None,
        last_handshake: order.last_handshake,
    }
}
