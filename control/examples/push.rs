//! How fast a change reaches connected devices, and what it costs the gateway.
//!
//! ```text
//! cargo run --release -p vestibule-control --example push [-- DEVICES CHANGES]
//! ```
//!
//! A gateway in a process of its own (HTTPS, SQLite and the engine are real, its network interface is in memory), and
//! devices (500) in this one, each with its own connection, enrolled, swapped and waiting in the long poll. Then changes
//! (200) of rules, profiles, posture and standing, one after the other. A time is from before the administrator's call,
//! or the device's report, to the answer at a device.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measuring stand")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use vestibule_control::api::device::{Changes, DeviceFacts, Held, RegistrationStatus, SwapRequest, swap_message};
use vestibule_control::api::pin::http_client;
use vestibule_control::api::posture::PostureReport;
use vestibule_control::api::profile::TunnelProtocol;
use vestibule_control::daemon::device_key::DeviceKey;
use vestibule_control::daemon::enrol::{Device, fresh_key};
use vestibule_control::daemon::remote::{Gateway as _, HttpsGateway, Proof, Secret};
use vestibule_control::gateway::{DataPlaneKind, Gateway, Options};
use vestibule_platform::adapter::memory::pair;
use vestibule_platform::runtime::Worker;
use vestibule_platform::socket::memory::Hub;

const TUNNEL: &str = "192.0.2.1:51820";
/// How long a change may take to arrive before it counts as lost.
const LOST: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    vestibule_control::crypto::install_provider();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, directory] = arguments.as_slice()
        && role == "gateway"
    {
        return gateway(Path::new(directory)).await;
    }
    let number = |at: usize, usual| arguments.get(at).map_or(usual, |text| text.parse().expect("a number"));
    measure(number(0, 500), number(1, 200)).await;
}

/// The gateway's process: ends with its standard input.
async fn gateway(directory: &Path) {
    let mut options = Options::new(directory.to_owned());
    options.https = SocketAddr::from(([127, 0, 0, 1], 0));
    options.tunnel = TUNNEL.parse().unwrap();
    options.data_plane = DataPlaneKind::Worker(Box::new(|engine| {
        let (adapter, _host) = pair(256, 1420);
        Worker::spawn(engine, adapter, Hub::new().bind(TUNNEL.parse().unwrap())?, "gateway")
    }));
    let gateway = Gateway::start(options).await.unwrap();
    println!("{}", serde_json::to_string(gateway.facts()).unwrap());
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
    gateway.shutdown().await;
}

/// A gateway that goes with its owner.
struct Running {
    child: Child,
    directory: PathBuf,
    facts: Value,
    http: reqwest::Client,
    token: String,
}

impl Running {
    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("vestibule-push-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["gateway".as_ref(), directory.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts: Value = serde_json::from_str(&line).unwrap();
        let pin = facts["certificate_sha256"].as_str().unwrap().parse().unwrap();
        let token = std::fs::read_to_string(facts["admin_token_file"].as_str().unwrap()).unwrap().trim().to_owned();
        let http = http_client(pin, Duration::from_secs(30)).unwrap();
        Self { child, directory, facts, http, token }
    }

