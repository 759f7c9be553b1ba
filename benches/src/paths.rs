//! `paths`: the kernel's TCP through a MASQUE tunnel and without, over paths with delay, loss and bottlenecks.

use crate::tunnel::{INNER, Tunnel};
use serde_json::Value;
use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;
use vestibule_platform::adapter::{Tun, TunConfig};
use vestibule_platform::sandbox::path::{Path, Shape};
use vestibule_platform::sandbox::{self, Ended, Namespace, Running};
use vestibule_platform::socket::{Udp, UdpConfig};

/// Outer addresses: of the device, and of the gateway.
const OUTER: [&str; 2] = ["192.0.2.2", "192.0.2.1"];
/// Inner ones.
const INSIDE: [&str; 2] = [INNER, "100.96.0.1"];
const DELAY: Duration = Duration::from_millis(20);
const ROUNDS: u64 = 3;
const SECONDS: &str = "15";
/// What iperf3 leaves out at the beginning.
const OMITTED: &str = "3";

type Failed = Box<dyn Error>;

/// A path and who sends over it: TCP flows through the tunnel, TCP flows beside it, Mb/s of UDP through the tunnel.
struct Scene {
    name: &'static str,
    shape: Shape,
    /// TCP's congestion control.
    control: &'static str,
    inside: u32,
    beside: u32,
    flood: u32,
}

fn scenes() -> Vec<Scene> {
    let lossy = Shape { rate: Some(1_000_000_000), queue: 5_000_000, delay: DELAY, loss: 0.001, seed: 1 };
    let rate = 100_000_000;
    let narrow = Shape { rate: Some(rate), queue: Shape::bandwidth_delay_product(rate, DELAY), loss: 0.0, ..lossy };
    let scene =
        |name, shape, control, [inside, beside, flood]: [u32; 3]| Scene { name, shape, control, inside, beside, flood };
    let mut scenes = vec![scene("nothing: 1 bare", Shape::default(), "cubic", [0, 1, 0])];
    for control in ["cubic", "bbr"] {
        scenes.extend([
            scene("20 ms, 0.1 % loss: 1 bare", lossy, control, [0, 1, 0]),
            scene("20 ms, 0.1 % loss: 1 inside", lossy, control, [1, 0, 0]),
            scene("20 ms, 0.1 % loss: 4 bare", lossy, control, [0, 4, 0]),
            scene("20 ms, 0.1 % loss: 4 inside", lossy, control, [4, 0, 0]),
        ]);
    }
    scenes.extend([
        scene("20 ms, 100 Mb/s: 1 bare", narrow, "cubic", [0, 1, 0]),
        scene("20 ms, 100 Mb/s: 1 inside", narrow, "cubic", [1, 0, 0]),
        scene("20 ms, 100 Mb/s: 1 inside, 1 bare", narrow, "cubic", [1, 1, 0]),
        scene("20 ms, 100 Mb/s: 1 bare, flood of 200 inside", narrow, "cubic", [0, 1, 200]),
    ]);
    scenes
}

