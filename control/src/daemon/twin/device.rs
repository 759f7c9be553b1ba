use super::{MemoryVault, TwinGateway, gateway::CLIENT_ID};
use crate::{
    api::device::DeviceFacts,
    daemon::{
        HttpVersions,
        configuration::{Configuration, Content, Token},
        driver::{Browser, Driver, End, Input, Parts, Settings},
        emergency::Emergency,
        enrol::Device,
        host::Host,
        ipc::{Answer, ConfigView, Request, Status, server::Call},
        journal::{self, Journal},
        remote::Secret,
        store::Store,
        tunnel::Tunnel,
        wall,
        ways::Ways,
    },
    mdm::{MdmConfig, OrganizationConfig},
    registration::{Event, Machine, Session, SinceBoot, Timestamp},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use vestibule_engine::{
    core::{Engine, EngineConfig},
    generation::PrivateKey,
    random::Seed,
};
use vestibule_platform::{
    adapter::memory::{MemoryHost, pair},
    local::Peer,
    netcfg::memory::Recorder,
    runtime::Worker,
    signing::memory::MemoryKeys,
    socket::memory::Hub,
};

/// The content of an MDM file that [`parse`] takes.
pub(crate) const MDM: &[u8] = b"pre_login";
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands for the MDM parser: `pre_login`, `multi_user` and the like as words; `token` is one in the entry of `configs`.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Content, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{file}: not UTF-8"))?;
    let mut settings = crate::registration::Settings { organizations: vec!["mycompany".into()], ..Default::default() };
    let token = |pre_login| Token {
        pre_login,
        team: "mycompany".into(),
        client_id: CLIENT_ID.into(),
        client_secret: Secret::new("secret"),
    };
    let mut tokens = Vec::new();
    let mut emergency_file = false;
    for word in text.split_whitespace() {
        match word {
            "pre_login" => {
                settings.pre_login = Some("mycompany".into());
                tokens.push(token(true));
            }
            "token" => {
                settings.by_token = true;
                tokens.push(token(false));
            }
            "multi_user" => settings.multi_user = true,
            "switch_locked" => settings.switch_locked = true,
            "emergency_file" => emergency_file = true,
            other => return Err(format!("{file}: `{other}` is no key")),
        }
    }
    let configs = vec![ConfigView { organization: "mycompany".into(), display_name: None }];
    let entry = OrganizationConfig {
        organization: Some("mycompany".into()),
        local_emergency_signal_enabled: emergency_file.then_some(true),
        switch_locked: settings.switch_locked.then_some(true),
        ..OrganizationConfig::default()
    };
    let mdm = MdmConfig { configs: vec![entry], multi_user: settings.multi_user, ..MdmConfig::default() };
    Ok(Content { settings, tokens, configs, mdm })
}

/// A device whose daemon's loop runs on twins; the engine and the worker are real.
pub(crate) struct TestDevice {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) host: MemoryHost,
    pub(crate) network: Recorder,
    pub(crate) mdm: PathBuf,
    /// Milliseconds that the system has slept.
    pub(crate) slept: Arc<AtomicU64>,
    driver: JoinHandle<End>,
}