    fn text(&self, field: &str) -> &str {
        self.facts[field].as_str().unwrap()
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/client/v4/accounts/{}{path}", self.text("url"), self.text("account_id"));
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.token);
        if method != Method::GET {
            request = request.json(&body);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["success"] == true, "{path}: {answer}");
        answer["result"].clone()
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        // utime and stime, in hundredths.
        fields.get(11).zip(fields.get(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// An answer at a device.
struct Arrived {
    device: usize,
    at: Instant,
    changes: Changes,
}

struct Connected {
    gateway: Arc<HttpsGateway>,
    bearer: Secret,
    registration: uuid::Uuid,
}

/// Enrols a device and orders its swap, so that the engine has a generation of it.
async fn connect(url: &str, pin: &str, proof: &Proof) -> Connected {
    let gateway = Arc::new(HttpsGateway::new(url, pin.parse().unwrap()).unwrap());
    let facts = DeviceFacts { os: "linux".to_owned(), os_version: "6.1.0".to_owned(), ..DeviceFacts::default() };
    let device = Device { key: DeviceKey::generate().unwrap().0, facts };
    let enrolled = device.enrol(&*gateway, "mycompany", proof).await.unwrap();
    let (registration, tunnel) = (enrolled.registration.id, fresh_key().unwrap().public().0);
    let order = swap_message(1, &registration, &tunnel, TunnelProtocol::Wireguard);
    let request = SwapRequest {
        swap_seq: 1,
        registration,
        tunnel_public_key: STANDARD.encode(tunnel),
        tunnel_protocol: TunnelProtocol::Wireguard,
        signature: device.key.sign(&order).await.unwrap(),
        policy_held: None,
        profile_held: None,
        posture: Some(report("6.1.0")),
    };
    gateway.swap(&enrolled.bearer, &request).await.unwrap();
    Connected { gateway, bearer: enrolled.bearer, registration }
}

fn report(version: &str) -> PostureReport {
    PostureReport { os: "linux".to_owned(), os_version: version.to_owned(), ..PostureReport::default() }
}

/// Polls as the daemon does: by what it holds.
async fn follow(number: usize, device: Arc<Connected>, polls: Arc<AtomicUsize>, tell: mpsc::UnboundedSender<Arrived>) {
    let mut held = Held::default();
    loop {
        polls.fetch_add(1, Ordering::Relaxed);
        let Ok(changes) = device.gateway.changes(&device.bearer, &held).await else { return };
        let at = Instant::now();
        held.since = changes.version;
        held.policy = changes.policy_digest.clone().or(held.policy);
        held.profile = changes.profile_digest.clone().or(held.profile);
        held.posture = Some(changes.posture.every.unwrap_or(0));
        let over = changes.registration != RegistrationStatus::Active;
        if tell.send(Arrived { device: number, at, changes }).is_err() || over {
            return;
        }
    }
}

/// Waits for one answer of every device in `wanted` that `is_it`: the times since `began`, and what else came.
async fn arrivals(
    news: &mut mpsc::UnboundedReceiver<Arrived>,
    wanted: &mut Vec<usize>,
    began: Instant,
    is_it: impl Fn(&Changes) -> bool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while !wanted.is_empty() {
        let Ok(Some(arrived)) = tokio::time::timeout(LOST, news.recv()).await else {
            println!("lost: {} devices were not told", wanted.len());
            std::process::exit(1);
        };
        if is_it(&arrived.changes) && wanted.contains(&arrived.device) {
            wanted.retain(|device| *device != arrived.device);
            times.push(arrived.at.saturating_duration_since(began));
        }
    }
    times
}

async fn measure(devices: usize, changes: usize) {
    let running = Running::start();
    let made = running.admin(Method::POST, "/access/service_tokens", json!({ "name": "push" })).await;
    let apps = running.admin(Method::GET, "/access/apps", Value::Null).await;
    let policy = json!({
        "name": "push", "decision": "non_identity", "include": [{ "service_token": { "token_id": made["id"] } }],
    });
    let path = format!("/access/apps/{}/policies", apps[0]["id"].as_str().unwrap());
    running.admin(Method::POST, &path, policy).await;
    let proof = Proof::ServiceToken {
        client_id: made["client_id"].as_str().unwrap().to_owned(),
        client_secret: Secret::new(made["client_secret"].as_str().unwrap()),
    };
    let rule =
        |at: usize| json!({ "name": "push", "action": "allow", "traffic": format!("net.dst.port == {}", at + 1) });
    let rule_id = running.admin(Method::POST, "/gateway/rules", rule(0)).await["id"].as_str().unwrap().to_owned();
    let posture = json!({
        "name": "Linux 6", "type": "os_version",
        "input": { "operating_system": "linux", "operator": ">=", "version": "6.0.0" },
    });
    running.admin(Method::POST, "/devices/posture", posture).await;
    let profile = json!({ "name": "Newer", "match": "os.version == \"6.2.0\"" });
    running.admin(Method::POST, "/devices/policy", profile).await;

    let (tell, mut news) = mpsc::unbounded_channel();
    let polls = Arc::new(AtomicUsize::new(0));
    let mut fleet = Vec::new();
    let began = Instant::now();
    for number in 0..devices {
        let (url, pin) = (running.text("url"), running.text("certificate_sha256"));
        let device = Arc::new(connect(url, pin, &proof).await);
        tokio::spawn(follow(number, Arc::clone(&device), Arc::clone(&polls), tell.clone()));
        fleet.push(device);
    }
    arrivals(&mut news, &mut (0..devices).collect(), began, |_| true).await;
    println!("{devices} devices enrolled, swapped and waiting after {:.1} s", began.elapsed().as_secs_f64());

    let mut times: Vec<(&str, Vec<Duration>)> =
        ["rule", "profile", "posture", "revocation"].map(|kind| (kind, Vec::new())).to_vec();
    let (mut alive, started, cpu) = ((0..devices).collect::<Vec<_>>(), Instant::now(), running.cpu());
    polls.store(0, Ordering::Relaxed);
    let mut asked = 0;
    for at in 1..=changes {
        let began = Instant::now();
        let one = alive[at % alive.len()];
        let (kind, arrived) = match at % 4 {
            0 => {
                running.admin(Method::PUT, &format!("/gateway/rules/{rule_id}"), rule(at)).await;
                asked += alive.len();
                (0, arrivals(&mut news, &mut alive.clone(), began, |news| news.policy.is_some()).await)
            }
            1 => {
                running.admin(Method::PATCH, "/devices/policy", json!({ "captive_portal": at })).await;
                asked += alive.len();
                (1, arrivals(&mut news, &mut alive.clone(), began, |news| news.profile.is_some()).await)
            }
            2 => {
                let device = &fleet[one];
                device.gateway.posture(&device.bearer, &report("6.2.0")).await.unwrap();
                let mut times = arrivals(&mut news, &mut vec![one], began, |news| news.profile.is_some()).await;
                let began = Instant::now();
                device.gateway.posture(&device.bearer, &report("6.1.0")).await.unwrap();
                times.extend(arrivals(&mut news, &mut vec![one], began, |news| news.profile.is_some()).await);
                asked += 2;
                (2, times)
            }
            _ => {
                let path = format!("/devices/registrations/revoke?id={}", fleet[one].registration);
                running.admin(Method::POST, &path, json!({})).await;
                let ended = |news: &Changes| news.registration == RegistrationStatus::Revoked;
                let times = arrivals(&mut news, &mut vec![one], began, ended).await;
                alive.retain(|device| *device != one);
                (3, times)
            }
        };
        times[kind].1.extend(arrived);
        // The next change finds everybody waiting again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), running.cpu() - cpu);
    println!("{changes} changes in {elapsed:.1} s\n");
    println!("{:<12} {:>9} {:>9} {:>9} {:>9}", "", "answers", "p50 ms", "p99 ms", "max ms");
    let all = ("all", times.iter().flat_map(|(_, times)| times.clone()).collect());
    for (kind, mut times) in times.into_iter().chain([all]) {
        times.sort_unstable();
        let at =
            |part: usize| times.get((times.len().max(1) - 1) * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        println!("{kind:<12} {:>9} {:>9.1} {:>9.1} {:>9.1}", times.len(), at(50), at(99), at(100));
    }
    let polled = polls.load(Ordering::Relaxed);
    println!("\npolls: {polled}, of which {asked} after an answer that was due");
    println!(
        "gateway: {cpu:.2} s of processor time, {:.0} % of one, {:.2} ms per answer",
        cpu / elapsed * 100.0,
        cpu * 1e3 / asked as f64
    );
}
