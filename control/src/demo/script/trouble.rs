//! What goes wrong in an administrator's life: nothing that was acknowledged may be lost, and every error must say what
//! to do. Played by `vestibule demo --trouble`, for the end-to-end tests.

use super::{
    super::{options::Options, timeline::Timeline, verdict::Verdict},
    walk::eventually,
};
use crate::daemon::ipc::{MdmState, State, Status};
use crate::world::{
    INNER, Stopped,
    admin::Admin,
    device::{Device, Paths, Token, mdm},
    gateway::TUNNEL_PORT,
    hosts::Host,
    intranet::Intranet,
    kernel::Kernel,
    probe::Question,
    scene::{Amount, Scene, SceneError, Traffic},
    setup::{self, NON_IDENTITY, RULES, block_echo},
    stage::{GATEWAY, Stage},
    swaps::inner,
};
use reqwest::Method;
use serde_json::json;
use std::{
    fs,
    io::Write,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::{measure::usage, sandbox};

/// Longest wait for a recovery.
const RECOVERY: Duration = Duration::from_secs(45);
/// The gateway's disk.
const DISK: u64 = 32 << 20;
/// Datagrams per second that an attacker sends.
const FLOOD: u32 = 100_000;
/// Memory that a flood may cost the gateway.
const GROWTH_KB: u64 = 64 << 10;

struct Trouble<'a> {
    timeline: &'a Timeline,
    verdict: &'a mut Verdict,
    kernel: Kernel,
    admin: Admin,
    token: Token,
    paths: Paths,
    device: Device,
    inner: IpAddr,
    amount: Amount,
}

pub(super) fn run(options: &Options, timeline: &Timeline, verdict: &mut Verdict) -> Result<(), Stopped> {
    timeline.chapter("What goes wrong");
    let stage = Stage::build(INNER).map_err(SceneError::from)?;
    let data = stage.room.join("gateway");
    fs::create_dir_all(&data).map_err(SceneError::from)?;
    sandbox::small_disk(&data, DISK).map_err(SceneError::from)?;
    let paths = Paths::below(&stage.room, options.transport);
    let mut kernel = Kernel::start(stage)?;
    let (gateway, admin) = kernel.seat()?;
    let token = setup::organisation(&admin, options.transport, Intranet::FIRST)?;

    // The device boots while the gateway is down.
    kernel.kill_gateway();
    paths.write_mdm(&token, false)?;
    kernel.boot(&paths.command(&gateway))?;
    let device = Device::sit_down(paths.clone()).inspect_err(|_| eprintln!("{}", kernel.logs()))?;
    let told = device.until("an error", RECOVERY, |status| status.last_error.is_some());
    claim(verdict, timeline, "gateway down at boot: it is told", told, |status| error_of(&status));
    kernel.restart_gateway()?;
    let (_, admin) = kernel.seat()?;
    let back = device.until_identity(NON_IDENTITY, RECOVERY);
    let address = back.as_ref().ok().and_then(inner);
    claim(verdict, timeline, "gateway back: connected", back, |status| status.summary);
    let Some(inner) = address else { return Err(Stopped::Missing("inner address")) };

    let amount = Amount { rate: options.rate.min(2000), tcp_rate: options.tcp_rate.min(50), mtu: 1420, plant: false };
    let mut trouble = Trouble { timeline, verdict, kernel, admin, token, paths, device, inner, amount };
    let ended = trouble.all();
    if ended.is_err() || trouble.verdict.failed() > 0 {
        eprintln!("{}", trouble.kernel.logs());
    }
    ended
}

/// Enters what came of a wait, and tells it.
fn claim<T, E: std::error::Error>(
    verdict: &mut Verdict,
    timeline: &Timeline,
    claim: &str,
    outcome: Result<T, E>,
    shown: impl FnOnce(T) -> String,
) {
    let passed = outcome.is_ok();
    let shown = outcome.map_or_else(|error| crate::causes::chain(&error), shown);
    timeline.note(format_args!("{claim}: {shown}"));
    verdict.check(claim, shown, passed);
}

fn error_of(status: &Status) -> String {
    status.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default()
}

