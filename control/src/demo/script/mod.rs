//! The script: what happens on the stage, in order.

mod bare;
mod cost;
mod judge;
mod swaps;
mod trouble;
mod walk;

use super::{options::Options, timeline::Timeline, verdict::Verdict};
use crate::causes::chain;
use crate::world::{
    self, Stopped,
    admin::Admin,
    device::{Device, Token},
    gateway::Facts,
    scene::{Account, Amount, Scene},
    swaps::Audit,
    userspace::Room,
};

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
    audit: Audit,
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
        Room::new(&std::env::temp_dir()).map_err(|cause| Stopped::Scene(cause.into())).and_then(|room| {
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

/// The world of kernels, on its stage.
fn prepare<'a>(options: &'a Options, timeline: &'a Timeline) -> Result<World<'a>, Stopped> {
    timeline.chapter("The stage");
    let world = world::World::of_kernels(options.transport, |step| timeline.note(step))?;
    Ok(World::new(options, timeline, world))
}

/// The same in this process.
fn prepare_userspace<'a>(options: &'a Options, timeline: &'a Timeline, room: &Room) -> Result<World<'a>, Stopped> {
    timeline.chapter("The stage: userspace, without devices; both ends in this process, joined by memory");
    let world = world::World::of_memory(options.transport, room, None, |step| timeline.note(step))?;
    Ok(World::new(options, timeline, world))
}

impl<'a> World<'a> {
    fn new(options: &'a Options, timeline: &'a Timeline, world: world::World) -> Self {
        let world::World { scene, gateway, admin, token, device } = world;
        let amount = Amount { rate: options.rate, tcp_rate: options.tcp_rate, mtu: 0, plant: false };
        Self { options, timeline, scene, gateway, admin, token, device, amount, audit: Audit::default() }
    }

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
}
