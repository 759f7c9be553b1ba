//! From options to a running daemon: opens everything the loop needs, and tidies up after it.

use super::{
    certificate,
    configuration::{Configuration, watch},
    dns,
    driver::{Browser, Driver, End, Input, Parts, Settings},
    emergency::{Emergency, file_beside},
    enrol::Device,
    host::Host,
    ipc::server::Server,
    journal::{self, Journal},
    lockdown::{self, Guard},
    login, moves,
    options::{DataPlane, Facts, Options, StartError},
    remote::{Gateway, HttpsGateway},
    sessions,
    store::{GatewayFacts, Store},
    tunnel::Tunnel,
    wall,
    ways::Ways,
};
use crate::{
    api::device::DeviceFacts,
    crypto::random,
    mdm,
    registration::{Machine, SinceBoot, Story, Timestamp},
};
use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::mpsc;
use vestibule_engine::{
    core::{Engine, EngineConfig},
    random::Seed,
};
use vestibule_platform::{
    adapter::{Tun, TunConfig},
    clock::{Clock, SystemClock},
    dns::{SystemDns, memory::Recorder},
    facts, local, lockdown as firewall, netcfg,
    netcfg::{NetConfig, PolicyRouting},
    rights,
    runtime::Worker,
    secrets::{FileStore, private_directory},
    service,
    signing::Tpm,
    socket::{Udp, UdpConfig},
};

/// Held locked in the state directory; its leading dot makes it no secret's name.
const LOCK: &str = ".lock";
/// Flows the device's engine holds at once.
const MAX_FLOWS: usize = 65_536;
/// How long a handshake, and how long an acknowledgement, may take: five and more tries of each.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests from the control socket that may wait at a time.
const CALLS: usize = 64;

/// Runs the daemon until the system asks it to stop. `announce` is called when the control socket answers.
///
/// # Errors
/// See [`StartError`].
pub async fn run(options: Options, announce: impl FnOnce(&Facts)) -> Result<(), StartError> {
    crate::crypto::install_provider();
    vestibule_platform::pages::small_only();
    if matches!(options.data_plane, DataPlane::Kernel) {
        rights::check()?;
    }
    // Alone before anything is touched: what another instance is about to write would be taken for what a killed one left.
    private_directory(&options.state)?;
    let alone = service::Alone::take(&options.state.join(LOCK));
    let alone = alone.map_err(|cause| StartError::Directory { path: options.state.clone(), cause })?;
    let Some(_alone) = alone else { return Err(StartError::SecondInstance { path: options.state }) };
    let (store, key) = Store::open(Box::new(FileStore::open(&options.state)?), &Tpm)?;
    let gateway = Arc::new(reach(&options, &store)?);
    let (journal, story) = Journal::open(&options.state.join(journal::FILE));
    let machine = restore(&store, story)?;
    store.forget_bearers(|id| machine.state().slots.values().any(|kept| kept.id == id))?;
    let configuration = Configuration::new(&options.mdm, mdm::MAX_BYTES, super::configuration::parse, &store)
        .under(options.own_mdm.clone());

    let config = EngineConfig {
        max_flows: MAX_FLOWS,
        ..EngineConfig::new(super::enrol::fresh_key()?, Seed::new(random()?), SystemTime::now())
    };
    let engine = Engine::new(config, Instant::now());
    // Elsewhere the process is somebody else's, and what ends it is theirs to say.
    let end_requests = matches!(options.data_plane, DataPlane::Kernel).then(service::EndRequests::listen);
    // Whoever finds the socket taken ends before it changes the network. What is asked meanwhile waits.
    let (calls, mut called) = mpsc::channel(CALLS);
    let server = Server::start(&options.control, calls).map_err(StartError::Control)?;
    let mut guard = None;
    let (handle, events, network, names) = match options.data_plane {
        DataPlane::Kernel => {
            let tun = Tun::open(&TunConfig { mtu: u32::from(options.mtu), ..TunConfig::new(&options.interface) })?;
            let socket = Udp::bind(&UdpConfig::device(PolicyRouting::default().mark)).map_err(StartError::Socket)?;
            let worker = Worker::spawn(engine, tun, socket, "vestibule-packets").map_err(StartError::Worker)?;
            if options.lockdown {
                let addresses: Vec<_> = gateway.addresses().await.iter().map(|address| address.ip()).collect();
                guard = Some(Guard::engage(Box::new(firewall::System), &options.interface, &addresses)?);
            } else {
                lockdown::release(&firewall::System);
            }
            moves::follow(worker.0.clone());
            let kept = options.state.join("resolver");
            fs::create_dir_all(&kept).map_err(|cause| StartError::Directory { path: kept.clone(), cause })?;
            let names: Arc<dyn SystemDns> = Arc::new(vestibule_platform::dns::System::new(kept));
            (worker.0, worker.1, Box::new(netcfg::System) as Box<dyn NetConfig>, names)
        }
        DataPlane::Worker { start, network } => {
            let (handle, events) = start(engine).map_err(StartError::Worker)?;
            (handle, events, network, Arc::new(Recorder::default()) as Arc<dyn SystemDns>)
        }
    };

    handle.carry_streams().map_err(StartError::WorkerStopped)?;
    let (inputs, received) = mpsc::unbounded_channel();
    let sessions = sessions::start(options.sessions.as_ref(), inputs.clone())?;
    let bridge = inputs.clone();
    thread::Builder::new()
        .name("engine-events".into())
        .spawn(move || {
            for event in events {
                let _ = bridge.send(Input::Engine(event));
            }
            let _ = bridge.send(Input::WorkerStopped);
        })
        .map_err(StartError::Worker)?;
    let forward = inputs.clone();
    tokio::spawn(async move {
        while let Some(call) = called.recv().await {
            let _ = forward.send(Input::Call(call));
        }
    });
    for path in std::iter::once(options.mdm.clone()).chain(options.own_mdm) {
        let touched = inputs.clone();
        tokio::spawn(async move { watch(&path, || touched.send(Input::MdmTouched).is_ok()).await });
    }
    let (touched, path) = (inputs.clone(), file_beside(&options.mdm));
    tokio::spawn(async move { watch(&path, || touched.send(Input::EmergencyTouched).is_ok()).await });
    let stop = inputs.clone();
    if let Some(mut end_requests) = end_requests {
        tokio::spawn(async move {
            end_requests.received().await;
            let _ = stop.send(Input::Stop);
        });
    }

    let device = Device { key, facts: device_facts() };
    tracing::info!(device = device.key.device_id(), control = %options.control.display(), "the daemon runs");
    announce(&Facts {
        device_id: device.key.device_id(),
        gateway: gateway.address(),
        control: options.control.clone(),
        interface: options.interface.clone(),
        pid: std::process::id(),
    });
    let store = Arc::new(store);
    let parts = Parts {
        emergency: Emergency::new(&options.mdm, machine.state().emergency),
        machine,
        gateway,
        device: Arc::new(device),
        store: Arc::clone(&store),
        journal,
        tunnel: Tunnel::new(handle.clone()).map_err(StartError::WorkerStopped)?,
        host: Arc::new(Host::new(&options.interface, network).guarded(guard)),
        names: dns::Watch::default(),
        configuration,
        settings: Settings {
            interface: options.interface.clone(),
            mtu: options.mtu,
            http: Arc::new(Ways::new(options.http, store)),
            browser: options.browser.map_or(Browser::Desktop, Browser::Command),
            patience: PATIENCE,
            login_patience: options.login_timeout.unwrap_or(login::PATIENCE),
        },
        clock: Box::new(now),
    };
    let resolver = dns::Options { interface: options.interface.clone(), address: options.resolver };
    let watch = parts.names.clone();
    let driver = Driver::new(parts, inputs);
    let resolver = dns::start(names, resolver, watch, driver.dns());
    let end = driver.run(sessions.started.clone(), received).await;
    // It ends with the driver, and leaves the system's resolvers as they were.
    let _ = resolver.await;
    drop(server);
    drop(sessions);
    match end {
        End::Asked => Ok(()),
        End::WorkerStopped => {
            let reason = handle.outcome().unwrap_or(vestibule_platform::runtime::StopReason::Asked);
            Err(StartError::WorkerStopped(vestibule_platform::runtime::Stopped { reason }))
        }
    }
}

