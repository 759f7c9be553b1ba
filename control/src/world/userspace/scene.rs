//! The place made of memory.

use super::{
    RealAdapter, Room,
    adapter::AdapterEnds,
    ends::Ends,
    memory::MemoryEnds,
    tap::{Initiations, Tapped},
    trouble::{Breakable, Trouble},
};
use crate::{
    daemon,
    gateway::{self, StartWorker},
    world::{
        admin::Admin,
        browser::Login,
        device::Paths,
        gateway::Facts,
        intranet::Intranet,
        probe::{Closed, Outcome, Question},
        scene::{Amount, Blow, Scene, SceneError, Traffic, Wire},
    },
};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};
use tokio::{runtime::Runtime, time::timeout};
use vestibule_engine::core::Engine;
use vestibule_platform::{
    adapter::{
        Adapter, Tun, TunConfig,
        memory::{MemoryAdapter, pair},
    },
    netcfg::{self, NetConfig, memory::Recorder},
    runtime::{Handle, Worker},
    socket::{Socket, memory::Hub},
};

/// Packets that an adapter holds: a second of the default load.
const QUEUE: usize = 16_384;
const MTU: u16 = 1420;
/// Where the gateway's tunnels end on the memory network.
const TUNNEL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 51820);
/// The device there.
const DEVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 51820);

/// Longest wait for the daemon to take back what it has done to the system's network.
const FAREWELL: Duration = Duration::from_secs(10);

/// What the device's engine reads packets from.
enum DeviceAdapter {
    Memory(Box<MemoryAdapter>),
    Real(Box<Tun>),
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
    ends: Box<dyn Ends>,
    /// Until the device boots.
    adapter: Option<DeviceAdapter>,
    /// The device's interface.
    interface: String,
    /// It is one of this system's.
    real: bool,
}

impl Userspace {
    /// Starts the gateway, with the intranet's servers behind it. The device's adapter is memory unless there is a real one.
    pub(crate) fn start(room: &Room, real: Option<&RealAdapter>) -> Result<Self, SceneError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let hub = Hub::new();
        let (gateways, behind) = pair(QUEUE, u32::from(MTU));
        let intranet = real.map_or(Intranet::FIRST, |real| real.intranet);
        let (ends, adapter): (Box<dyn Ends>, _) = match real {
            None => {
                let (adapter, host) = pair(QUEUE, u32::from(MTU));
                (Box::new(MemoryEnds::start(host, behind)?), DeviceAdapter::Memory(Box::new(adapter)))
            }
            Some(real) => {
                let tun = Tun::open(&TunConfig { mtu: u32::from(MTU), ..TunConfig::new(&real.name) })?;
                (Box::new(AdapterEnds::start(behind, intranet)?), DeviceAdapter::Real(Box::new(tun)))
            }
        };
        let socket = hub.bind(TUNNEL)?;
        let start = move |engine: Engine| Worker::spawn(engine, gateways, socket, "gateway-packets");
        let defaults = gateway::Options::new(room.path().join("gateway"));
        let options = gateway::Options {
            https: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tunnel: TUNNEL,
            advertise: Some(TUNNEL),
            // Beside others on this machine, devices must not have their addresses.
            addresses: real.map_or(defaults.addresses, |_| intranet.pool()),
            routes: vec![intranet.network().into()],
            mtu: MTU,
            data_plane: gateway::DataPlaneKind::Worker(Box::new(start)),
            ..defaults
        };
        let gateway = runtime.block_on(gateway::Gateway::start(options)).map_err(Box::new)?;
        Ok(Self {
            runtime,
            gateway,
            daemon: None,
            hub,
            initiations: Initiations::default(),
            trouble: Trouble::default(),
            worker: Arc::default(),
            ends,
            adapter: Some(adapter),
            interface: real.map_or("memory0", |real| &real.name).to_owned(),
            real: real.is_some(),
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
        let kept = self.worker.clone();
        let (start, network): (_, Box<dyn NetConfig>) = match adapter {
            DeviceAdapter::Memory(adapter) => {
                let adapter = Breakable { adapter: *adapter, trouble: self.trouble.clone() };
                (starter(adapter, socket, kept), Box::new(Recorder::new()))
            }
            DeviceAdapter::Real(tun) => (starter(*tun, socket, kept), Box::new(netcfg::System)),
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
            interface: self.interface.clone(),
            mtu: MTU,
            http: paths.http,
            browser: None,
            login_timeout: None,
            resolver: None,
            lockdown: false,
            data_plane: daemon::DataPlane::Worker { start, network },
        };
        self.daemon = Some(self.runtime.spawn(daemon::run(options, |_| ())));
        Ok(())
    }
}

/// Starts the device's worker, of which `kept` keeps a handle.
fn starter<A, S>(adapter: A, socket: S, kept: Arc<OnceLock<Handle>>) -> StartWorker
where
    A: Adapter + 'static,
    S: Socket + 'static,
{
    Box::new(move |engine| {
        let (handle, events) = Worker::spawn(engine, adapter, socket, "device-packets")?;
        // There is one device in a place's life.
        let _ = kept.set(handle.clone());
        Ok((handle, events))
    })
}

impl Drop for Userspace {
    fn drop(&mut self) {
        // The daemon ends with its worker, and takes back what it has set; the adapter goes.
        if let (Some(worker), Some(daemon)) = (self.worker.get(), self.daemon.take()) {
            self.trouble.freeze(false);
            worker.stop();
            let _ = self.runtime.block_on(async { timeout(FAREWELL, daemon).await });
        }
    }
}

impl Scene for Userspace {
    fn addressed(&mut self, inner: IpAddr) {
        self.ends.addressed(inner);
    }

    fn ask(&self, question: Question) -> Result<Outcome, SceneError> {
        Ok(self.ends.ask(question))
    }

    fn watch(
        &self,
        patience: Duration,
        opened: Sender<()>,
    ) -> Result<Receiver<io::Result<Option<Closed>>>, SceneError> {
        let (done, closed) = bounded(1);
        let watch = self.ends.watch(patience, opened);
        thread::Builder::new().spawn(move || {
            let _ = done.send(watch());
        })?;
        Ok(closed)
    }

    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError> {
        self.ends.load(inner, amount, number)
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
            Blow::Adapter if !self.real => self.trouble.break_adapter(),
            Blow::Socket => worker.rebind().map_err(stopped)??,
            Blow::Cut(cut) => self.trouble.cut(cut),
            Blow::Freeze(frozen) => {
                self.trouble.freeze(frozen);
                let trouble = self.trouble.clone();
                worker.post(move |_, _| trouble.stand_still()).map_err(stopped)?;
            }
            Blow::Adapter | Blow::Roam | Blow::GatewayRestart => return Err(SceneError::Unfit(blow)),
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
