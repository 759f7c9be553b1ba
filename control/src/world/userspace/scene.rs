//! The place made of memory.

use super::{
    load::Load,
    stack::Stack,
    tap::{Initiations, Tapped},
    tcp::Connection,
    trouble::{Breakable, Trouble},
};
use crate::{
    daemon, gateway,
    world::{
        admin::Admin,
        browser::Login,
        device::Paths,
        gateway::Facts,
        host::services::{answer_directory, answer_echo, answer_web},
        probe::{self, Closed, Outcome, Question},
        scene::{Amount, Blow, Scene, SceneError, Traffic, Wire},
        stage::{DIRECTORY, DIRECTORY_PORT, ECHO_PORT, WEB, WEB_PORT},
    },
};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};
use tokio::runtime::Runtime;
use vestibule_engine::core::Engine;
use vestibule_platform::{
    adapter::memory::pair,
    netcfg::memory::Recorder,
    runtime::{Handle, Worker},
    socket::memory::Hub,
};

/// Packets that an adapter holds: a second of the default load.
const QUEUE: usize = 16_384;
const MTU: u16 = 1420;
/// Where the gateway's tunnels end on the memory network.
const TUNNEL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 51820);
/// The device there.
const DEVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 51820);

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Room(PathBuf);

impl Room {
    /// A new one, which nobody else may read.
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!(
            "vestibule-world-{}-{}",
            std::process::id(),
            crate::world::host::udp::wall_ns()
        ));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Both ends in this process.
pub(crate) struct Userspace {
    runtime: Runtime,
    gateway: gateway::Gateway,
    daemon: Option<tokio::task::JoinHandle<Result<(), daemon::StartError>>>,
    hub: Hub,
    initiations: Initiations,
    trouble: Trouble,
    /// The device's packet worker, once it runs.
    worker: Arc<OnceLock<Handle>>,
    device: Stack,
    intranet: Stack,
    adapter: Option<vestibule_platform::adapter::memory::MemoryAdapter>,
    inner: Arc<Mutex<Option<Ipv4Addr>>>,
}

impl Userspace {
    /// Starts the gateway, with the intranet's servers behind it.
    pub(crate) fn start(room: &Room) -> Result<Self, SceneError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let hub = Hub::new();
        let (adapter, host) = pair(QUEUE, u32::from(MTU));
        let intranet = Stack::start(host, "intranet")?;
        serve(&intranet)?;
        let socket = hub.bind(TUNNEL)?;
        let start = move |engine: Engine| Worker::spawn(engine, adapter, socket, "gateway-packets");
        let options = gateway::Options {
            https: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tunnel: TUNNEL,
            advertise: Some(TUNNEL),
            routes: vec![ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 20, 0, 0), 24).into()],
            mtu: MTU,
            data_plane: gateway::DataPlaneKind::Worker(Box::new(start)),
            ..gateway::Options::new(room.path().join("gateway"))
        };
        let gateway = runtime.block_on(gateway::Gateway::start(options)).map_err(Box::new)?;
        let (adapter, host) = pair(QUEUE, u32::from(MTU));
        let device = Stack::start(host, "device")?;
        Ok(Self {
            runtime,
            gateway,
            daemon: None,
            hub,
            initiations: Initiations::default(),
            trouble: Trouble::default(),
            worker: Arc::default(),
            device,
            intranet,
            adapter: Some(adapter),
            inner: Arc::default(),
        })
    }

    /// What the gateway says of itself.
    fn facts(&self) -> Facts {
        let facts = self.gateway.facts();
        Facts {
            account_id: facts.account_id.clone(),
            url: facts.url.clone(),
            certificate_sha256: facts.certificate_sha256,
            admin_token_file: facts.admin_token_file.clone(),
            pid: facts.pid,
        }
    }

    /// Starts the device's daemon.
    pub(crate) fn boot(&mut self, paths: &Paths) -> Result<(), SceneError> {
        let Some(adapter) = self.adapter.take() else { return Ok(()) };
        let facts = self.facts();
        let trouble = self.trouble.clone();
        let socket = Tapped { socket: self.hub.bind(DEVICE)?, counter: self.initiations.clone(), trouble };
        let adapter = Breakable { adapter, trouble: self.trouble.clone() };
        let kept = self.worker.clone();
        let start = move |engine: Engine| {
            let (handle, events) = Worker::spawn(engine, adapter, socket, "device-packets")?;
            // There is one device in a place's life.
            let _ = kept.set(handle.clone());
            Ok((handle, events))
        };
        let options = daemon::Options {
            mdm: paths.mdm.clone(),
            own_mdm: None,
            state: paths.state.clone(),
            gateway: Some(facts.url),
            pin: Some(facts.certificate_sha256),
            client_certificate: None,
            control: paths.control.clone(),
            sessions: Some(daemon::SessionsFrom::Socket(paths.sessions.clone())),
            interface: "memory0".to_owned(),
            mtu: MTU,
            http: paths.http,
            browser: None,
            login_timeout: None,
            resolver: None,
            lockdown: false,
            data_plane: daemon::DataPlane::Worker { start: Box::new(start), network: Box::new(Recorder::new()) },
        };
        self.daemon = Some(self.runtime.spawn(daemon::run(options, |_| ())));
        Ok(())
    }

    /// Opens connections of the device's programs.
    fn dial(&self) -> impl Fn(SocketAddr) -> io::Result<Connection> + Send + 'static {
        let (stack, inner) = (self.device.clone(), self.inner.clone());
        move |address| {
            let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            let (Some(inner), SocketAddr::V4(address)) = (*inner, address) else {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            };
            Connection::open(&stack, inner, address)
        }
    }
}