/// The gateway of the command line, else of the last start.
fn reach(options: &Options, store: &Store) -> Result<HttpsGateway, StartError> {
    let stored = store.gateway()?;
    let facts = match (&options.gateway, &options.pin, stored.clone()) {
        (Some(url), Some(pin), _) => GatewayFacts { url: url.clone(), pin: pin.to_string() },
        (None, None, Some(stored)) => stored,
        (Some(url), None, Some(stored)) if stored.url == *url => stored,
        (None, Some(pin), Some(stored)) => GatewayFacts { pin: pin.to_string(), ..stored },
        (Some(_), None, _) => return Err(StartError::NoPin),
        (None, _, None) => return Err(StartError::NoGateway),
    };
    let certificate = options.client_certificate.clone().unwrap_or_else(|| options.state.join(certificate::FILE));
    let gateway = HttpsGateway::new(&facts.url, facts.pin.parse()?)?.with_certificate(certificate);
    if stored.as_ref() != Some(&facts) {
        store.keep_gateway(&facts)?;
    }
    Ok(gateway)
}

fn restore(store: &Store, story: Option<Story>) -> Result<Machine, StartError> {
    Ok(match (store.state()?, story) {
        (Some(state), Some(story)) => Machine::resume(state, story),
        (Some(state), None) => Machine::restore(state),
        (None, _) => Machine::new(crate::registration::Settings::default(), u64::from_ne_bytes(random()?)),
    })
}

fn device_facts() -> DeviceFacts {
    DeviceFacts {
        name: facts::host_name().unwrap_or_default(),
        os: facts::OS.to_owned(),
        os_version: facts::os_version().unwrap_or_default(),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The machine's time. The clock was asked at the start, so that it answers.
fn now() -> Timestamp {
    let since_boot = SystemClock.since_boot().unwrap_or_default();
    Timestamp { since_boot: SinceBoot(u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX)), wall: wall::now() }
}

impl From<local::LocalError> for StartError {
    fn from(error: local::LocalError) -> Self {
        Self::Control(error)
    }
}
