//! Starting and stopping a gateway.

use super::access::Authorities;
use super::app::{App, Settings};
use super::book::Book;
use super::dataplane::DataPlane;
use super::facts::Facts;
use super::files::Directory;
use super::posture::{self, PostureRules};
use super::profiles::Profiles;
use super::secret::{self, id};
use super::store::Store;
use super::tls::Tls;
use super::{GatewayError, Options, admin, clock, device, events, expiring, host, inactivity, login, revocation};
use crate::crypto::{install_provider, random, sha256};
use crate::rules::access_domain;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioTimer;
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use vestibule_engine::core::{Engine, EngineConfig, MasqueServer};
use vestibule_engine::generation::PrivateKey;
use vestibule_engine::masque::request::UriTemplate;
use vestibule_engine::random::Seed;
use vestibule_platform::carrier;
use vestibule_platform::netcfg::Applied;
use vestibule_platform::service::EndRequests;
use zeroize::Zeroizing;

/// Files of the data directory.
const ADMIN_TOKEN: &str = "admin-token";
const TUNNEL_KEY: &str = "tunnel-key";
const FACTS: &str = "gateway.json";
/// Flows held at once.
const MAX_FLOWS: usize = 1_048_576;
/// How long requests under way may take when the gateway ends.
const GRACE: Duration = Duration::from_secs(1);
/// How long a caller may take for the head of a request, and a connection may idle between two.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);
/// Deleted registrations are remembered for 30 days, handshakes of forgotten keys for a day.
const TOMBSTONE_LIFE: i64 = 30 * 86_400_000;
const HANDSHAKE_LIFE: i64 = 86_400_000;
const MAINTENANCE: Duration = Duration::from_secs(3600);

/// A running gateway.
pub struct Gateway {
    facts: Facts,
    app: Arc<App>,
    server: axum_server::Handle<SocketAddr>,
    serving: JoinHandle<std::io::Result<()>>,
    tunnelling: JoinHandle<()>,
    following: JoinHandle<()>,
    maintaining: JoinHandle<()>,
    expiring: JoinHandle<()>,
    revoking: JoinHandle<()>,
    host: Option<Applied>,
}

/// Runs a gateway until the process is interrupted, or its packet worker stops.
///
/// # Errors
/// It does not start (see [`GatewayError`]), or its worker or HTTPS server fails.
pub async fn run(options: Options) -> Result<(), GatewayError> {
    let json = options.json;
    let mut end_requests = EndRequests::listen();
    let mut gateway = Gateway::start(options).await?;
    if json {
        println!("{}", serde_json::to_string(gateway.facts()).unwrap_or_default());
    } else {
        println!("{}", gateway.facts());
    }
    let outcome = tokio::select! {
        () = end_requests.received() => Ok(()),
        error = gateway.failed() => Err(error),
    };
    gateway.shutdown().await;
    outcome
}