/// Runs itself in a sandbox.
pub(crate) fn run() -> ExitCode {
    match sandbox::confine(&[OsString::from("paths-inside")], sandbox::OnSignal::End) {
        Ok(Ended::Exited { code, .. }) => ExitCode::from(code),
        Ok(Ended::Interrupted { .. }) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("paths: {error}: {:?}", error.source());
    ExitCode::FAILURE
}

/// In the sandbox.
pub(crate) fn inside() -> ExitCode {
    let _link = match sandbox::settle() {
        Ok(link) => link,
        Err(error) => return failed(&error),
    };
    println!("| path and load | inside Mb/s | bare Mb/s | flood Mb/s | lost % |");
    println!("| --- | --- | --- | --- | --- |");
    for scene in scenes() {
        let mut all = Vec::new();
        for round in 0..ROUNDS {
            match measure(&scene, round) {
                Ok(rates) => all.push(rates),
                Err(error) => return failed(&*error),
            }
        }
        let median = |of: fn(&[f64; 4]) -> f64| {
            let mut values: Vec<f64> = all.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let columns = [median(|r| r[0]), median(|r| r[1]), median(|r| r[2])].map(|rate| format!("{rate:.1}"));
        println!("| {}, {} | {} | {:.3} |", scene.name, scene.control, columns.join(" | "), median(|r| r[3]));
    }
    ExitCode::SUCCESS
}

/// Rates inside, beside and of the flood, and what the path lost on the way there, in percent.
fn measure(scene: &Scene, round: u64) -> Result<[f64; 4], Failed> {
    let hosts = [Namespace::new("device")?, Namespace::new("gateway")?];
    let open = |end: usize, name: &'static str, mtu: u32, address: &'static str| -> Result<Tun, Failed> {
        let tun = hosts[end].run(move || Tun::open(&TunConfig { mtu, ..TunConfig::new(name) }))??;
        words(&hosts[end], &["ip", "address", "add", &format!("{address}/24"), "dev", name])?;
        words(&hosts[end], &["ip", "link", "set", name, "up"])?;
        Ok(tun)
    };
    let (near, far) = (open(0, "wire", 1500, OUTER[0])?, open(1, "wire", 1500, OUTER[1])?);
    let path = Path::join(near, far, Shape { seed: 100 * round + 1, ..scene.shape })?;
    let bind = |end: usize| -> Result<Udp, Failed> {
        let address: SocketAddr = format!("{}:443", OUTER[end]).parse()?;
        Ok(hosts[end].run(move || Udp::bind(&UdpConfig::new(address)))??)
    };
    let ends = ((open(0, "tun", 1420, INSIDE[0])?, bind(0)?), (open(1, "tun", 1420, INSIDE[1])?, bind(1)?));
    let _tunnel = Tunnel::start(ends.0, ends.1, format!("{}:443", OUTER[1]).parse()?, true)?;
    let before = path.fates()[0];
    let mut loads = Vec::new();
    for (kind, count, port) in [(0, scene.inside, "5201"), (1, scene.beside, "5202"), (2, scene.flood, "5203")] {
        if count == 0 {
            continue;
        }
        let target = if kind == 1 { OUTER[1] } else { INSIDE[1] };
        let number = count.to_string();
        let rate = format!("{number}M");
        let load = if kind == 2 {
            ["-u", "-b", &rate, "-l", "1200"].to_vec()
        } else {
            ["-P", &number, "-C", scene.control].to_vec()
        };
        let common = ["iperf3", "-J", "-c", target, "-p", port, "-t", SECONDS, "-O", OMITTED];
        let _server = start(&hosts[1], &["iperf3", "-s", "-1", "-p", port])?;
        loads.push((kind, [&common[..], &load].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()));
    }
    // The servers need a moment to listen; a client that comes too early fails and is seen.
    thread::sleep(Duration::from_millis(500));
    let mut running = Vec::new();
    for (kind, load) in &loads {
        let load: Vec<&str> = load.iter().map(String::as_str).collect();
        running.push((*kind, start(&hosts[0], &load)?));
    }
    let mut rates = [0.0; 4];
    for (kind, load) in running {
        let said: Value = serde_json::from_str(&load.join()??)?;
        let end = &said["end"];
        let received = end["sum_received"]["bits_per_second"].as_f64();
        rates[kind] = received.ok_or_else(|| format!("iperf3: {}", said["error"]))? / 1e6;
    }
    let after = path.fates()[0];
    let lost = (after.lost + after.overflowed) - (before.lost + before.overflowed);
    rates[3] = 100.0 * lost as f64 / (after.offered - before.offered).max(1) as f64;
    Ok(rates)
}

fn words(host: &Namespace, words: &[&str]) -> Result<String, Failed> {
    Ok(start(host, words)?.join()??)
}

/// Starts a command in a namespace; its end gives what it printed.
fn start(host: &Namespace, words: &[&str]) -> Result<Running<Result<String, String>>, Failed> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Ok(host.spawn(move || {
        let output = Command::new(&words[0]).args(&words[1..]).output().map_err(|error| error.to_string())?;
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{words:?}: {out}{error}")) }
    })?)
}
