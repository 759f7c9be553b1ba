//! What rules and swaps cost: the same bulk load through a gateway and a device with many rules and an identity swap
//! every so often, and through another pair with neither. Played by `vestibule demo --cost`, for `compare --product`.

use super::super::{options::Options, timeline::Timeline, verdict::Verdict};
use crate::world::{
    INNER, Stopped, Transport,
    admin::Admin,
    device::{Device, Paths},
    hosts::Host,
    intranet::Intranet,
    kernel::Kernel,
    scene::{Scene, SceneError},
    setup::{self, BOB, NON_IDENTITY, RULES},
    stage::{DIRECTORY, Stage},
    swaps::sign_in,
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::measure::usage;

/// Longest wait for a step.
const STEP: Duration = Duration::from_secs(15);
/// Where the load goes: a host that every identity may reach.
const PORT: u16 = 5001;
/// How often the end of a load is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// First swaps and first rules come with a cold cache; they are not measured.
const WARM_UP_MEGABYTES: u32 = 100;

pub(super) fn run(options: &Options, timeline: &Timeline, verdict: &mut Verdict) -> Result<(), Stopped> {
    timeline.chapter("What rules and swaps cost");
    let spacing = Duration::from_millis(u64::from(options.spacing));
    let mut without = Ends::start("without", 0, options.transport)?;
    timeline.note("a gateway and a device with two rules, whose identity stays");
    let mut with = Ends::start("with", options.rules, options.transport)?;
    let (rules, pace) = (options.rules, options.spacing);
    timeline.note(format_args!("another gateway and device with {rules} more rules, and a swap every {pace} ms"));
    without.load(WARM_UP_MEGABYTES, None)?;
    with.load(WARM_UP_MEGABYTES, Some(spacing))?;

    let mut pairs = Vec::new();
    let mut swaps = 0;
    for number in 0..options.pairs {
        // Whichever is first, is so in every other pair.
        let (bare, loaded) = if number.is_multiple_of(2) {
            let bare = without.load(options.megabytes, None)?;
            (bare, with.load(options.megabytes, Some(spacing))?)
        } else {
            let loaded = with.load(options.megabytes, Some(spacing))?;
            (without.load(options.megabytes, None)?, loaded)
        };
        swaps += loaded.swaps;
        timeline.note(format_args!(
            "pair {} of {}: {:.2} Gb/s at {:.2} CPU-s/GB without, {:.2} at {:.2} with ({} swaps)",
            number + 1,
            options.pairs,
            bare.gbps(),
            bare.cpu_per_gb(),
            loaded.gbps(),
            loaded.cpu_per_gb(),
            loaded.swaps,
        ));
        pairs.push(json!({ "without": bare.json(), "with": loaded.json() }));
    }
    verdict.number("pairs", pairs);
    verdict.number("rules", options.rules);
    verdict.number("spacing_ms", options.spacing);
    verdict.number("swaps", swaps);
    verdict.check("identity swaps under load", swaps, swaps > 0);
    let alive = without.kernel.alive() && with.kernel.alive();
    verdict.check("gateways and daemons still run", if alive { "yes" } else { "no" }, alive);
    Ok(())
}

/// What a load came to.
#[derive(Debug)]
struct Cost {
    /// Bytes that arrived.
    bytes: u64,
    seconds: f64,
    /// CPU of gateway and daemon.
    cpu_seconds: f64,
    /// Handshakes on the wire meanwhile: one for each swap.
    swaps: u64,
}

impl Cost {
    fn gbps(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.seconds
    }

    fn cpu_per_gb(&self) -> f64 {
        self.cpu_seconds / (self.bytes as f64 / 1e9)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "bytes": self.bytes,
            "seconds": self.seconds,
            "cpu_s": self.cpu_seconds,
            "gbps": self.gbps(),
            "cpu_s_per_gb": self.cpu_per_gb(),
            "swaps": self.swaps,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Sent {
    arrived: u64,
    seconds: f64,
}

/// A gateway, a device, and a load between the device and the intranet.
struct Ends {
    source: Host,
    _sink: Host,
    device: Device,
    /// Number of the latest session.
    session: u32,
    logged_on: bool,
    kernel: Kernel,
}

impl Ends {
    /// Starts both with so many rules, and registers a user whose log-on is a swap from then on.
    fn start(name: &str, rules: u32, transport: Transport) -> Result<Self, Stopped> {
        let room = PathBuf::from(format!("/run/vestibule-world-{name}"));
        let stage = Stage::build_in(room, INNER).map_err(SceneError::from)?;
        let paths = Paths::below(&stage.room, transport);
        let mut kernel = Kernel::start(stage)?;
        let (gateway, admin) = kernel.seat()?;
        let token = setup::organisation(&admin, transport, Intranet::FIRST)?;
        // Before the device comes: it would be told of each.
        add_rules(&admin, rules)?;
        paths.write_mdm(&token, true)?;
        kernel.boot(&paths.command(&gateway))?;
        let mut device = Device::sit_down(paths).inspect_err(|_| eprintln!("{}", kernel.logs()))?;
        device.until_identity(NON_IDENTITY, STEP)?;
        device.session(&format!("logon {} 1", BOB.user))?;
        let prompted = device.until("a sign-in prompt", STEP, |status| status.auth_url.is_some())?;
        sign_in(&kernel, &gateway, &prompted, &BOB)?;
        device.until_identity(BOB.email, STEP)?;

        let host = |namespace, side: &str| {
            let words = format!("bulk {side} {DIRECTORY}:{PORT}");
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            Host::start(namespace, &format!("bulk load {side}"), &words).map_err(SceneError::from)
        };
        let sink = host(&kernel.stage.intranet, "--listen")?;
        let source = host(&kernel.stage.device, "--connect")?;
        Ok(Self { source, _sink: sink, device, session: 1, logged_on: true, kernel })
    }

    /// Sends `megabytes`, with a swap every `spacing` if any.
    fn load(&mut self, megabytes: u32, spacing: Option<Duration>) -> Result<Cost, Stopped> {
        let bytes = u64::from(megabytes) * 1_000_000;
        let (swaps, cpu) = (self.kernel.wire()?.initiations, self.cpu());
        let command = format!("send {bytes}");
        self.source.tell(&command).map_err(SceneError::from)?;
        let mut next = Instant::now();
        while !self.source.has_answered() && self.kernel.alive() {
            if spacing.is_some_and(|_| Instant::now() >= next) {
                self.swap()?;
                next += spacing.unwrap_or_default();
            }
            thread::sleep(LOOK);
        }
        let sent: Sent = self.source.answer(&command).map_err(SceneError::from)?;
        let cpu_seconds = (self.cpu() - cpu).as_secs_f64();
        if sent.arrived != bytes {
            return Err(
                SceneError::from(std::io::Error::other(format!("{} of {bytes} bytes arrived", sent.arrived))).into()
            );
        }
        let swaps = self.kernel.wire()?.initiations - swaps;
        Ok(Cost { bytes, seconds: sent.seconds, cpu_seconds, swaps })
    }

    /// The user logs off, or on again.
    fn swap(&mut self) -> Result<(), Stopped> {
        let event = if self.logged_on {
            format!("logoff {}", self.session)
        } else {
            self.session += 1;
            format!("logon {} {}", BOB.user, self.session)
        };
        self.logged_on = !self.logged_on;
        Ok(self.device.session(&event)?)
    }

    /// Processor time of gateway and daemon so far.
    fn cpu(&self) -> Duration {
        let used = |(_, pid)| usage::of(pid).map(|usage| usage.cpu).unwrap_or_default();
        self.kernel.processes().into_iter().map(used).sum()
    }
}

/// Rules that come before all others and say nothing of the load.
fn add_rules(admin: &Admin, count: u32) -> Result<(), Stopped> {
    for number in 0..count {
        let [_, _, third, fourth] = number.to_be_bytes();
        let rule = json!({
            "name": format!("Rule {number}"),
            "enabled": true,
            "action": if number.is_multiple_of(2) { "block" } else { "allow" },
            "filters": ["l4"],
            "precedence": number,
            "traffic": format!("net.dst.ip in {{172.16.{third}.{fourth} 172.17.{third}.0/24}} and net.dst.port == {}",
                1024 + number),
        });
        admin.call(Method::POST, RULES, Some(rule))?;
    }
    Ok(())
}
