use crate::{
    api::device::{
        Changes, EnrolRequest, EnrolResponse, ErrorBody, Held, Nonce, PolicyDocument, RegistrationInfo,
        RegistrationStatus, SwapRequest, SwapResponse, TokenRequest, TokenResponse, enrol_message, swap_message,
    },
    api::{
        posture::{PostureReport, PostureSchedule},
        profile::{ProfileDocument, TunnelProtocol},
    },
    crypto::{random, sha256},
    daemon::remote::{Gateway, Proof, RemoteError, Secret},
    rules::{engine_policy, judged_by_the_gateway, non_identity_email},
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ipnet::IpNet;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;
use uuid::Uuid;
use vestibule_engine::{
    core::{Engine, EngineConfig, Event, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey, PublicKey},
    random::Seed,
};
use vestibule_platform::{
    adapter::memory::{MemoryHost, pair},
    runtime::{Handle, Worker},
    socket::memory::Hub,
};

/// The service token's id; its secret is `secret`.
pub(crate) const CLIENT_ID: &str = "0123.access";
const DEVICE: PeerId = PeerId(7);

/// A gateway for one device.
#[derive(Debug)]
pub(crate) struct TwinGateway {
    endpoint: SocketAddr,
    key: PrivateKey,
    handle: Handle,
    /// The intranet behind it.
    pub(crate) intranet: MemoryHost,
    commits: Arc<Mutex<Vec<u64>>>,
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    reachable: bool,
    token_refused: Option<&'static str>,
    nonces: Vec<String>,
    registrations: BTreeMap<Uuid, (RegistrationInfo, String, RegistrationStatus)>,
    device_key: Vec<u8>,
    highest: u64,
    /// What each order wanted to travel over.
    protocols: Vec<TunnelProtocol>,
    /// Codes that a login gave, with the mail they stand for.
    codes: BTreeMap<String, String>,
    assertions: BTreeMap<String, String>,
    users: Vec<String>,
    policy: PolicyDocument,
    profile: ProfileDocument,
    calls: Vec<&'static str>,
    swallow_handshakes: bool,
}

impl TwinGateway {
    pub(crate) fn start(hub: &Hub) -> Arc<Self> {
        let key = PrivateKey::new([7; 32]);
        let endpoint = SocketAddr::from(([192, 0, 2, 1], 51820));
        let config = EngineConfig::new(key.clone(), Seed::new([1; 32]), SystemTime::now());
        let (adapter, intranet) = pair(1024, 1420);
        let engine = Engine::new(config, Instant::now());
        let (handle, events) = Worker::spawn(engine, adapter, hub.bind(endpoint).unwrap(), "twin-gateway").unwrap();
        handle
            .with(|engine, _| engine.set_peer(DEVICE, PeerKind::Device, vec!["100.96.0.2/32".parse().unwrap()]))
            .unwrap();
        let commits = Arc::new(Mutex::new(Vec::new()));
        let noted = commits.clone();
        std::thread::spawn(move || {
            for event in events {
                if let Event::Committed { swap_seq, .. } = event {
                    noted.lock().unwrap().push(swap_seq);
                }
            }
        });
        let state = State {
            reachable: true,
            token_refused: None,
            nonces: Vec::new(),
            registrations: BTreeMap::new(),
            device_key: Vec::new(),
            highest: 0,
            protocols: Vec::new(),
            codes: BTreeMap::new(),
            assertions: BTreeMap::new(),
            users: vec!["alice@example.com".into(), "bob@example.com".into()],
            policy: judged_by_the_gateway(1),
            profile: ProfileDocument::default(),
            calls: Vec::new(),
            swallow_handshakes: false,
        };
        let version = watch::channel(1).0;
        Arc::new(Self { endpoint, key, handle, intranet, commits, state: Mutex::new(state), version })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn bump(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
        self.bump();
    }

    /// Reachable again, as after a restart: nothing has changed meanwhile, and nobody is told.
    pub(crate) fn come_back(&self) {
        self.state().reachable = true;
    }

    pub(crate) fn refuse_token(&self, code: Option<&'static str>) {
        self.state().token_refused = code;
    }

    /// Accepts orders, but its engine never learns of them.
    pub(crate) fn swallow_handshakes(&self, swallow: bool) {
        self.state().swallow_handshakes = swallow;
    }

    pub(crate) fn protocols(&self) -> Vec<TunnelProtocol> {
        self.state().protocols.clone()
    }

    pub(crate) fn forget_orders_below(&self, highest: u64) {
        self.state().highest = highest;
    }

    /// What a browser would get for a login: a code.
    pub(crate) fn login(&self, email: &str) -> String {
        let code = hex::encode(random::<8>().unwrap());
        self.state().codes.insert(code.clone(), email.to_owned());
        code
    }

    pub(crate) fn publish(&self, default_allow: bool) {
        let version = *self.version.borrow() + 1;
        {
            let policy = &mut self.state().policy;
            (policy.default_allow, policy.version) = (default_allow, version);
        }
        // Who waits for a change must find the whole of it.
        self.bump();
    }

    /// Gives the device another profile.
    pub(crate) fn set_profile(&self, profile: ProfileDocument) {
        self.state().profile = profile;
        self.bump();
    }

    /// What a device holds that has everything.
    pub(crate) fn held(&self) -> Held {
        let state = self.state();
        Held {
            since: state.policy.version,
            policy: Some(digest(&state.policy)),
            profile: Some(profile_digest(&state.profile)),
            posture: Some(0),
        }
    }

    pub(crate) fn end(&self, email: &str, status: RegistrationStatus) {
        for (info, _, current) in self.state().registrations.values_mut() {
            if info.email == email {
                *current = status;
            }
        }
        self.bump();
    }

    pub(crate) fn commits(&self) -> Vec<u64> {
        self.commits.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self, name: &str) -> usize {
        self.state().calls.iter().filter(|call| **call == name).count()
    }

    pub(crate) fn emails(&self) -> Vec<String> {
        let registrations = &self.state().registrations;
        let alive = registrations.values().filter(|(.., status)| *status == RegistrationStatus::Active);
        let mut emails: Vec<_> = alive.map(|(info, ..)| info.email.clone()).collect();
        emails.sort();
        emails
    }

    fn called(&self, name: &'static str) -> Result<(), RemoteError> {
        let mut state = self.state();
        state.calls.push(name);
        if state.reachable { Ok(()) } else { Err(unreachable()) }
    }

    fn registration(&self, bearer: &Secret) -> Result<(RegistrationInfo, RegistrationStatus), RemoteError> {
        let state = self.state();
        let mut found = state.registrations.values().filter(|(_, token, _)| token == bearer.expose());
        found
            .next()
            .map(|(info, _, status)| (info.clone(), *status))
            .ok_or_else(|| refused(401, "registration_deleted", None))
    }
}

fn digest(policy: &PolicyDocument) -> String {
    format!("{} {:?}", policy.default_allow, policy.rules)
}

fn profile_digest(profile: &ProfileDocument) -> String {
    format!("{profile:?}")
}

fn unreachable() -> RemoteError {
    RemoteError::Unreachable { gateway: "twin".into(), cause: "connection refused".into() }
}

fn refused(status: u16, code: &str, swap_seq: Option<u64>) -> RemoteError {
    RemoteError::Refused {
        status,
        body: ErrorBody { code: code.into(), message: "refused by the twin".into(), swap_seq },
    }
}

fn verify(key: &[u8], message: &[u8], signature: &str) {
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(message, &signature)
        .expect("the device key's signature");
}

fn key(text: &str) -> [u8; 32] {
    BASE64_STANDARD.decode(text).unwrap().try_into().unwrap()
}

impl Gateway for TwinGateway {
    fn address(&self) -> String {
        "twin".into()
    }

    async fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.endpoint]
    }

    fn login_address(
        &self,
        organization: &str,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
        _: bool,
    ) -> String {
        format!("twin:{organization}|{redirect_uri}|{state}|{code_challenge}")
    }

    async fn nonce(&self) -> Result<Nonce, RemoteError> {
        self.called("nonce")?;
        let nonce = BASE64_STANDARD.encode(random::<32>().unwrap());
        self.state().nonces.push(nonce.clone());
        Ok(Nonce { nonce })
    }

    async fn enrol(&self, proof: &Proof, request: &EnrolRequest) -> Result<EnrolResponse, RemoteError> {
        self.called("enrol")?;
        let mut state = self.state();
        let used = state.nonces.iter().position(|nonce| *nonce == request.nonce).expect("a nonce of ours, once");
        state.nonces.remove(used);
        let device_key = BASE64_STANDARD.decode(&request.device_public_key).unwrap();
        let nonce = BASE64_STANDARD.decode(&request.nonce).unwrap();
        verify(&device_key, &enrol_message(&nonce, &key(&request.tunnel_public_key)), &request.signature);
        let (email, service_token) = match proof {
            Proof::ServiceToken { client_id, client_secret } => {
                if let Some(code) = state.token_refused {
                    return Err(refused(401, code, None));
                }
                if client_id != CLIENT_ID || client_secret.expose() != "secret" {
                    return Err(refused(401, "token_unknown", None));
                }
                (non_identity_email(&request.organization), true)
            }
            Proof::Assertion(assertion) => {
                let email = state.assertions.remove(assertion.expose()).expect("an assertion of ours, once");
                if !state.users.contains(&email) {
                    return Err(refused(403, "enrolment_denied", None));
                }
                (email, false)
            }
        };
        let registration = RegistrationInfo {
            id: Uuid::new_v4(),
            organization: request.organization.clone(),
            device_id: hex::encode(sha256(&device_key)),
            email,
            service_token,
        };
        let token = hex::encode(random::<16>().unwrap());
        state.device_key = device_key;
        let entry = (registration.clone(), token.clone(), RegistrationStatus::Active);
        state.registrations.insert(registration.id, entry);
        Ok(EnrolResponse { registration, token, addresses: vec!["100.96.0.2/32".parse().unwrap()] })
    }

    async fn delete(&self, registration: Uuid, bearer: &Secret) -> Result<(), RemoteError> {
        self.called("delete")?;
        let (info, _) = self.registration(bearer)?;
        assert_eq!(info.id, registration);
        self.state().registrations.remove(&registration);
        self.bump();
        Ok(())
    }

    async fn swap(&self, bearer: &Secret, request: &SwapRequest) -> Result<SwapResponse, RemoteError> {
        self.called("swap")?;
        let (info, status) = self.registration(bearer)?;
        match status {
            RegistrationStatus::Active => {}
            RegistrationStatus::Revoked => return Err(refused(403, "registration_revoked", None)),
            RegistrationStatus::Deleted => return Err(refused(401, "registration_deleted", None)),
        }
        assert_eq!(info.id, request.registration);
        let (policy, profile, swallow) = {
            let mut state = self.state();
            let tunnel = key(&request.tunnel_public_key);
            verify(
                &state.device_key,
                &swap_message(request.swap_seq, &request.registration, &tunnel, request.tunnel_protocol),
                &request.signature,
            );
            if request.swap_seq <= state.highest {
                return Err(refused(409, "swap_seq_stale", Some(state.highest)));
            }
            state.highest = request.swap_seq;
            state.protocols.push(request.tunnel_protocol);
            (state.policy.clone(), state.profile.clone(), state.swallow_handshakes)
        };
        if !swallow {
            let config = GenerationConfig {
                id: GenerationId(request.swap_seq),
                swap_seq: request.swap_seq,
                identity: info.email.as_str().into(),
                private_key: self.key.clone(),
                peer_public_key: PublicKey(key(&request.tunnel_public_key)),
                preshared_key: None,
                endpoint: None,
                persistent_keepalive: None,
                policy: Arc::new(engine_policy(&policy)),
                last_handshake: [0; 12],
                index: u32::try_from(request.swap_seq).unwrap(),
            };
            self.handle.with(move |engine, now| engine.prepare(DEVICE, config, now)).unwrap().unwrap();
        }
        let routes: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        Ok(SwapResponse {
            gateway_public_key: BASE64_STANDARD.encode(self.key.public().0),
            endpoint: self.endpoint,
            masque: None,
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            routes,
            mtu: 1420,
            policy_digest: digest(&policy),
            policy_version: policy.version,
            policy: Some(policy),
            profile_digest: profile_digest(&profile),
            profile: Some(profile),
            posture: PostureSchedule::default(),
        })
    }

    async fn changes(&self, bearer: &Secret, held: &Held) -> Result<Changes, RemoteError> {
        let mut version = self.version.subscribe();
        loop {
            self.called("changes")?;
            let (_, registration) = self.registration(bearer)?;
            let now = *version.borrow_and_update();
            let waited = match now != held.since {
                true => Ok(()),
                false => tokio::time::timeout(Duration::from_secs(25), version.changed()).await.map(drop),
            };
            if now != held.since || waited.is_err() {
                let state = self.state();
                let (policy, profile) = (digest(&state.policy), profile_digest(&state.profile));
                return Ok(Changes {
                    version: now,
                    registration,
                    policy: (held.policy.as_ref() != Some(&policy)).then(|| state.policy.clone()),
                    policy_digest: Some(policy),
                    profile: (held.profile.as_ref() != Some(&profile)).then(|| state.profile.clone()),
                    profile_digest: Some(profile),
                    posture: PostureSchedule::default(),
                });
            }
        }
    }

    async fn posture(&self, bearer: &Secret, _report: &PostureReport) -> Result<PostureSchedule, RemoteError> {
        self.called("posture")?;
        self.registration(bearer)?;
        Ok(PostureSchedule::default())
    }

    async fn trade(&self, request: &TokenRequest) -> Result<TokenResponse, RemoteError> {
        self.called("trade")?;
        let mut state = self.state();
        let email = state.codes.remove(&request.code).ok_or_else(|| refused(400, "code_unknown", None))?;
        let assertion = hex::encode(random::<8>().unwrap());
        state.assertions.insert(assertion.clone(), email.clone());
        Ok(TokenResponse { assertion, email })
    }
}
