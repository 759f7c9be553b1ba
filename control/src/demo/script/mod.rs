//! The script: what happens on the stage, in order.

mod bare;
mod cost;
mod judge;
mod setup;
mod swaps;
mod trouble;
mod walk;

use super::{
    admin::{Admin, AdminError},
    device::{Device, DeviceError, Paths, Token},
    gateway::Facts,
    kernel::Kernel,
    options::Options,
    scene::{Account, Amount, Scene, SceneError},
    stage::Stage,
    timeline::Timeline,
    userspace::{Room, Userspace},
    verdict::Verdict,
};
use crate::{causes::chain, daemon::ipc::Status};
use reqwest::Method;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The devices' inner addresses.
const INNER: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(100, 96, 0, 0)), 12);

/// Why the script stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    /// The place it is played in.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The gateway's API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Something that should be there.
    #[error("there is no {0}")]
    Missing(&'static str),
}

/// Everything that takes part.
struct World<'a> {
    options: &'a Options,
    timeline: &'a Timeline,
    scene: Box<dyn Scene>,
    gateway: Facts,
    admin: Admin,
    token: Token,
    device: Device,
    amount: Amount,
    /// The last audit entry read, and the swaps among those read.
    audit_read: i64,
    audited: u64,
}

/// Runs the demo and returns its verdict, which a run that could not go on also has.
pub(super) fn run(options: &Options) -> Verdict {
    let timeline = Timeline::begin();
    let mut verdict = Verdict::default();
    verdict.number("version", env!("CARGO_PKG_VERSION"));
    let mode = match (options.bare, options.trouble, options.cost, options.userspace) {
        (true, ..) => "bare",
        (_, true, ..) => "trouble",
        (_, _, true, _) => "cost",
        (.., true) => "userspace",
        _ => "kernel",
    };
    verdict.number("mode", mode);
    verdict.number("rate", options.rate);
    verdict.number("tcp_rate", options.tcp_rate);
    let ended = if options.bare {
        bare::run(options, &timeline, &mut verdict)
    } else if options.trouble {
        trouble::run(options, &timeline, &mut verdict)
    } else if options.cost {
        cost::run(options, &timeline, &mut verdict)
    } else if options.userspace {
        Room::new().map_err(|cause| Stopped::Scene(cause.into())).and_then(|room| {
            let world = prepare_userspace(options, &timeline, &room);
            world.and_then(|mut world| world.play(&mut verdict))
        })
    } else {
        prepare(options, &timeline).and_then(|mut world| {
            let ended = world.play(&mut verdict);
            if ended.is_err() || verdict.failed() > 0 {
                eprintln!("{}", world.scene.logs());
            }
            ended
        })
    };
    if let Err(error) = ended {
        let line = chain(&error);
        timeline.note(format_args!("stopped: {line}"));
        verdict.check("the script ran to its end", line, false);
    }
    verdict
}

/// Builds the stage and starts the gateway and the device.
fn prepare<'a>(options: &'a Options, timeline: &'a Timeline) -> Result<World<'a>, Stopped> {
    timeline.chapter("The stage");
    let stage = Stage::build(INNER).map_err(SceneError::from)?;
    timeline.note("three hosts stand: device -- gateway -- intranet (directory 10.20.0.10, web 10.20.0.80)");
    let paths = Paths::below(&stage.room, options.transport);
    let mut kernel = Kernel::start(stage)?;
    timeline.note("the gateway runs");
    let (gateway, admin) = take_seat(&kernel)?;
    let token = setup::organisation(&admin, options.transport)?;
    timeline.note("service token, enrolment policies, two accounts and two rules made over the REST API");
    paths.write_mdm(&token, false)?;
    kernel.boot(&paths.command(&gateway))?;
    let device = Device::sit_down(paths).inspect_err(|_| eprintln!("{}", kernel.logs()))?;
    timeline.note("the device boots; nobody has logged in");
    let amount = Amount { rate: options.rate, tcp_rate: options.tcp_rate, mtu: 0 };
    let scene = Box::new(kernel);
    Ok(World { options, timeline, scene, gateway, admin, token, device, amount, audit_read: 0, audited: 0 })
}

