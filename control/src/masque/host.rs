//! What both verbs stand on: an engine with its worker, and the way to a clean end.

use super::options::MasqueError;
use super::report::{Ended, Reporter};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PlainMasque};
use vestibule_engine::generation::PrivateKey;
use vestibule_engine::masque::session::{ConnectError, Settings};
use vestibule_engine::random::Seed;
use vestibule_platform::adapter::{Adapter, AdapterError};
use vestibule_platform::netcfg::NetConfigError;
use vestibule_platform::runtime::{Handle, StopReason, Stopped, Worker};
use vestibule_platform::socket::{Udp, UdpConfig};
use vestibule_platform::{clock, service::EndRequests};
use zeroize::Zeroizing;

/// How long the peers' connections may take to be closed in good order.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the machine refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No interface.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// No addresses or routes.
    #[error(transparent)]
    NetConfig(#[from] NetConfigError),
    /// No UDP socket.
    #[error("cannot open a UDP socket at {address}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// No TCP port.
    #[error("cannot listen at TCP {address}, where HTTP/2 is served (without it: --http 3)")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// QUIC does not take these settings.
    #[error(transparent)]
    Quic(#[from] ConnectError),
    /// The packet worker ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Something else of the system's.
    #[error("cannot {step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
}

pub(super) fn step(step: &'static str) -> impl FnOnce(io::Error) -> HostError {
    move |cause| HostError::System { step, cause }
}

/// How connections to peers of others are set up.
pub(super) fn settings(grease: bool) -> Settings {
    Settings { grease, ..Settings::default() }
}

/// A UDP socket.
pub(super) fn socket(config: &UdpConfig) -> Result<Udp, HostError> {
    Udp::bind(config).map_err(|cause| HostError::Socket { address: config.bind, cause })
}

/// An engine with its worker.
pub(super) struct Running {
    pub(super) worker: Handle,
    events: UnboundedReceiver<Event>,
    end_requests: EndRequests,
    peers: Vec<PeerId>,
}

impl Running {
    /// Starts it. `peers` are closed at the end.
    pub(super) fn start(
        adapter: impl Adapter + 'static,
        socket: Udp,
        masque: PlainMasque,
        peers: Vec<PeerId>,
    ) -> Result<Self, HostError> {
        let mut engine = engine().map_err(step("draw random bytes"))?;
        engine.plain_masque(masque, Instant::now())?;
        let (worker, from_worker) =
            Worker::spawn(engine, adapter, socket, "vestibule-mq").map_err(step("start the packet worker"))?;
        let (to_us, events) = unbounded_channel();
        let forwarding = std::thread::Builder::new().name("events".into()).spawn(move || {
            // Nobody listens any more: the worker is ending.
            from_worker.into_iter().take_while(|event| to_us.send(event.clone()).is_ok()).for_each(drop);
        });
        forwarding.map_err(step("start a thread"))?;
        worker.carry_streams()?;
        Ok(Self { worker, events, end_requests: EndRequests::listen(), peers })
    }

    /// Marks all that leaves, for policy routing.
    pub(super) fn mark(&self, mark: u32) -> Result<(), HostError> {
        self.worker.set_mark(mark)?.map_err(step("mark packets"))
    }

    /// The next event; `None` when somebody wants this process to end.
    ///
    /// # Errors
    /// The worker has stopped.
    pub(super) async fn event(&mut self) -> Result<Option<Event>, HostError> {
        tokio::select! {
            event = self.events.recv() => match event {
                Some(event) => Ok(Some(event)),
                None => {
                    let reason = self.worker.outcome().unwrap_or(StopReason::Asked);
                    Err(HostError::Stopped(Stopped { reason }))
                }
            },
            () = self.end_requests.received() => Ok(None),
        }
    }

    /// The end of a verb that has run and has taken back what it set on the host.
    ///
    /// # Errors
    /// What went wrong first.
    pub(super) async fn conclude(
        self,
        ended: Result<(), MasqueError>,
        reverted: Result<(), NetConfigError>,
        report: Reporter,
    ) -> Result<(), MasqueError> {
        self.end().await;
        ended?;
        reverted.map_err(HostError::from)?;
        report.tell(&Ended { reason: "asked to end" });
        Ok(())
    }

    /// Closes the connections, so that the peers need not wait for silence, and stops the worker.
    async fn end(mut self) {
        let peers = self.peers.clone();
        let mut open = peers.len();
        let posted =
            self.worker.post(move |engine, now| peers.into_iter().for_each(|peer| engine.remove_peer(peer, now)));
        // An event comes out after what was sent before it.
        let farewell = async {
            while open > 0
                && let Some(event) = self.events.recv().await
            {
                open -= usize::from(matches!(event, Event::Retired { .. }));
            }
        };
        if posted.is_ok() && tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("the peers were left without a word");
        }
        self.worker.stop();
    }
}

fn engine() -> io::Result<Engine> {
    let (mut seed, mut nobody) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    clock::entropy(seed.as_mut())?;
    clock::entropy(nobody.as_mut())?;
    // No WireGuard peer is ever added: nobody can know this key.
    let config = EngineConfig::new(PrivateKey::new(*nobody), Seed::new(*seed), SystemTime::now());
    Ok(Engine::new(config, Instant::now()))
}
