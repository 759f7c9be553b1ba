//! Random histories: what a seed does to a simulation, and the shortest part of it that still fails.

use crate::{
    Random, Settings, Sim,
    control::Fate,
    generations::{End, Life},
    network::Link,
    policy::{PolicySpec, RuleSpec},
    sim::{DEVICES, net},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use vestibule_engine::wireguard::SessionBackend::{Boringtun, Native};

/// One thing that happens; traffic goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Only traffic.
    Traffic(u16),
    /// A swap.
    Swap(usize, usize),
    /// A second order, so many milliseconds after the first.
    Double(usize, usize, u16),
    /// A swap that is given up again.
    Abort(usize, usize, u16),
    /// An order or its answer is lost.
    Lost(usize, usize, bool),
    /// Time for a new handshake of each session, with sparse traffic.
    Rekey(u16),
    /// A device's address changes; the old one may stay.
    Roam(usize, bool),
    /// New rules for an identity, drawn from a seed.
    Publish(usize, u64),
    /// The gateway restarts, its devices order anew.
    Restart,
    /// A device's active generation is revoked.
    Revoke(usize),
    /// A bad network for a while: loss per mille, reordering, duplication.
    Bad(u16, u16),
    /// Nothing passes for so many milliseconds.
    Hole(usize, u16),
    /// Garbage, truncated and replayed datagrams at an end.
    Noise(u64),
}

/// Which histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Lossless and order-preserving: nothing may be lost, doubled, reordered or reset.
    Lossless,
    /// Anything but a restart.
    Lossy,
    /// Anything.
    Everything,
}

/// Devices in a run.
const DEVICES_IN_RUN: usize = 2;

/// The history that a seed names.
#[must_use]
pub fn history(seed: u64, profile: Profile) -> Vec<Step> {
    let mut random = Random::new(seed ^ 0x5eed);
    let count = 3 + random.below(10);
    let short = |random: &mut Random| u16::try_from(random.below(400)).unwrap_or(0);
    (0..count)
        .map(|_| {
            let device = random.index(DEVICES_IN_RUN);
            let identity = random.index(3);
            match (random.below(20), profile) {
                (0..2, _) => Step::Traffic(short(&mut random)),
                (2..7, _) => Step::Swap(device, identity),
                (7..9, _) => Step::Double(device, identity, short(&mut random)),
                (9, _) => Step::Abort(device, identity, short(&mut random)),
                (10, _) => Step::Lost(device, identity, random.chance(500)),
                (11, _) => Step::Rekey(100 + short(&mut random)),
                (12, Profile::Lossless) => Step::Roam(device, true),
                (12, _) => Step::Roam(device, random.chance(500)),
                (13..16, _) => Step::Publish(identity, random.bits()),
                (16, _) => Step::Noise(random.bits()),
                (_, Profile::Lossless) => Step::Swap(device, identity),
                (17, Profile::Everything) => Step::Restart,
                (17, _) => Step::Hole(device, short(&mut random) * 20),
                (18, _) => Step::Revoke(device),
                _ => Step::Bad(u16::try_from(random.below(300)).unwrap_or(0), 1000 + short(&mut random) * 10),
            }
        })
        .collect()
}

/// Rules that always allow the first three of the usual flows, and the rest by chance.
#[must_use]
pub fn rules(seed: u64) -> PolicySpec {
    let mut random = Random::new(seed);
    let rule =
        |destination: &str, port, protocol, allow| RuleSpec { destination: net(destination), port, protocol, allow };
    let mut rules = vec![rule("10.0.0.53/32", None, None, true), rule(DEVICES, Some(7_000), Some(17), true)];
    for destination in ["10.0.0.80/32", "10.0.0.99/32", "10.0.0.64/26"] {
        if random.chance(600) {
            let port = [None, Some(443), Some(22)][random.index(3)];
            let protocol = [None, Some(6), Some(17)][random.index(3)];
            rules.push(rule(destination, port, protocol, random.chance(500)));
        }
    }
    PolicySpec { rules, default_allow: random.chance(500) }
}

/// The three identities at the start: before login, and two users.
#[must_use]
pub fn identities() -> Vec<PolicySpec> {
    let always = rules(0).rules[..2].to_vec();
    let block =
        |destination: &str| RuleSpec { destination: net(destination), port: None, protocol: None, allow: false };
    let with = |destination: &str| [always.clone(), vec![block(destination)]].concat();
    vec![
        PolicySpec { rules: always.clone(), default_allow: false },
        PolicySpec { rules: with("10.0.0.99/32"), default_allow: true },
        PolicySpec { rules: with("10.0.0.80/32"), default_allow: true },
    ]
}

/// The world of a seed: two connected devices with their usual flows.
#[must_use]
pub fn world(seed: u64) -> Sim {
    let mut random = Random::new(seed ^ 0xa11);
    let ms = |random: &mut Random, most| Duration::from_millis(random.below(most));
    let link = Link::clean(Duration::from_micros(200) + ms(&mut random, 60), ms(&mut random, 15));
    let mut sim = Sim::new(Settings {
        seed,
        devices: DEVICES_IN_RUN,
        link,
        batches: random.chance(500),
        identities: identities(),
        control_delay: ms(&mut random, 80),
        persistent_keepalive: [None, Some(25)][random.index(2)],
        // A device that boringtun's sessions serve is one of three, a gateway one of five.
        backends: [3, 5].map(|share| if random.index(share) == 0 { Boringtun } else { Native }),
    });
    for device in 0..DEVICES_IN_RUN {
        sim.usual_flows(device);
        let label = sim.order(device, 0);
        sim.run_until(Duration::from_secs(20), |sim| sim.generations.all[&label].acknowledged);
        if !sim.generations.all[&label].acknowledged {
            sim.complaints.push(format!("device {device} never connected"));
        }
    }
    sim
}

