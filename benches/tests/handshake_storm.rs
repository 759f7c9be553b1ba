//! All devices of a gateway knock at once: traffic goes first, and everybody gets a session soon. Time is virtual, and
//! what a gateway does in one call is counted, not timed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use vestibule_benches::crowd::{Crowd, Shape, behind, inside};
use vestibule_benches::parcel::Parcel;
use vestibule_benches::traffic::{Batch, Load};
use vestibule_engine::core::{DropReason, PeerId, PeerKind};

/// Knock at once.
const STORM: u32 = 1_000;
/// The peer whose tunnel stands.
const ESTABLISHED: u32 = 0;
/// Handshakes that a call answers at most: the engine's own limit.
const AT_A_TIME: usize = 4;
/// What one wake-up of the gateway's worker takes at most, with as many handshakes after a batch and for a deadline.
const WAKE_UP: Duration = Duration::from_millis(2);

/// A gateway with one peer connected, and the others about to.
fn calm() -> (Crowd, Batch) {
    let mut crowd = Crowd::new(Shape { configured: 1, active: 1, kind: PeerKind::Device }).unwrap();
    for number in 1..=STORM {
        crowd.configure(number, true).unwrap();
    }
    let address = |net: ipnet::IpNet| -> IpAddr { net.addr() };
    let flow = (address(inside(ESTABLISHED)), address(behind(ESTABLISHED)), 4000);
    (crowd, Batch::new(Load::Udp(1200), [flow]))
}

/// Messages of a type that wait to be sent.
fn waiting(engine: &mut vestibule_engine::core::Engine, kind: u8) -> usize {
    engine.transmits().batches().map(|batch| batch.bytes().chunks(batch.segment).filter(|d| d[0] == kind).count()).sum()
}

#[test]
fn traffic_in_the_same_batch_goes_first() {
    let (mut crowd, mut flow) = calm();
    let mut parcel = Parcel::default();
    for number in 1..=STORM {
        crowd.introduce(number).unwrap();
        parcel.add(&mut crowd.devices);
        if number % 10 == 0 {
            crowd.devices.handle_frames(&mut flow.lend(0, 1), crowd.now);
            parcel.add(&mut crowd.devices);
        }
    }
    crowd.gateway.handle_datagrams(&mut parcel.lend(), crowd.now);
    let counters = crowd.gateway.counters();
    assert_eq!(counters.delivered.get(), u64::from(STORM) / 10, "all of the traffic");
    assert_eq!(waiting(&mut crowd.gateway, 2), AT_A_TIME, "and no more handshakes than one call may answer");
    let asked = waiting(&mut crowd.gateway, 3);
    assert_eq!(asked as u64, counters.drops(DropReason::HandshakeRefused), "who is not let in is asked for a proof");
    assert!((400..800).contains(&asked), "{asked}");
    crowd.gateway.handle_deadline(crowd.now);
    assert_eq!(waiting(&mut crowd.gateway, 2), AT_A_TIME, "not due: first another look at the traffic");
    let due = crowd.gateway.poll_deadline().unwrap();
    assert!(due - crowd.now < Duration::from_micros(10), "but then at once");
    crowd.gateway.handle_deadline(due);
    assert_eq!(waiting(&mut crowd.gateway, 2), 2 * AT_A_TIME);
}

#[test]
fn everybody_is_connected_within_seconds_while_a_flow_goes_on() {
    let (mut crowd, mut flow) = calm();
    for number in 1..=STORM {
        crowd.introduce(number).unwrap();
    }
    let began = crowd.now;
    let (mut connected, mut rounds) = (BTreeSet::new(), 0_u64);
    while connected.len() < STORM as usize {
        rounds += 1;
        assert!(rounds < 2_000, "{} of {STORM} connected after {:?}", connected.len(), crowd.now - began);
        run_all_due(&mut crowd);
        crowd.devices.handle_frames(&mut flow.lend(0, 1), crowd.now);
        let mut up = Parcel::take(&mut crowd.devices);
        crowd.gateway.handle_datagrams(&mut up.lend(), crowd.now);
        assert_eq!(crowd.gateway.counters().delivered.get(), rounds, "the flow's packet of this round");
        crowd.gateway.deliveries().clear();
        if crowd.gateway.poll_deadline().is_some_and(|at| at <= crowd.now) {
            crowd.gateway.handle_deadline(crowd.now);
        }
        assert!(waiting(&mut crowd.gateway, 2) <= 2 * AT_A_TIME, "handshakes of one wake-up");
        crowd.carry_down();
        connected.extend((1..=STORM).filter(|number| crowd.gateway.active(PeerId((*number).into())).is_some()));
        crowd.now += WAKE_UP;
    }
    let counters = crowd.gateway.counters();
    assert_eq!(counters.drops(DropReason::TooManyHandshakes), 0);
    assert_eq!(counters.commits.get(), u64::from(STORM) + 1);
    // A device tries again after 750 ms: who was asked for a proof has brought it by then, or a while later.
    assert!(crowd.now - began < Duration::from_secs(3), "{:?}", crowd.now - began);
}

/// Each device is a host of its own: all that are due run, not the few that one engine runs at a time.
fn run_all_due(crowd: &mut Crowd) {
    let mut at = crowd.now;
    while crowd.devices.poll_deadline().is_some_and(|due| due <= at) {
        crowd.devices.handle_deadline(at);
        at += Duration::from_micros(1);
    }
}