impl Trouble<'_> {
    fn all(&mut self) -> Result<(), Stopped> {
        self.files()?;
        self.kills()?;
        self.flood()?;
        self.full_disk()?;
        self.tokens()
    }

    fn check(&mut self, claim: impl Into<String>, shown: impl std::fmt::Display, passed: bool) {
        let claim = claim.into();
        self.timeline.note(format_args!("{claim}: {shown}"));
        self.verdict.check(claim, shown, passed);
    }

    /// Kilobytes of memory that the gateway holds.
    fn resident_kb(&self) -> u64 {
        let usage = self.kernel.gateway().and_then(|gateway| usage::of(gateway.service.pid()).ok());
        usage.map_or(0, |usage| usage.resident / 1024)
    }

    /// The directory server answers within `patience`.
    fn answers(&self, patience: Duration) -> Result<bool, Stopped> {
        let answered = || Ok(self.kernel.ask(Question::Directory)?.answered().then_some(()));
        Ok(eventually(patience, answered)?.is_some())
    }

    /// A broken MDM file changes nothing but the status, which names file and key.
    fn files(&mut self) -> Result<(), Stopped> {
        let good = mdm(&self.token, false);
        let without_secret = good.replacen("auth_client_secret", "auth_client_secrets", 1);
        let huge = format!("<dict>{}", "<key>a</key><string>b</string>\n".repeat(10 * 1024 * 1024 / 31));
        let files: [(&str, &[u8], &str); 6] = [
            ("empty", b"", "mdm.xml"),
            ("not XML", b"organization=mycompany\n", "mdm.xml"),
            ("half-written", &good.as_bytes()[..good.len() / 2], "mdm.xml"),
            ("of 10 MB", huge.as_bytes(), "mdm.xml"),
            ("without the token's secret", without_secret.as_bytes(), "auth_client_secret"),
            ("of bytes that are no text", &[0xff, 0xfe, 0, 1, 2], "mdm.xml"),
        ];
        for (name, bytes, named) in files {
            self.paths.write_file(bytes)?;
            let status = self.device.until("a complaint about mdm.xml", RECOVERY, |status| {
                status.mdm.state == MdmState::LastGood && status.mdm.error.is_some()
            });
            let answers = self.answers(Duration::from_secs(1))?;
            let (shown, passed) = match status {
                Ok(status) => {
                    let error = status.mdm.error.clone().unwrap_or_default();
                    let kept = status.identity.as_deref() == Some(NON_IDENTITY);
                    let passed = error.contains(named) && kept && answers;
                    (error, passed)
                }
                Err(error) => (crate::causes::chain(&error), false),
            };
            self.check(format!("mdm.xml {name}: told, and nothing changes"), shown, passed);
            self.paths.write_mdm(&self.token, false)?;
            self.device.until("a good mdm.xml", RECOVERY, |status| status.mdm.state == MdmState::Loaded)?;
        }
        Ok(())
    }

    /// Either end killed at any moment comes back with everything it had acknowledged.
    fn kills(&mut self) -> Result<(), Stopped> {
        let registration = self.device.status()?.registration;
        let rules = self.admin.call(Method::GET, RULES, None)?;
        for round in 0..3 {
            thread::sleep(Duration::from_millis(300 * round));
            self.kernel.kill_gateway();
            self.kernel.restart_gateway()?;
            // Connections to the former one are dead.
            (_, self.admin) = self.kernel.seat()?;
            let begun = Instant::now();
            let answers = self.answers(RECOVERY)?;
            let shown = format!("the directory server answers after {} ms", begun.elapsed().as_millis());
            self.check("gateway killed and started again: traffic goes on", shown, answers);
        }
        let kept = self.admin.call(Method::GET, RULES, None)? == rules;
        self.check("gateway killed: its rules are kept", if kept { "yes" } else { "no" }, kept);

        let gateway = self.kernel.gateway().map(|gateway| gateway.facts.clone()).ok_or(Stopped::Missing("gateway"))?;
        for round in 0..3 {
            thread::sleep(Duration::from_millis(200 * round));
            self.kernel.kill_daemon();
            self.kernel.boot(&self.paths.command(&gateway))?;
            self.device = Device::sit_down(self.paths.clone())?;
            let status = self.device.until_identity(NON_IDENTITY, RECOVERY);
            let answers = self.answers(Duration::from_secs(2))?;
            let (shown, passed) = match status {
                Ok(status) => {
                    let same = status.registration == registration && inner(&status) == Some(self.inner);
                    (format!("inner address {:?}", inner(&status)), same && answers)
                }
                Err(error) => (crate::causes::chain(&error), false),
            };
            self.check("daemon killed and started again: same registration and address", shown, passed);
        }
        Ok(())
    }

    /// Under a flood, a flow keeps at least half of its throughput, and memory stays bounded.
    fn flood(&mut self) -> Result<(), Stopped> {
        const SPAN: Duration = Duration::from_secs(3);
        let mut load = self.kernel.load(self.inner, self.amount, 0)?;
        thread::sleep(Duration::from_secs(1));
        let before = throughput(&mut *load, SPAN)?;
        let memory = self.resident_kb();
        let replay = self.kernel.recorded()?.join(",");
        let target = format!("{GATEWAY}:{}", TUNNEL_PORT);
        let words = format!("flood --local 0.0.0.0:40000 --target {target} --rate {FLOOD} --replay {replay}");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let mut attacker = Host::start(&self.kernel.stage.device, "attacker", &words).map_err(SceneError::from)?;
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let first: serde_json::Value = attacker.ask("report").map_err(SceneError::from)?;
        let during = throughput(&mut *load, SPAN)?;
        let last: serde_json::Value = attacker.ask("report").map_err(SceneError::from)?;
        let sent = last["sent"].as_u64().unwrap_or(0) - first["sent"].as_u64().unwrap_or(0);
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        drop(attacker);
        let grown = self.resident_kb().saturating_sub(memory);
        let account = load.finish()?;
        let shown = format!("{:.1} of {:.1} Mb/s under {rate:.0} datagrams/s", during * 8e-6, before * 8e-6);
        self.check("flood: half of the throughput is kept", shown, during >= before / 2.0);
        self.check("flood: the gateway's memory is bounded", format!("{grown} kB more"), grown < GROWTH_KB);
        let broken = account.tcp_resets + account.tcp_mismatched + account.both().corrupted + account.both().duplicated;
        self.check("flood: nothing forged, doubled or broken arrives", broken, broken == 0);
        let answers = self.answers(Duration::from_secs(5))?;
        self.check("flood over: the directory server answers", if answers { "yes" } else { "no" }, answers);
        Ok(())
    }

    /// A full disk stops what must be stored, says so, and stops nothing else.
    fn full_disk(&mut self) -> Result<(), Stopped> {
        let filler = self.kernel.stage.room.join("gateway/filler");
        let mut file = fs::File::create(&filler).map_err(SceneError::from)?;
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        drop(file);
        let refused = self.admin.call(Method::POST, RULES, Some(block_echo()));
        let (shown, passed) = match refused {
            Ok(_) => ("the gateway took a rule that it cannot have stored".to_owned(), false),
            Err(error) => {
                let shown = crate::causes::chain(&error);
                let passed = shown.contains("disk") || shown.contains("full") || shown.contains("store");
                (shown, passed)
            }
        };
        self.check("disk full: a change is refused, with the reason", shown, passed);
        let answers = self.answers(Duration::from_secs(2))?;
        self.check("disk full: traffic goes on", if answers { "yes" } else { "no" }, answers);
        fs::remove_file(&filler).map_err(SceneError::from)?;
        let stored = eventually(RECOVERY, || Ok(self.admin.make(RULES, block_echo(), "id").ok()))?;
        if let Some(id) = &stored {
            self.admin.call(Method::DELETE, &format!("{RULES}/{id}"), None)?;
        }
        self.check(
            "disk free again: changes are stored",
            if stored.is_some() { "yes" } else { "no" },
            stored.is_some(),
        );
        Ok(())
    }

    /// A new device with a token that is not good: told, and connected as soon as it is.
    fn tokens(&mut self) -> Result<(), Stopped> {
        let gateway = self.kernel.gateway().map(|gateway| gateway.facts.clone()).ok_or(Stopped::Missing("gateway"))?;
        let make = |name: &str, duration: &str| -> Result<(String, Token), Stopped> {
            let wish = json!({ "name": name, "duration": duration });
            let made = self.admin.call(Method::POST, "access/service_tokens", Some(wish))?;
            let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
            Ok((text("id"), Token { id: text("client_id"), secret: text("client_secret") }))
        };
        let (_, expired) = make("Short-lived", "1s")?;
        let (id, disabled) = make("Disabled", "1h")?;
        self.admin.call(Method::PUT, &format!("access/service_tokens/{id}"), Some(json!({ "enabled": false })))?;
        let (id, deleted) = make("Deleted", "1h")?;
        self.admin.call(Method::DELETE, &format!("access/service_tokens/{id}"), None)?;
        let wrong = Token { secret: self.token.secret.chars().rev().collect(), ..self.token.clone() };
        thread::sleep(Duration::from_secs(1));

        self.kernel.kill_daemon();
        let paths = Paths { state: self.kernel.stage.room.join("another device"), ..self.paths.clone() };
        paths.write_mdm(&wrong, false)?;
        self.kernel.boot(&paths.command(&gateway))?;
        self.device = Device::sit_down(paths.clone())?;
        let tokens = [
            ("with a wrong secret", &wrong, "token_secret_wrong"),
            ("that has expired", &expired, "token_expired"),
            ("that is disabled", &disabled, "token_disabled"),
            ("that is deleted", &deleted, "token_unknown"),
        ];
        for (name, token, word) in tokens {
            paths.write_mdm(token, false)?;
            let told = self.device.until(&format!("an error that says `{word}`"), RECOVERY, |status| {
                status.state != State::Connected && error_of(status).contains(word)
            });
            claim(self.verdict, self.timeline, &format!("service token {name}: it is told"), told, |s| error_of(&s));
        }
        paths.write_mdm(&self.token, false)?;
        let connected = self.device.until_identity(NON_IDENTITY, RECOVERY);
        claim(self.verdict, self.timeline, "a good token: connected", connected, |status| status.summary);
        let web = self.kernel.ask(Question::Web)?;
        self.check("after all that, the intranet is still refused before login", &web, web.refused());
        Ok(())
    }
}

/// Bytes per second that arrive over the load's TCP connection.
fn throughput(load: &mut dyn Traffic, span: Duration) -> Result<f64, Stopped> {
    let (before, begun) = (load.stream()?, Instant::now());
    thread::sleep(span);
    let after = load.stream()?;
    Ok(after.received.saturating_sub(before.received) as f64 / begun.elapsed().as_secs_f64())
}