/// The gateway's facts, and an administrator at its host.
fn take_seat(kernel: &Kernel) -> Result<(Facts, Admin), Stopped> {
    let gateway = kernel.gateway().ok_or(Stopped::Missing("gateway"))?;
    let secret = gateway.admin_token().map_err(SceneError::from)?;
    let seat = |work| kernel.stage.gateway.spawn(work).map(|_| ());
    let admin = Admin::seat(&gateway.facts, secret, seat).map_err(SceneError::from)?;
    Ok((gateway.facts.clone(), admin))
}

/// The same in this process.
fn prepare_userspace<'a>(options: &'a Options, timeline: &'a Timeline, room: &Room) -> Result<World<'a>, Stopped> {
    timeline.chapter("The stage: userspace, without devices; both ends in this process, joined by memory");
    let paths = Paths::below(room.path(), options.transport);
    let mut userspace = Userspace::start(room)?;
    timeline.note("the gateway runs");
    let gateway = userspace.facts();
    let secret = fs::read_to_string(&gateway.admin_token_file).map_err(SceneError::from)?;
    let seat = |work: Box<dyn FnOnce() + Send>| thread::Builder::new().spawn(work).map(|_| ());
    let admin = Admin::seat(&gateway, secret.trim().to_owned(), seat).map_err(SceneError::from)?;
    let token = setup::organisation(&admin, options.transport)?;
    timeline.note("service token, enrolment policies, two accounts and two rules made over the REST API");
    paths.write_mdm(&token, false)?;
    userspace.boot(&paths)?;
    let device = Device::sit_down(paths)?;
    timeline.note("the device boots; nobody has logged in");
    let amount = Amount { rate: options.rate, tcp_rate: options.tcp_rate, mtu: 0 };
    let scene = Box::new(userspace);
    Ok(World { options, timeline, scene, gateway, admin, token, device, amount, audit_read: 0, audited: 0 })
}

impl World<'_> {
    /// Both parts, and the verdict on their load.
    fn play(&mut self, verdict: &mut Verdict) -> Result<(), Stopped> {
        let (control, mut account) = walk::run(self, verdict)?;
        let largest = judge::gaps(verdict, "control_gap_us", &control.gaps);
        let swaps = swaps::run(self, verdict)?;
        account.add(&swaps);
        let gap = judge::gaps(verdict, "swap_gap_us", &account.gaps);
        account.add(&control);
        judge::load(verdict, &account);
        let measured = account.unanswered == 0 && !swaps.gaps.is_empty();
        verdict.check("largest gap around a swap", format!("{gap} µs (without swaps {largest} µs)"), measured);
        let alive = self.scene.alive();
        verdict.check("gateway and daemon still run", if alive { "yes" } else { "no" }, alive);
        Ok(())
    }

    /// Tells what a load came to.
    fn tell(&self, account: &Account) {
        let (up, down) = (account.up, account.down);
        self.timeline.note(format_args!(
            "load of {:.1} s: UDP {} up, {} down; lost {} and {}; TCP {} MB; sent again by TCP {}",
            account.seconds,
            up.sent,
            down.sent,
            up.lost,
            down.lost,
            account.tcp_bytes / 1_000_000,
            account.tcp_retransmitted
        ));
        account.troubles.iter().for_each(|trouble| self.timeline.note(format_args!("  {trouble}")));
    }

    /// How many swaps the gateway's audit holds.
    fn swaps_recorded(&mut self) -> Result<u64, Stopped> {
        loop {
            let entries = self.admin.call(Method::GET, &format!("vestibule/audit?since={}", self.audit_read), None)?;
            let entries = entries.as_array().cloned().unwrap_or_default();
            let Some(last) = entries.last().and_then(|entry| entry["id"].as_i64()) else { return Ok(self.audited) };
            self.audit_read = last;
            self.audited += entries.iter().filter(|entry| entry["kind"] == "swap").count() as u64;
        }
    }

    /// When the latest commit was, in nanoseconds of the wall clock.
    fn last_commit(&self) -> Result<Option<u64>, Stopped> {
        Ok(Some(moment(&self.device.status()?)?))
    }
}

/// When the active generation was committed, in nanoseconds of the wall clock.
fn moment(status: &Status) -> Result<u64, Stopped> {
    let since = status.since.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let since = since.ok_or(Stopped::Missing("time of the last commit"))?;
    Ok(u64::try_from(since.unix_timestamp_nanos()).unwrap_or(0))
}