/// Runs a history to its end.
///
/// # Errors
/// What the judges found.
pub fn run(seed: u64, profile: Profile, history: &[Step]) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut sim = world(seed);
        let tick = Duration::from_millis(2 + sim.random.below(30));
        sim.start_traffic(tick);
        for step in history {
            if !sim.complaints.is_empty() {
                break;
            }
            sim.note(format!("step {step:?}"));
            apply(&mut sim, *step, tick);
        }
        sim.run(Duration::from_secs(1));
        if profile != Profile::Lossless && sim.complaints.is_empty() {
            recover(&mut sim);
        }
        sim.finish(profile == Profile::Lossless)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        Err(format!("panicked: {text}"))
    })
}

fn apply(sim: &mut Sim, step: Step, tick: Duration) {
    let ms = |ms: u16| Duration::from_millis(ms.into());
    match step {
        Step::Traffic(span) => sim.run(ms(span)),
        Step::Swap(device, identity) => {
            let label = sim.order(device, identity);
            sim.run_until(Duration::from_secs(8), |sim| {
                let state = &sim.generations.all[&label];
                state.acknowledged || state.failed
            });
        }
        Step::Double(device, identity, gap) => {
            sim.order(device, identity);
            sim.run(ms(gap));
            sim.order(device, (identity + 1) % 3);
            sim.run(ms(gap));
        }
        Step::Abort(device, identity, after) => {
            sim.order_with(device, identity, Fate::Arrives, false);
            sim.run(ms(after));
            sim.abort_waiting(device);
            sim.run(ms(after));
        }
        Step::Lost(device, identity, order) => {
            let fate = if order { Fate::OrderLost } else { Fate::AnswerLost };
            sim.order_with(device, identity, fate, true);
            sim.run(Duration::from_millis(300));
        }
        Step::Rekey(seconds) => {
            sim.start_traffic(Duration::from_millis(700));
            sim.run(Duration::from_secs(u64::from(seconds)));
            sim.start_traffic(tick);
        }
        Step::Roam(device, keep) => {
            sim.roam(device, keep);
            sim.run(Duration::from_millis(300));
        }
        Step::Publish(identity, seed) => {
            sim.publish(identity, &rules(seed));
            sim.run(ms(u16::try_from(seed % 300).unwrap_or(0)));
        }
        Step::Restart => {
            sim.restart_gateway();
            sim.run(Duration::from_millis(500));
            for device in 0..DEVICES_IN_RUN {
                sim.order(device, 0);
            }
            sim.run(Duration::from_secs(2));
        }
        Step::Revoke(device) => {
            if let Some(label) = sim.generations.active(End::Gateway, device).map(|state| state.label) {
                sim.revoke(label);
            }
            sim.run(Duration::from_millis(300));
        }
        Step::Bad(loss, span) => {
            for link in sim.devices.iter_mut().flat_map(|device| &mut device.links) {
                (link.loss, link.reorder, link.duplicate) = (loss.into(), 50, 50);
            }
            sim.run(ms(span));
            for link in sim.devices.iter_mut().flat_map(|device| &mut device.links) {
                (link.loss, link.reorder, link.duplicate) = (0, 0, 0);
            }
        }
        Step::Hole(device, span) => {
            let until = sim.clock.elapsed() + ms(span);
            sim.devices[device].links.iter_mut().for_each(|link| link.hole_until = until);
            sim.run(ms(span));
        }
        Step::Noise(seed) => sim.noise(seed),
    }
}

/// After any history a device connects by ordering anew, and traffic flows both ways.
fn recover(sim: &mut Sim) {
    sim.traffic.stop();
    sim.run(Duration::from_secs(12));
    for device in 0..DEVICES_IN_RUN {
        let label = sim.order(device, 1);
        sim.run_until(Duration::from_secs(30), |sim| sim.generations.all[&label].acknowledged);
        let state = &sim.generations.all[&label];
        if !state.acknowledged || state.gateway_half.life != Life::Active {
            sim.complaints.push(format!("device {device} did not recover: {state:?}"));
        }
        let flow = device * 7;
        for direction in [crate::packet::Direction::Up, crate::packet::Direction::Down] {
            let before = sim.model.flows[flow].way(direction).delivered;
            sim.send(flow, direction, 3);
            sim.run(Duration::from_millis(500));
            let after = sim.model.flows[flow].way(direction).delivered;
            if after != before + 3 {
                sim.complaints.push(format!("device {device}: {} of 3 {direction:?} after recovery", after - before));
            }
        }
    }
}

/// The shortest history that still fails, found by leaving steps out.
#[must_use]
pub fn shrink(seed: u64, profile: Profile, history: &[Step]) -> (Vec<Step>, String) {
    let mut best = history.to_vec();
    let mut text = match run(seed, profile, &best) {
        Err(text) => text,
        Ok(()) => return (best, "fails no more: the run is not a function of its seed".into()),
    };
    let mut at = best.len();
    while at > 0 {
        at -= 1;
        let mut shorter = best.clone();
        shorter.remove(at);
        if let Err(failed) = run(seed, profile, &shorter) {
            best = shorter;
            text = failed;
        }
    }
    (best, text)
}
