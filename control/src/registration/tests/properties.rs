//! Random events against the invariants of the specification. `VESTIBULE_EVENTS` sets how many; the long form has
//! 1,000,000 and more.

use super::{device::Device, world::*};
use crate::registration::*;
use proptest::prelude::*;

/// One random step; the numbers choose among what is there.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Boot,
    RestartService,
    Logon { user: u8, remote: bool },
    Logoff(u8),
    Activate { session: u8, remote: bool },
    Deactivate(u8),
    Plain(u8),
    Mdm(u8),
    EnrolAnswer { which: u8, how: u8 },
    SignIn { which: u8 },
    Cancel,
    Ready,
    GenerationFails { active: bool },
    Commit,
    Gone { which: u8, revoked: bool },
    TokenRejected,
    Stale(u8),
    Wait(u32),
    Deadline,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Boot),
        1 => Just(Op::RestartService),
        4 => (0u8..3, any::<bool>()).prop_map(|(user, remote)| Op::Logon { user, remote }),
        3 => any::<u8>().prop_map(Op::Logoff),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(session, remote)| Op::Activate { session, remote }),
        2 => any::<u8>().prop_map(Op::Deactivate),
        3 => (0u8..11).prop_map(Op::Plain),
        2 => (0u8..CONFIGURATIONS).prop_map(Op::Mdm),
        5 => (any::<u8>(), 0u8..5).prop_map(|(which, how)| Op::EnrolAnswer { which, how }),
        5 => any::<u8>().prop_map(|which| Op::SignIn { which }),
        1 => Just(Op::Cancel),
        7 => Just(Op::Ready),
        2 => any::<bool>().prop_map(|active| Op::GenerationFails { active }),
        7 => Just(Op::Commit),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, revoked)| Op::Gone { which, revoked }),
        1 => Just(Op::TokenRejected),
        1 => any::<u8>().prop_map(Op::Stale),
        2 => (0u32..200_000).prop_map(Op::Wait),
        2 => Just(Op::Deadline),
    ]
}

const CONFIGURATIONS: u8 = 12;

/// The configurations that a sequence moves between.
pub(super) fn settings(which: u8) -> Settings {
    let hold = |hold, settings| Settings { pre_login_hold: hold, ..settings };
    match which {
        0 => pre_login(),
        1 | 2 => multi(pre_login()),
        3 => multi(user_only()),
        4 => user_only(),
        5 => hold(Hold::Cut, multi(pre_login())),
        6 => hold(Hold::Seconds(60), pre_login()),
        7 => Settings { keep_previous: false, ..multi(user_only()) },
        8 => Settings { organizations: vec!["othercompany".into()], auto_connect: Some(60), ..multi(pre_login()) },
        9 => Settings { by_token: true, ..user_only() },
        10 => Settings { by_token: true, ..multi(pre_login()) },
        _ => Settings { switch_locked: true, ..hold(Hold::Seconds(60), multi(pre_login())) },
    }
}

fn wanted_events() -> u64 {
    std::env::var("VESTIBULE_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(40_000)
}

/// One sequence; how many events the machine was fed.
fn keeps_the_invariants(first: u8, ops: &[Op]) -> u64 {
    let mut device = Device::new(settings(first));
    for (n, op) in ops.iter().enumerate() {
        device.apply(op.clone());
        // 3, from the midst of things. (1, 2, 4 and 5 are checked at every event.)
        if n % 16 == 15 {
            device.clone().settle();
        }
    }
    device.settle();
    // 5: the log tells the truth, and what is stored is all there is.
    let state = device.machine.state();
    assert_eq!(device.machine.replay(), *state);
    let stored = serde_json::to_string(state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), *state);
    device.handled
}

#[test]
fn the_invariants_hold_after_every_event() {
    let fed = std::cell::Cell::new(0);
    let sequence = (0..CONFIGURATIONS, prop::collection::vec(op(), 1..80));
    while fed.get() < wanted_events() {
        let config = ProptestConfig { failure_persistence: None, cases: 250, ..ProptestConfig::default() };
        let run = proptest::test_runner::TestRunner::new(config).run(&sequence, |(first, ops)| {
            fed.set(fed.get() + keeps_the_invariants(first, &ops));
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }
    println!("{} events", fed.get());
}
