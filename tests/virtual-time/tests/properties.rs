//! Random histories at both ends: the invariants of the swap hold whatever happens.
//!
//! `VESTIBULE_SIM_RUNS=10000` is the nightly form (the number is shared by the three profiles); `VESTIBULE_SIM_SEED`
//! replays the one run that a failure has printed.

use vestibule_virtual_time::steps::{Profile, history, run, shrink};

const RUNS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn explore(profile: Profile, share: u64, first: u64) {
    let runs = number("VESTIBULE_SIM_RUNS").unwrap_or(RUNS).div_ceil(share);
    let seeds = number("VESTIBULE_SIM_SEED").map_or(first..first + runs, |seed| seed..seed + 1);
    for seed in seeds {
        let steps = history(seed, profile);
        if run(seed, profile, &steps).is_err() {
            let (steps, text) = shrink(seed, profile, &steps);
            panic!(
                "VESTIBULE_SIM_SEED={seed} replays it ({profile:?}).\nThe shortest history that fails: {steps:?}\n{text}"
            );
        }
    }
}

#[test]
fn lossless_network_loses_doubles_reorders_and_resets_nothing() {
    explore(Profile::Lossless, 3, 1_000_000);
}

#[test]
fn lossy_network_what_arrives_was_sent_once_under_the_right_identity() {
    explore(Profile::Lossy, 3, 2_000_000);
}

#[test]
fn restarts_revocations_and_loss_break_no_invariant_and_the_device_recovers() {
    explore(Profile::Everything, 3, 3_000_000);
}
