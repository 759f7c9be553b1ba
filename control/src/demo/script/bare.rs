//! The instruments alone: the same load over plain cables. What they lose here is not the tunnel's.

use super::{
    super::{options::Options, timeline::Timeline, verdict::Verdict},
    judge,
};
use crate::world::{
    INNER, Stopped,
    load::Load,
    scene::{Amount, SceneError, Traffic},
    stage::{DEVICE, GATEWAY, INSIDE, Stage},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use vestibule_platform::sandbox;

pub(super) fn run(options: &Options, timeline: &Timeline, verdict: &mut Verdict) -> Result<(), Stopped> {
    timeline.chapter("The instruments alone");
    let underlay = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0));
    let stage = Rc::new(Stage::build(INNER).map_err(SceneError::from)?);
    sandbox::route(&stage.intranet, underlay, 24, INSIDE).map_err(SceneError::from)?;
    sandbox::route(&stage.device, IpAddr::V4(Ipv4Addr::new(10, 20, 0, 0)), 24, GATEWAY).map_err(SceneError::from)?;
    timeline.note("three hosts stand, joined by plain cables");
    let amount = Amount { rate: options.rate, tcp_rate: options.tcp_rate, mtu: 1420, plant: false };
    let mut load = Box::new(Load::start(&stage, DEVICE, amount, 0).map_err(SceneError::from)?);
    timeline.note("load runs");
    quiet(&mut *load, options.control)?;
    let account = load.finish()?;
    judge::load(verdict, &account);
    judge::gaps(verdict, "control_gap_us", &account.gaps);
    Ok(())
}

/// Lets the load run for `seconds` and measures gaps around moments at which nothing happens.
pub(super) fn quiet(load: &mut dyn Traffic, seconds: u32) -> Result<(), Stopped> {
    thread::sleep(Duration::from_millis(300));
    for _ in 0..seconds * 10 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        thread::sleep(Duration::from_millis(100));
        load.measure_gap(u64::try_from(now.as_nanos()).unwrap_or(0))?;
    }
    Ok(())
}