/// The intranet's servers.
fn serve(intranet: &Stack) -> io::Result<()> {
    let address = |host: IpAddr, port: u16| match host {
        IpAddr::V4(host) => Ok(SocketAddrV4::new(host, port)),
        IpAddr::V6(host) => Err(io::Error::other(format!("expected an IPv4 address, got {host}"))),
    };
    intranet.serve(address(DIRECTORY, DIRECTORY_PORT)?, |connection| drop(answer_directory(connection)));
    intranet.serve(address(WEB, WEB_PORT)?, |connection| drop(answer_web(connection)));
    intranet.serve(address(WEB, ECHO_PORT)?, |connection| drop(answer_echo(connection)));
    Ok(())
}

impl Scene for Userspace {
    fn addressed(&mut self, inner: IpAddr) {
        if let IpAddr::V4(inner) = inner {
            *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(inner);
        }
    }

    fn ask(&self, question: Question) -> Result<Outcome, SceneError> {
        Ok(probe::ask(question, self.dial()))
    }

    fn watch(
        &self,
        patience: Duration,
        opened: Sender<()>,
    ) -> Result<Receiver<io::Result<Option<Closed>>>, SceneError> {
        let (done, closed) = bounded(1);
        let dial = self.dial();
        thread::Builder::new().spawn(move || {
            let _ = done.send(probe::watch(patience, &opened, dial));
        })?;
        Ok(closed)
    }

    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError> {
        Ok(Box::new(Load::start(&self.device, &self.intranet, inner, amount, number)?))
    }

    fn sign_in(&self, login: Login) -> Result<(), SceneError> {
        Ok(login.here()?)
    }

    fn wire(&mut self) -> Result<Wire, SceneError> {
        Ok(Wire { initiations: self.initiations.count(), missed: 0 })
    }

    fn strike(&mut self, blow: Blow) -> Result<(), SceneError> {
        let worker = self.worker.get().ok_or(SceneError::Missing("device"))?;
        let stopped = |error: vestibule_platform::runtime::Stopped| io::Error::other(error);
        match blow {
            Blow::Adapter => self.trouble.break_adapter(),
            Blow::Socket => worker.rebind().map_err(stopped)??,
            Blow::Cut(cut) => self.trouble.cut(cut),
            Blow::Freeze(frozen) => {
                self.trouble.freeze(frozen);
                let trouble = self.trouble.clone();
                worker.post(move |_, _| trouble.stand_still()).map_err(stopped)?;
            }
            Blow::Roam | Blow::GatewayRestart => return Err(SceneError::Unfit(blow)),
        }
        Ok(())
    }

    fn seat(&self) -> Result<(Facts, Admin), SceneError> {
        let gateway = self.facts();
        let secret = fs::read_to_string(&gateway.admin_token_file)?;
        let seat = |work: Box<dyn FnOnce() + Send>| thread::Builder::new().spawn(work).map(|_| ());
        let admin = Admin::seat(&gateway, secret.trim().to_owned(), seat)?;
        Ok((gateway, admin))
    }

    fn processes(&self) -> Vec<(&'static str, u32)> {
        vec![("both ends and the load", std::process::id())]
    }

    fn alive(&mut self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.is_finished())
    }

    fn logs(&self) -> String {
        String::new()
    }
}
