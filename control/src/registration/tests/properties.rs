//! Random events against the invariants of the specification. `VESTIBULE_CASES` sets the number of sequences.

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
    TokenRejected { revoke: bool },
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
        2 => (0u8..10).prop_map(Op::Mdm),
        5 => (any::<u8>(), 0u8..5).prop_map(|(which, how)| Op::EnrolAnswer { which, how }),
        5 => any::<u8>().prop_map(|which| Op::SignIn { which }),
        1 => Just(Op::Cancel),
        7 => Just(Op::Ready),
        2 => any::<bool>().prop_map(|active| Op::GenerationFails { active }),
        7 => Just(Op::Commit),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, revoked)| Op::Gone { which, revoked }),
        1 => any::<bool>().prop_map(|revoke| Op::TokenRejected { revoke }),
        1 => any::<u8>().prop_map(Op::Stale),
        2 => (0u32..200_000).prop_map(Op::Wait),
        2 => Just(Op::Deadline),
    ]
}

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
        _ => Settings { switch_locked: true, ..hold(Hold::Seconds(60), multi(pre_login())) },
    }
}

fn cases() -> u32 {
    std::env::var("VESTIBULE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_after_every_step(first in 0u8..10, ops in prop::collection::vec(op(), 1..80)) {
        let mut device = Device::new(settings(first));
        for op in ops {
            device.apply(op);
        }
        device.settle();
        // 5: the log tells the truth, and what is stored is all there is.
        let state = device.machine.state();
        prop_assert_eq!(&device.machine.replay(), state);
        let stored = serde_json::to_string(state).unwrap();
        prop_assert_eq!(&serde_json::from_str::<State>(&stored).unwrap(), state);
    }
}
