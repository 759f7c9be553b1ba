//! Named histories of the swap, one promise each.

use std::time::Duration;
use vestibule_engine::core::{CommitError, DropReason};
use vestibule_engine::wireguard::SessionBackend;
use vestibule_virtual_time::{
    Settings, Sim,
    control::Fate,
    generations::{End, Life},
    network::Link,
    packet::{Direction, UDP},
    steps::identities,
};

const DEVICE: End = End::Device(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Native sessions at both ends, or boringtun's when `VESTIBULE_SIM_BACKEND=boringtun` says so.
fn backends() -> [SessionBackend; 2] {
    match std::env::var("VESTIBULE_SIM_BACKEND").as_deref() {
        Ok("boringtun") => [SessionBackend::Boringtun; 2],
        _ => [SessionBackend::Native; 2],
    }
}

/// One device, connected before login, over a path of `delay` each way; its flow 0 is allowed by every identity.
fn connected(delay: Duration) -> Sim {
    let mut sim = Sim::new(Settings {
        seed: 7,
        devices: 1,
        link: Link::clean(delay, Duration::ZERO),
        batches: false,
        identities: identities(),
        control_delay: ms(5),
        persistent_keepalive: None,
        backends: backends(),
    });
    sim.flow(0, UDP, Direction::Up, 40_001, ([10, 0, 0, 53], 53));
    let label = sim.order(0, 0);
    assert!(sim.run_until(Duration::from_secs(5), |sim| sim.generations.all[&label].acknowledged));
    sim.send(0, Direction::Up, 1);
    sim.run(delay * 2);
    sim
}

fn life(sim: &Sim, label: u64, end: End) -> Life {
    sim.generations.all[&label].half(end).life
}

fn acknowledged(sim: &mut Sim, label: u64) -> bool {
    sim.run_until(Duration::from_secs(20), |sim| sim.generations.all[&label].acknowledged)
}

fn drops(sim: &Sim, end: End, reason: DropReason) -> u64 {
    match end {
        End::Gateway => sim.gateway.engine.counters().drops(reason),
        End::Device(number) => sim.devices[number].node.engine.counters().drops(reason),
    }
}

/// Sends both ways every 2 ms for `span`.
fn traffic(sim: &mut Sim, span: Duration) {
    let end = sim.clock.elapsed() + span;
    while sim.clock.elapsed() < end {
        sim.send(0, Direction::Up, 2);
        sim.send(0, Direction::Down, 2);
        sim.run(ms(2));
        sim.verdict().unwrap();
    }
}

#[test]
fn commit_before_ready_is_refused_and_disturbs_nothing() {
    let mut sim = connected(ms(40));
    let label = sim.order_with(0, 1, Fate::Arrives, false);
    assert!(sim.run_until(ms(500), |sim| life(sim, label, DEVICE) == Life::Preparing));
    let id = sim.generations.all[&label].device_half.id;
    assert_eq!(sim.commit(label), Err(CommitError::NotReady(id)));
    traffic(&mut sim, ms(200));
    assert_eq!((life(&sim, 1, DEVICE), life(&sim, label, DEVICE)), (Life::Active, Life::Ready));
    assert_eq!(sim.commit(label), Ok(()));
    traffic(&mut sim, ms(200));
    assert!(acknowledged(&mut sim, label));
    sim.finish(true).unwrap();
}

#[test]
fn old_receive_keys_open_what_is_in_flight_after_the_commit() {
    let mut sim = connected(ms(40));
    let label = sim.order(0, 1);
    let mut sent_after_commit = 0;
    for _ in 0..100 {
        sim.send(0, Direction::Down, 3);
        sim.run(ms(2));
        if life(&sim, label, DEVICE) == Life::Active && life(&sim, label, End::Gateway) != Life::Active {
            sent_after_commit += 3;
        }
    }
    assert!(acknowledged(&mut sim, label));
    // 40 ms in flight when the device commits, and 40 ms more until the gateway hears of it.
    assert!(sent_after_commit >= 3 * 15, "{sent_after_commit} sent under the old generation after the device's commit");
    assert!(sim.model.under_draining >= 3 * 30, "{} opened while draining", sim.model.under_draining);
    sim.finish(true).unwrap();
}

#[test]
fn a_lost_marker_is_sent_again() {
    let mut sim = connected(ms(10));
    let label = sim.order_with(0, 1, Fate::Arrives, false);
    assert!(sim.run_until(ms(500), |sim| life(sim, label, DEVICE) == Life::Ready));
    sim.run(ms(50));
    sim.devices[0].links[0].drop_next = 2;
    assert_eq!(sim.commit(label), Ok(()));
    let committed = sim.clock.elapsed();
    assert!(acknowledged(&mut sim, label));
    let took = sim.clock.elapsed() - committed;
    assert!(took > ms(100) && took < ms(400), "two markers were lost, the third was acknowledged after {took:?}");
    traffic(&mut sim, ms(50));
    assert_eq!(sim.control.audit, 2);
    sim.finish(true).unwrap();
}

#[test]
fn the_gateway_commits_on_the_first_data_when_the_marker_is_lost() {
    let mut sim = connected(ms(10));
    let label = sim.order_with(0, 1, Fate::Arrives, false);
    assert!(sim.run_until(ms(500), |sim| life(sim, label, DEVICE) == Life::Ready));
    sim.run(ms(50));
    sim.devices[0].links[0].drop_next = 1;
    assert_eq!(sim.commit(label), Ok(()));
    sim.send(0, Direction::Up, 1);
    sim.run(ms(11));
    assert_eq!(life(&sim, label, End::Gateway), Life::Active);
    assert!(!sim.generations.all[&label].acknowledged);
    traffic(&mut sim, ms(50));
    assert!(acknowledged(&mut sim, label));
    assert_eq!(sim.control.audit, 2);
    sim.finish(true).unwrap();
}

#[test]
fn a_lost_acknowledgement_is_asked_for_again() {
    let mut sim = connected(ms(10));
    let label = sim.order_with(0, 1, Fate::Arrives, false);
    assert!(sim.run_until(ms(500), |sim| life(sim, label, DEVICE) == Life::Ready));
    sim.run(ms(50));
    sim.devices[0].links[1].drop_next = 2;
    assert_eq!(sim.commit(label), Ok(()));
    let committed = sim.clock.elapsed();
    assert!(acknowledged(&mut sim, label));
    assert!(sim.clock.elapsed() - committed > ms(100));
    traffic(&mut sim, ms(50));
    assert_eq!(sim.control.audit, 2, "the gateway commits once, however often it is told");
    sim.finish(true).unwrap();
}

#[test]
fn a_blackhole_during_prepare_fails_it_and_the_old_generation_never_notices() {
    let mut sim = connected(ms(10));
    sim.devices[0].links.iter_mut().for_each(|link| link.swallow_handshakes = true);
    let label = sim.order(0, 1);
    let from = sim.clock.elapsed();
    while !sim.generations.all[&label].failed && sim.clock.elapsed() < from + Duration::from_secs(30) {
        traffic(&mut sim, ms(100));
    }
    let took = sim.clock.elapsed() - from;
    assert!(took > Duration::from_secs(14) && took < Duration::from_secs(17), "given up after {took:?}");
    assert_eq!((life(&sim, 1, DEVICE), life(&sim, 1, End::Gateway)), (Life::Active, Life::Active));
    // The next order works, whatever the gateway still keeps of the failed one.
    sim.devices[0].links.iter_mut().for_each(|link| link.swallow_handshakes = false);
    let next = sim.order(0, 1);
    assert!(acknowledged(&mut sim, next));
    traffic(&mut sim, ms(50));
    sim.finish(true).unwrap();
}

#[test]
fn a_restart_in_mid_drain_keeps_the_new_generation_and_forgets_the_old_one() {
    let mut sim = connected(ms(40));
    let label = sim.order(0, 1);
    while life(&sim, label, DEVICE) != Life::Active {
        traffic(&mut sim, ms(2));
    }
    traffic(&mut sim, ms(60));
    assert!(matches!(life(&sim, 1, End::Gateway), Life::Draining(_)));
    sim.restart_gateway();
    let restarted = sim.clock.elapsed();
    while life(&sim, label, End::Gateway) != Life::Active && sim.clock.elapsed() < restarted + Duration::from_secs(60) {
        sim.send(0, Direction::Up, 1);
        sim.run(ms(100));
        sim.verdict().unwrap();
    }
    let took = sim.clock.elapsed() - restarted;
    assert!(took < Duration::from_secs(20), "without any help from control, traffic flows again after {took:?}");
    let before = sim.model.flows[0].way(Direction::Down).delivered;
    traffic(&mut sim, ms(200));
    sim.run(ms(100));
    assert_eq!(sim.model.flows[0].way(Direction::Down).delivered - before, 200);
    sim.finish(false).unwrap();
}

#[test]
fn a_lower_order_never_commits_also_after_a_restart() {
    let mut sim = connected(ms(10));
    // The device has the handshake of order 2, and then orders 3 without committing either.
    let lower = sim.order_with(0, 1, Fate::Arrives, false);
    assert!(sim.run_until(ms(500), |sim| life(sim, lower, DEVICE) == Life::Ready));
    sim.control.orders.insert(0, (lower + 1, None));
    sim.restart_gateway();
    // A device that commits the lower order all the same: the gateway, which persisted a higher one, never does.
    assert_eq!(sim.commit(lower), Ok(()));
    traffic(&mut sim, Duration::from_secs(20));
    assert_ne!(life(&sim, lower, End::Gateway), Life::Active);
    assert!(!sim.generations.all[&lower].acknowledged);
    sim.finish(false).unwrap();
}

#[test]
fn a_revocation_during_prepare_ends_it_and_leaves_the_old_generation_alone() {
    let mut sim = connected(ms(40));
    let label = sim.order(0, 1);
    assert!(sim.run_until(ms(500), |sim| life(sim, label, DEVICE) == Life::Preparing));
    sim.revoke(label);
    traffic(&mut sim, Duration::from_secs(2));
    assert_eq!((life(&sim, label, DEVICE), life(&sim, label, End::Gateway)), (Life::Gone, Life::Gone));
    assert_eq!((life(&sim, 1, DEVICE), life(&sim, 1, End::Gateway)), (Life::Active, Life::Active));
    assert_eq!(sim.control.audit, 1);
    sim.finish(true).unwrap();
}

#[test]
fn a_revocation_of_the_active_generation_stops_both_directions_at_once() {
    let mut sim = connected(ms(40));
    traffic(&mut sim, ms(200));
    sim.revoke(1);
    let (up, down) =
        (sim.model.flows[0].way(Direction::Up).delivered, sim.model.flows[0].way(Direction::Down).sent.len());
    traffic(&mut sim, ms(200));
    assert_eq!(
        sim.model.flows[0].way(Direction::Up).delivered,
        up,
        "what was in flight towards the gateway is refused"
    );
    let later = &sim.model.flows[0].way(Direction::Down).sent[down..];
    assert!(!later.is_empty() && later.iter().all(|sent| !sent.delivered));
    sim.finish(false).unwrap();
}

#[test]
fn with_four_draining_a_fifth_swap_waits_and_loses_nothing() {
    let mut sim = connected(ms(1));
    sim.settings.control_delay = ms(1);
    let mut labels = Vec::new();
    for round in 0..12 {
        let label = sim.order(0, 1 + round % 2);
        while !sim.generations.all[&label].acknowledged && sim.complaints.is_empty() {
            traffic(&mut sim, ms(2));
        }
        labels.push(label);
    }
    assert!(sim.control.full > 0, "twelve swaps within a second must have met full drain places");
    assert_eq!(sim.control.audit, 13);
    sim.finish(true).unwrap();
}

#[test]
fn a_replayed_initiation_is_refused_by_the_kept_timestamp() {
    let mut sim = connected(ms(10));
    let initiation = sim.wire.initiations.iter().find(|(label, _)| *label == 1).unwrap().1.clone();
    let replay = |sim: &mut Sim| {
        let before = sim.gateway.engine.counters().handshakes_sent.get();
        let stranger = ([192, 0, 2, 66], 666).into();
        sim.hand_in(End::Gateway, &[(stranger, initiation.clone())]);
        sim.gateway.engine.counters().handshakes_sent.get() - before
    };
    assert_eq!(replay(&mut sim), 0, "refused by the engine that saw it");
    sim.restart_gateway();
    assert_eq!(replay(&mut sim), 0, "refused by a new session of the same key");
    assert_eq!(drops(&sim, End::Gateway, DropReason::StaleHandshake), 1);
    // Only the timestamp that was kept refuses it: without it the new session answers.
    sim.control.timestamps.clear();
    sim.restart_gateway();
    assert_eq!(replay(&mut sim), 1);
}

#[test]
fn garbage_truncated_and_replayed_datagrams_are_typed_drops_and_disturb_nothing() {
    let mut sim = connected(ms(10));
    for round in 0..60 {
        traffic(&mut sim, ms(20));
        sim.noise(round);
    }
    let label = sim.order(0, 1);
    for round in 60..80 {
        traffic(&mut sim, ms(4));
        sim.noise(round);
    }
    assert!(acknowledged(&mut sim, label));
    for end in [End::Gateway, DEVICE] {
        for reason in [DropReason::NotWireGuard, DropReason::UnknownIndex, DropReason::Refused, DropReason::Replayed] {
            assert!(drops(&sim, end, reason) > 0, "{end:?} counted no {reason:?}");
        }
    }
    assert_eq!(sim.devices[0].moved, 0, "a stranger moves no endpoint");
    sim.finish(true).unwrap();
}

#[test]
fn an_idle_tunnel_carries_the_first_downlink_packet_after_an_hour() {
    let mut sim = connected(ms(10));
    sim.send(0, Direction::Down, 1);
    sim.run(Duration::from_secs(3600));
    if sim.settings.backends == [SessionBackend::Native; 2] {
        // A renewal every 100 s is all that happens, and three or four deadlines each.
        let wakeups = [sim.devices[0].node.wakeups, sim.gateway.wakeups];
        assert!(wakeups.iter().all(|count| *count < 250), "{wakeups:?}");
    }
    // The flow table has forgotten the flow by then: a flow opened towards the device, allowed by every identity.
    let flow = sim.flow(0, UDP, Direction::Down, 7_000, ([10, 0, 0, 9], 7_001));
    sim.send(flow, Direction::Down, 3);
    sim.run(ms(50));
    assert_eq!(sim.model.flows[flow].way(Direction::Down).delivered, 3);
    sim.finish(true).unwrap();
}

#[test]
fn a_device_that_moves_keeps_its_flows_and_an_older_packet_does_not_move_it_back() {
    let mut sim = connected(ms(10));
    traffic(&mut sim, ms(50));
    sim.roam(0, true);
    traffic(&mut sim, ms(50));
    assert_eq!(sim.devices[0].moved, 1);
    // Reordered packets from the old address arrive among those from the new one.
    sim.devices[0].links[0].reorder = 300;
    sim.roam(0, true);
    traffic(&mut sim, ms(100));
    assert_eq!(sim.devices[0].moved, 2);
    sim.finish(false).unwrap();
}
