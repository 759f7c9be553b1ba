//! An interface from its making to its end.

use super::device::{Device, Handshakes};
use super::server::Server;
use notify::{RecursiveMode, Watcher};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use vestibule_engine::core::{Engine, EngineConfig};
use vestibule_engine::generation::PrivateKey;
use vestibule_engine::random::Seed;
use vestibule_platform::adapter::{AdapterError, Tun, TunConfig};
use vestibule_platform::local::{self, Listener, LocalError};
use vestibule_platform::runtime::{Handle, StopReason, Worker};
use vestibule_platform::socket::{Socket as _, Udp, UdpConfig};
use vestibule_platform::{clock, service::EndRequests};
use zeroize::Zeroizing;

/// A device's number. Everything is allowed here, so that a flow which gave way to another is merely judged again, and a
/// gateway's million would cost 16 MiB before the first packet.
const MAX_FLOWS: usize = 1 << 16;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the interface to make.
    pub interface: String,
}

/// What stands when the interface may be configured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ready {
    /// Name of the interface.
    pub interface: String,
    /// The configuration socket.
    pub socket: PathBuf,
    /// The UDP port until it is configured.
    pub listen_port: u16,
    /// This process.
    pub pid: u32,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// By a signal.
    #[error("asked to end")]
    Asked,
    /// `ip link delete`.
    #[error("the interface was removed")]
    InterfaceRemoved,
    /// The configuration socket's file is gone, or another's.
    #[error("the configuration socket was removed")]
    SocketRemoved,
    /// The packet worker failed.
    #[error("the packet worker has stopped: {0}")]
    Failed(StopReason),
}

impl End {
    /// True when somebody wanted it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// Why it never began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No interface.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// No configuration socket.
    #[error(transparent)]
    Local(#[from] LocalError),
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

fn step(step: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |cause| StartError::System { step, cause }
}

/// Makes the interface, calls `ready` once it can be configured, and serves it until it ends. Everything is taken back.
///
/// # Errors
/// The interface, its UDP socket or its configuration socket could not be made.
pub fn run(options: &Options, ready: impl FnOnce(&Ready)) -> Result<End, StartError> {
    vestibule_platform::pages::small_only();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(step("wait for signals"))?;
    let mut end_requests = {
        let _in_it = runtime.enter();
        EndRequests::listen()
    };
    let tun = Tun::open(&TunConfig::new(&options.interface))?;
    let socket =
        Udp::bind(&UdpConfig::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))).map_err(step("open a UDP socket"))?;
    let listen_port = socket.local_addr().map_err(step("open a UDP socket"))?.port();
    let engine = engine().map_err(step("draw random bytes"))?;
    let (worker, events) =
        Worker::spawn(engine, tun, socket, "vestibule-wg").map_err(step("start the packet worker"))?;
    let stop = Stop(worker.clone());

    let (ended, mut ends) = unbounded_channel();
    let handshakes = Arc::new(Handshakes::default());
    let noting = std::thread::Builder::new().name("handshakes".into()).spawn({
        let (handshakes, worker, ended) = (handshakes.clone(), worker.clone(), ended.clone());
        move || {
            for event in events {
                handshakes.note(&event, SystemTime::now());
            }
            let reason = worker.outcome().unwrap_or(StopReason::Asked);
            let _ = ended.send(if reason == StopReason::AdapterRemoved {
                End::InterfaceRemoved
            } else {
                End::Failed(reason)
            });
        }
    });
    noting.map_err(step("start a thread"))?;

    // The last thing to fail: once the socket is there the tools may come.
    let path = local::wireguard(&options.interface);
    let listener = Listener::bind_private(&path)?;
    let device = Arc::new(Mutex::new(Device::new(worker, handshakes, listen_port)));
    let server = Server::start(listener, &path, device)?;
    // Nobody can take a pipe's name away.
    let in_files = local::is_in_file_system(&path);
    let watcher = in_files.then(|| watch(&path, Arc::downgrade(server.listener()), ended.clone()));

    ready(&Ready { interface: options.interface.clone(), socket: path, listen_port, pid: std::process::id() });
    let end = runtime.block_on(async {
        tokio::select! {
            end = ends.recv() => end.unwrap_or(End::Asked),
            () = end_requests.received() => End::Asked,
        }
    });
    // First nobody can come any more, then nothing moves any more, and the interface goes.
    drop(watcher);
    drop(server);
    drop(stop);
    Ok(end)
}

/// Stops the worker, whose interface vanishes with it.
struct Stop(Handle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn engine() -> io::Result<Engine> {
    let (mut seed, mut nobody) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    clock::entropy(seed.as_mut())?;
    clock::entropy(nobody.as_mut())?;
    // Until a key is configured nobody can know this one.
    let config = EngineConfig::new(PrivateKey::new(*nobody), Seed::new(*seed), SystemTime::now());
    Ok(Engine::new(EngineConfig { max_flows: MAX_FLOWS, ..config }, Instant::now()))
}

/// Tells when the socket's file is gone. Without a watcher the interface outlives its socket, which is said.
fn watch(path: &Path, listener: Weak<Listener>, ended: UnboundedSender<End>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
        // Whatever has happened in the directory: the file itself is asked.
        if listener.upgrade().is_some_and(|listener| !listener.is_in_place()) {
            let _ = ended.send(End::SocketRemoved);
        }
    });
    let directory = path.parent().unwrap_or(Path::new("."));
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching.inspect_err(|error| tracing::warn!(%error, "removing the configuration socket will not be noticed")).ok()
}
