//! Every timer of a native session, under times that the test makes up.

use super::super::super::limits::{
    KEEPALIVE_TIMEOUT, LAST_MINUTE, REJECT_AFTER_TIME, REKEY_TIMEOUT, RENEW_AFTER, RETRY_MIN, SILENCE, ZERO_AFTER,
};
use super::*;

const JITTER: Duration = super::super::super::limits::JITTER;

#[test]
fn who_heard_data_and_said_nothing_sends_a_keepalive_after_ten_seconds() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    let first = world.pass(seconds(60));
    assert_eq!(first, [(10, 'b', 4, 32)], "one, and none for the keepalive itself");
    assert_eq!(KEEPALIVE_TIMEOUT, seconds(10));
    // Answered within the time: none.
    world.a.send(&packet(1), world.now);
    world.settle();
    world.b.send(&packet(2), world.now);
    world.settle();
    world.a.send(&packet(3), world.now);
    world.settle();
    assert_eq!(world.pass(seconds(60)), [(10, 'b', 4, 32)]);
}

#[test]
fn silence_after_data_begins_a_handshake_which_ends_after_rekey_attempt_time() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.pass(seconds(20));
    world.a.send(&packet(1), world.now);
    world.a.out.clear();
    let start = world.now;
    let mut initiations = Vec::new();
    while let Some(next) = world.a.session.deadline().filter(|next| *next < start + seconds(300)) {
        world.now = next;
        world.a.tick(world.now);
        initiations.extend(world.a.out.drain(..).filter(|datagram| datagram[0] == 1).map(|_| world.now - start));
    }
    assert!(initiations[0] >= SILENCE && initiations[0] <= SILENCE + JITTER, "{initiations:?}");
    for pair in initiations.windows(2) {
        assert!((REKEY_TIMEOUT..=REKEY_TIMEOUT + JITTER).contains(&(pair[1] - pair[0])));
    }
    let span = *initiations.last().unwrap() - initiations[0];
    assert!(span <= seconds(90) && span > seconds(80), "{initiations:?}");
    // All gone after three times Reject-After-Time, but a new packet begins again.
    world.now = start + ZERO_AFTER + seconds(10);
    world.a.tick(world.now);
    assert!(world.a.session.keypairs.iter().next().is_none() && world.a.session.initiated.is_none());
    assert_eq!(world.a.session.deadline(), None);
    assert_eq!(world.a.send(&packet(2), world.now), Sealed::Waiting { initiation: 148 });
}

#[test]
fn the_initiator_renews_when_it_sends_after_120_s_and_the_last_minute_counts_receiving() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.b.send(&packet(0), world.now);
    world.settle();
    world.pass(seconds(119));
    world.a.send(&packet(1), world.now);
    world.b.send(&packet(1), world.now);
    assert_eq!(world.settle(), (vec![4], vec![4]));
    world.now += seconds(2);
    world.b.send(&packet(2), world.now);
    world.settle();
    assert_eq!(world.b.session.deadline().filter(|at| *at <= world.now), None, "the responder never asks");
    world.a.send(&packet(2), world.now);
    world.a.tick(world.now);
    assert_eq!(world.settle().0, [4, 1, 4]);
    // Only the responder sends now, and the initiator's keepalives do not leave.
    let established = world.now;
    while world.now < established + LAST_MINUTE - seconds(1) {
        world.now += seconds(1);
        world.b.send(&packet(3), world.now);
        world.settle();
        assert_eq!(world.a.session.timers.begin_at, None, "{:?}", world.now - established);
    }
    world.now += seconds(1);
    world.b.send(&packet(4), world.now);
    world.settle();
    assert_eq!(world.a.session.timers.begin_at, Some(world.now));
    world.a.tick(world.now);
    assert_eq!(world.settle().1, [2]);
}

#[test]
fn a_device_renews_without_traffic_and_never_gives_up() {
    let mut world = World::device();
    let renewals: Vec<_> =
        world.pass(seconds(1000)).into_iter().filter(|sent| sent.2 == 1).map(|sent| sent.0).collect();
    assert_eq!(renewals, (1..=10).map(|n| n * RENEW_AFTER.as_secs()).collect::<Vec<_>>());
    // Nobody answers any more: two quick attempts, then every 5 s, then every 3 s for ever.
    let start = world.now;
    let mut attempts = Vec::new();
    while world.now < start + seconds(2000) {
        world.now = world.a.session.deadline().unwrap();
        world.a.tick(world.now);
        attempts.extend(world.a.out.drain(..).filter(|datagram| datagram[0] == 1).map(|_| world.now - start));
    }
    assert!((attempts[1] - attempts[0]) == seconds(1), "{:?}", &attempts[..4]);
    assert!((REKEY_TIMEOUT..=REKEY_TIMEOUT + JITTER).contains(&(attempts[2] - attempts[1])));
    assert!(attempts.windows(2).all(|pair| pair[1] - pair[0] <= REKEY_TIMEOUT + JITTER));
    assert!(attempts.len() > 500);
    assert!(RETRY_MIN < seconds(1));
    world.b.receive(world.a.out.last().unwrap_or(&Vec::from([4; 32])), world.now);
    world.a.initiate(world.now);
    world.settle();
    assert!(world.a.session.sealing(world.now).is_some());
}

#[test]
fn persistent_keepalives_leave_in_time_and_can_be_changed() {
    let mut world = World::device();
    world.a.session.timers.set_persistent(Some(25), world.now);
    let seen: Vec<_> = world.pass(seconds(90)).into_iter().map(|sent| (sent.0, sent.1, sent.3)).collect();
    assert_eq!(seen, [(0, 'a', 32), (25, 'a', 32), (50, 'a', 32), (75, 'a', 32)]);
    world.a.session.timers.set_persistent(None, world.now);
    assert!(world.pass(seconds(9)).is_empty());
}

#[test]
fn keys_are_refused_and_forgotten_when_they_are_180_s_old() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.b.send(&packet(1), world.now);
    let late = world.b.out.remove(0);
    world.now += REJECT_AFTER_TIME;
    world.a.receive(&late, world.now);
    assert_eq!((world.a.refused, world.a.got.len()), (1, 0));
    assert!(world.a.session.sealing(world.now).is_none());
    world.a.tick(world.now);
    assert!(world.a.session.keypairs.iter().next().is_none());
}

#[test]
fn an_unreachable_peer_is_not_tried() {
    let now = Instant::now();
    let mut end = End::new(Role::Plain, 1, 2, Some(5), now);
    assert_eq!(end.session.deadline(), Some(now));
    assert_eq!(end.session.tick(&mut [0; 2048], now, false), 0);
    assert_eq!(end.session.deadline(), None);
    end.session.timers.set_persistent(Some(5), now);
    end.tick(now);
    assert_eq!(end.out[0][0], 1, "a persistent keepalive asks for a session");
}