impl Gateway {
    /// Starts a gateway: opens its store, its data plane and its HTTPS port.
    ///
    /// # Errors
    /// A file, a port, the tunnel or an option is not as it must be.
    pub async fn start(mut options: Options) -> Result<Self, GatewayError> {
        install_provider();
        if let Ok(absolute) = std::path::absolute(&options.data) {
            options.data = absolute;
        }
        let directory = Directory::open(options.data.clone())?;
        let store = Store::open(&directory.private("vestibule.db")?).await?;
        let made = store.organisation(&options.organization, &id()?, &uuid(), clock::now()).await?;
        if !made.name.eq_ignore_ascii_case(&options.organization) {
            return Err(GatewayError::OtherOrganization { stored: made.name, asked: options.organization });
        }
        prune(&store, &plain_keys(&options)).await;
        let book = Book::load(&store).await?;
        let profiles = Profiles::load(&store).await?;
        let posture = PostureRules::load(&store).await?;
        let admin_token_file = directory.path(ADMIN_TOKEN);
        let admin_token = directory.secret_to_read(ADMIN_TOKEN, || {
            Ok(Zeroizing::new(format!("{}\n", secret::plain()?.expose()).into_bytes()))
        })?;
        let private_key = tunnel_key(&directory)?;
        let domain = access_domain(&made.name);
        let authorities = Authorities::read(&store.certificates().await?, &domain);
        let (tls, certificate) = Tls::open(&options, &authorities)?;
        let asked = options.https;
        let listening = |cause| GatewayError::Listen { address: asked, cause };
        let listener = TcpListener::bind(options.https).map_err(listening)?;
        let https = listener.local_addr().map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        // It comes back when the gateway stands.
        directory.remove(FACTS)?;

        let masque = masque(certificate.masque)?;
        let (tunnels, mut requests) =
            carrier::Server::new(Arc::clone(&masque.tls), masque.templates.clone(), carrier::ServerSettings::default())
                .map_err(|cause| GatewayError::Tunnel { step: "the thread for tunnels over HTTP/2", cause })?;
        let engine = engine(&private_key, masque)?;
        let counters = engine.counters();
        let address = gateway_address(options.addresses)?;
        let host::Started { options, worker, events, tunnel, host } = host::start(options, engine, address).await?;
        let endpoint = options.advertise.unwrap_or(tunnel);
        let routes =
            if options.routes.is_empty() { vec![IpNet::V4(options.addresses)] } else { options.routes.clone() };
        let settings = Settings {
            masque_public_key: STANDARD.encode(&certificate.public_key),
            organization: made.name.clone(),
            account_id: made.account_id.clone(),
            endpoint,
            addresses: options.addresses,
            routes,
            mtu: options.mtu,
            admin_token_hash: sha256(admin_token.trim_ascii()),
        };
        let facts = Facts {
            organization: made.name,
            account_id: made.account_id,
            https,
            url: url(https),
            certificate_sha256: certificate.pin,
            endpoint,
            tunnel_public_key: STANDARD.encode(private_key.public().0),
            address: IpNet::from(IpAddr::V4(address)),
            admin_token_file,
            pid: std::process::id(),
        };
        let app = Arc::new(App::new(
            settings,
            store,
            book,
            (profiles, posture),
            (tls, authorities),
            DataPlane::new(worker, private_key, counters),
        ));
        let thread = |cause| GatewayError::Tunnel { step: "the thread for events", cause };
        let following = tokio::spawn(events::follow(Arc::clone(&app), events::bridge(events).map_err(thread)?));
        app.restore(&options.plain_peers).await.map_err(step)?;
        let server = axum_server::Handle::new();
        let service = router(Arc::clone(&app)).into_make_service();
        let mut https_server =
            axum_server::from_tcp(listener).map_err(listening)?.acceptor(app.tls.acceptor(Arc::new(tunnels)));
        // Whoever connects and says nothing does not stay.
        https_server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
        let plane = Arc::clone(&app);
        let tunnelling = tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                // A worker that has stopped ends the gateway.
                let _ = plane.plane.request(request);
            }
        });
        let serving = tokio::spawn(https_server.handle(server.clone()).serve(service));
        let maintaining = tokio::spawn(maintain(app.store.clone(), plain_keys(&options)));
        let expiring = tokio::spawn(posture::expire(Arc::clone(&app)));
        let revoking = tokio::spawn(revocation::follow(Arc::clone(&app)));
        let json = serde_json::to_vec_pretty(&facts).unwrap_or_default();
        directory.write(FACTS, &json)?;
        Ok(Self { facts, app, server, serving, following, tunnelling, maintaining, expiring, revoking, host })
    }

    /// What scripts need to know of it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What its parts share.
    #[cfg(test)]
    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// Waits until something failed that the gateway cannot live without.
    pub async fn failed(&mut self) -> GatewayError {
        let stopped = async {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                if let Some(reason) = self.app.plane.outcome() {
                    return GatewayError::Worker(reason);
                }
            }
        };
        tokio::select! {
            error = stopped => error,
            served = &mut self.serving => {
                let cause = served.map_err(std::io::Error::other).and_then(|served| served);
                let cause = cause.err().unwrap_or_else(|| std::io::Error::other("the server ended by itself"));
                GatewayError::Listen { address: self.facts.https, cause }
            }
        }
    }

    /// Ends it: requests under way get a moment, the worker stops, the store is written out.
    pub async fn shutdown(mut self) {
        self.tunnelling.abort();
        self.maintaining.abort();
        self.expiring.abort();
        self.revoking.abort();
        self.server.graceful_shutdown(Some(GRACE));
        if !self.serving.is_finished() {
            let _ = (&mut self.serving).await;
        }
        let (app, host) = (Arc::clone(&self.app), self.host.take());
        // Joins a thread and speaks to the kernel.
        let stopped = tokio::task::spawn_blocking(move || {
            app.plane.stop();
            host.map_or(Ok(()), Applied::revert)
        });
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(error = crate::causes::chain(&error), "the host's network is not as it was");
        }
        // Ends when the worker's last events are written; not for ever if the disk is full.
        let _ = tokio::time::timeout(GRACE * 2, &mut self.following).await;
        self.app.store.close().await;
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .nest("/vestibule/v1", device::router())
        .nest("/client/v4", admin::router(Arc::clone(&app)))
        .merge(login::router())
        .fallback(|| async { StatusCode::NOT_FOUND })
        .with_state(app)
}