impl TestDevice {
    /// Starts a daemon on `vault`, with `sessions` logged on.
    pub(crate) fn start(
        gateway: &Arc<TwinGateway>,
        hub: &Hub,
        vault: &MemoryVault,
        mdm: &Path,
        sessions: Vec<Session>,
    ) -> Self {
        let (store, key) = Store::open(Box::new(vault.clone()), &MemoryKeys::new(None)).unwrap();
        let socket = hub.bind("192.0.2.9:0".parse().unwrap()).unwrap();
        let (adapter, host) = pair(1024, 1420);
        let config = EngineConfig::new(PrivateKey::new([9; 32]), Seed::new([3; 32]), SystemTime::now());
        let (handle, events) =
            Worker::spawn(Engine::new(config, Instant::now()), adapter, socket, "twin-device").unwrap();
        let network = Recorder::new();
        let (journal, story) = Journal::open(&mdm.with_file_name(journal::FILE));
        let machine = match (store.state().unwrap(), story) {
            (Some(state), Some(story)) => Machine::resume(state, story),
            (Some(state), None) => Machine::restore(state),
            (None, _) => Machine::new(crate::registration::Settings::default(), 1),
        };
        let (inputs, received) = mpsc::unbounded_channel();
        let bridge = inputs.clone();
        std::thread::spawn(move || {
            for event in events {
                let _ = bridge.send(Input::Engine(event));
            }
        });
        let start = Instant::now();
        let slept = Arc::new(AtomicU64::new(0));
        let asleep = slept.clone();
        let store = Arc::new(store);
        let parts = Parts {
            emergency: Emergency::new(mdm, machine.state().emergency),
            machine,
            gateway: gateway.clone(),
            device: Arc::new(Device { key, facts: DeviceFacts::default() }),
            configuration: Configuration::new(mdm, 1 << 20, parse, &store),
            store: Arc::clone(&store),
            journal,
            tunnel: Tunnel::new(handle).unwrap(),
            host: Arc::new(Host::new("vestibule0", Box::new(network.clone()))),
            names: crate::daemon::dns::Watch::default(),
            settings: Settings {
                interface: "vestibule0".into(),
                mtu: 1420,
                http: Arc::new(Ways::new(HttpVersions::Auto, store)),
                browser: Browser::Nobody,
                patience: Duration::from_secs(2),
                login_patience: Duration::from_secs(60),
            },
            clock: Box::new(move || Timestamp {
                since_boot: SinceBoot(
                    1000 + u64::try_from(start.elapsed().as_millis()).unwrap() + asleep.load(Ordering::Relaxed),
                ),
                wall: wall::now(),
            }),
        };
        let started = Event::ServiceStarted { boot_id: "boot-1".into(), sessions };
        let driver = tokio::spawn(Driver::new(parts, inputs.clone()).run(started, received));
        Self { inputs, host, network, mdm: mdm.to_owned(), slept, driver }
    }

    /// Dies as by SIGKILL: nothing is told, nothing is stored.
    pub(crate) async fn kill(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }

    pub(crate) async fn stop(self) -> End {
        self.inputs.send(Input::Stop).unwrap();
        self.driver.await.unwrap()
    }

    pub(crate) fn happened(&self, event: Event) {
        self.inputs.send(Input::Happened(event)).unwrap();
    }

    pub(crate) fn write_mdm(&self, bytes: &[u8]) {
        std::fs::write(&self.mdm, bytes).unwrap();
        self.inputs.send(Input::MdmTouched).unwrap();
    }

    pub(crate) async fn ask(&self, request: Request) -> Answer {
        self.ask_as(Peer { user: "root".to_owned(), process: None, administrator: true }, request).await
    }

    pub(crate) async fn ask_as(&self, peer: Peer, request: Request) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Call(Call { request, peer: Some(peer), answer })).unwrap();
        answered.await.unwrap()
    }

    pub(crate) async fn status(&self) -> Status {
        match self.ask(Request::Status).await {
            Answer::Ok(value) => serde_json::from_value(value).unwrap(),
            Answer::Error(failure) => panic!("{failure}"),
        }
    }

    /// Waits until `wanted` holds of the status.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < give_up, "not within {PATIENCE:?}: {what}; {status:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn connected_as(&self, identity: &str) -> Status {
        self.until(identity, |status| status.identity.as_deref() == Some(identity)).await
    }

    /// The browser's return after a login that gave `code`, or an error; answers the page.
    pub(crate) async fn browser_returns(&self, query: &str) -> String {
        let status = self.until("a prompt", |status| status.auth_url.is_some()).await;
        let url = status.auth_url.unwrap();
        let mut parts = url.trim_start_matches("twin:").split('|');
        let (_, redirect, state) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
        let address = redirect.trim_start_matches("http://").trim_end_matches("/callback");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /callback?{query}&state={state} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    pub(crate) async fn sign_in(&self, gateway: &TwinGateway, email: &str) -> String {
        self.browser_returns(&format!("code={}", gateway.login(email))).await
    }
}