/// Carries a call out to its end, also when the caller hangs up: a write and the steps after it belong together.
pub(super) async fn to_the_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a call ended badly");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn step(error: super::app::StepError) -> GatewayError {
    use super::app::StepError;
    use super::dataplane::DataPlaneError;
    match error {
        StepError::Store(error) => error.into(),
        StepError::DataPlane(DataPlaneError::Stopped(stopped)) => stopped.into(),
        StepError::DataPlane(error) => GatewayError::Tunnel { step: "a peer", cause: std::io::Error::other(error) },
    }
}

/// What tunnels over MASQUE are served with.
fn masque(tls: Arc<rustls::ServerConfig>) -> Result<MasqueServer, GatewayError> {
    // Only the path counts: where the gateway is, devices know.
    let template = UriTemplate::well_known("gateway.invalid").map_err(std::io::Error::other);
    let template = template.map_err(|cause| GatewayError::Tunnel { step: "MASQUE", cause })?;
    Ok(MasqueServer { tls, templates: vec![template] })
}

/// An engine for tunnels of both protocols.
fn engine(private_key: &PrivateKey, server: MasqueServer) -> Result<Engine, GatewayError> {
    let seed = Seed::new(random()?);
    let config = EngineConfig {
        max_flows: MAX_FLOWS,
        ..EngineConfig::new(private_key.clone(), seed, std::time::SystemTime::now())
    };
    let now = std::time::Instant::now();
    let mut engine = Engine::new(config, now);
    let served = engine.serve_masque(server, now).map_err(std::io::Error::other);
    served.map_err(|cause| GatewayError::Tunnel { step: "MASQUE", cause })?;
    Ok(engine)
}

/// The tunnel's static key: a secret file of its own, not the database.
fn tunnel_key(directory: &Directory) -> Result<PrivateKey, GatewayError> {
    let text = directory.secret(TUNNEL_KEY, || {
        let bytes = Zeroizing::new(random::<32>()?);
        Ok(Zeroizing::new(format!("{}\n", STANDARD.encode(bytes.as_slice())).into_bytes()))
    })?;
    let decoded = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new).ok();
    let key: Option<[u8; 32]> = decoded.and_then(|bytes| bytes.as_slice().try_into().ok());
    key.map(PrivateKey::new).ok_or_else(|| GatewayError::Content {
        path: directory.path(TUNNEL_KEY),
        expected: "a WireGuard private key (44 characters of base64)".to_owned(),
    })
}

/// The pool's first host.
fn gateway_address(pool: Ipv4Net) -> Result<std::net::Ipv4Addr, GatewayError> {
    const EXPECTED: &str = "an IPv4 prefix with room for devices (at most /29)";
    let wrong = || GatewayError::Option { option: "--addresses", expected: EXPECTED, got: pool.to_string() };
    if pool.prefix_len() > 29 {
        return Err(wrong());
    }
    pool.hosts().next().ok_or_else(wrong)
}

/// How this host reaches the API.
fn url(https: SocketAddr) -> String {
    let ip = match https.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    format!("https://{}", SocketAddr::new(ip, https.port()))
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn maintain(store: Store, plain: Vec<[u8; 32]>) {
    loop {
        tokio::time::sleep(MAINTENANCE).await;
        prune(&store, &plain).await;
    }
}

fn plain_keys(options: &Options) -> Vec<[u8; 32]> {
    options.plain_peers.iter().map(|peer| peer.key).collect()
}

async fn prune(store: &Store, plain: &[[u8; 32]]) {
    let now = clock::now();
    let outcomes = [
        store.prune_registrations(now - TOMBSTONE_LIFE).await,
        store.prune_handshakes(now - HANDSHAKE_LIFE, plain).await,
        inactivity::sweep(store, now).await.map(|swept| swept as u64),
        expiring::remind(store, now).await.map(|told| told as u64),
    ];
    for error in outcomes.into_iter().filter_map(Result::err) {
        tracing::warn!(error = crate::causes::chain(&error), "what is due once an hour is tried again then");
    }
}
