//! The targets, and whether they are met.

use super::{
    engines::{OURS, OURS_HTTP2, OURS_MASQUE},
    measure::{Measure, Test, find, value},
    model::Report,
};

/// How a measure of ours is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// At least so many times the reference's median.
    TimesAtLeast(&'static str, f64),
    /// At most so many times the reference's median.
    TimesAtMost(&'static str, f64),
    /// At most this, in the measure's unit.
    AtMost(f64),
    /// At least this, in the measure's unit.
    AtLeast(f64),
}

/// A target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Which of our engines it is for.
    pub(super) engine: &'static str,
    pub(super) test: Test,
    pub(super) value: &'static str,
    pub(super) bound: Bound,
}

const fn target(test: Test, value: &'static str, bound: Bound) -> Target {
    Target { engine: OURS, test, value, bound }
}

const fn masque(test: Test, value: &'static str, bound: Bound) -> Target {
    Target { engine: OURS_MASQUE, test, value, bound }
}

/// All of them. Medians are compared with medians of the same run.
pub(super) const TARGETS: [Target; 25] = {
    use Bound::{AtLeast, AtMost, TimesAtLeast, TimesAtMost};
    const GO: &str = "wireguard-go";
    [
        target(Test::Tcp1, value::GBPS, TimesAtLeast(GO, 2.0)),
        target(Test::Tcp4, value::GBPS, TimesAtLeast(GO, 2.0)),
        target(Test::Tcp1r, value::GBPS, TimesAtLeast(GO, 2.0)),
        target(Test::Tcp1, value::GBPS, TimesAtLeast("gotatun", 5.0)),
        target(Test::Tcp4, value::GBPS, TimesAtLeast("gotatun", 5.0)),
        target(Test::Tcp1r, value::GBPS, TimesAtLeast("gotatun", 5.0)),
        target(Test::Tcp1, value::GBPS, TimesAtLeast("boringtun", 5.0)),
        target(Test::Tcp4, value::GBPS, TimesAtLeast("boringtun", 5.0)),
        target(Test::Tcp1r, value::GBPS, TimesAtLeast("boringtun", 5.0)),
        target(Test::Tcp1, value::CPU, TimesAtMost(GO, 0.45)),
        target(Test::Tcp4, value::CPU, TimesAtMost(GO, 0.45)),
        target(Test::Tcp1r, value::CPU, TimesAtMost(GO, 0.45)),
        target(Test::Udp, value::GBPS, TimesAtLeast(GO, 3.0)),
        target(Test::UdpHalf, value::LOSS, AtMost(0.1)),
        target(Test::Rtt, value::RTT, TimesAtMost(GO, 0.5)),
        target(Test::Idle, value::IDLE, AtMost(0.2)),
        target(Test::Rss, value::MEMORY, AtMost(24.0)),
        masque(Test::Tcp1, value::GBPS, TimesAtLeast(GO, 2.0)),
        masque(Test::Tcp4, value::GBPS, TimesAtLeast(GO, 2.0)),
        masque(Test::Tcp1r, value::GBPS, TimesAtLeast(GO, 2.0)),
        masque(Test::Tcp1, value::CPU, TimesAtMost(GO, 0.45)),
        masque(Test::Tcp4, value::CPU, TimesAtMost(GO, 0.45)),
        masque(Test::Tcp1r, value::CPU, TimesAtMost(GO, 0.45)),
        masque(Test::Udp, value::GBPS, TimesAtLeast(GO, 3.0)),
        Target { engine: OURS_HTTP2, test: Test::Tcp1, value: value::GBPS, bound: AtLeast(1.0) },
    ]
};

/// A target that could be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged {
    /// Which of our engines.
    pub(super) engine: &'static str,
    pub(super) measure: &'static Measure,
    pub(super) bound: Bound,
    /// Our median.
    pub(super) ours: f64,
    /// The reference's median.
    pub(super) reference: Option<f64>,
    /// Ours, in times of the reference's.
    pub(super) times: Option<f64>,
    pub(super) met: bool,
}

/// Judges every target for which both sides were measured.
pub(super) fn judge(report: &Report) -> Vec<Judged> {
    TARGETS.iter().filter_map(|target| judge_one(report, target)).collect()
}

/// The targets of those of our engines that took part which could not be judged, in words.
pub(super) fn unjudged(report: &Report) -> Vec<String> {
    let took_part = |target: &&Target| report.engines.iter().any(|engine| engine.name == target.engine);
    let open = TARGETS.iter().filter(took_part).filter(|target| judge_one(report, target).is_none());
    let words = open.filter_map(|target| {
        let title = find(target.test, target.value)?.title;
        Some(match target.bound {
            Bound::TimesAtLeast(engine, _) | Bound::TimesAtMost(engine, _) => {
                format!("{title} of {} against {engine}", target.engine)
            }
            Bound::AtMost(_) | Bound::AtLeast(_) => format!("{title} of {}", target.engine),
        })
    });
    words.collect()
}

fn judge_one(report: &Report, target: &Target) -> Option<Judged> {
    let measure = find(target.test, target.value)?;
    let median = |engine| report.spread(engine, measure).map(|spread| spread.median);
    let ours = median(target.engine)?;
    let (reference, met) = match target.bound {
        Bound::AtMost(limit) => (None, ours <= limit),
        Bound::AtLeast(limit) => (None, ours >= limit),
        Bound::TimesAtLeast(engine, times) => {
            let reference = median(engine)?;
            (Some(reference), ours >= times * reference)
        }
        Bound::TimesAtMost(engine, times) => {
            let reference = median(engine)?;
            (Some(reference), ours <= times * reference)
        }
    };
    let times = reference.filter(|reference| *reference > 0.0).map(|reference| ours / reference);
    Some(Judged { engine: target.engine, measure, bound: target.bound, ours, reference, times, met })
}

/// What a measure should come to for us over WireGuard at worst, by the strictest of its targets that can be judged.
pub(super) fn line(report: &Report, measure: &Measure) -> Option<f64> {
    let judged = judge(report).into_iter().filter(|judged| judged.engine == OURS && judged.measure == measure);
    let limits = judged.filter_map(|judged| match (judged.bound, judged.reference) {
        (Bound::AtMost(limit) | Bound::AtLeast(limit), _) => Some(limit),
        (Bound::TimesAtLeast(_, times) | Bound::TimesAtMost(_, times), Some(reference)) => Some(times * reference),
        _ => None,
    });
    limits.reduce(|a, b| match measure.better {
        super::measure::Better::More => a.max(b),
        super::measure::Better::Less => a.min(b),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::model::testing::report;
    use super::*;

    #[test]
    fn every_target_has_a_measure() {
        for target in TARGETS {
            assert!(find(target.test, target.value).is_some(), "{target:?}");
        }
    }

    #[test]
    fn a_ratio_is_of_medians() {
        let of = |ours: &[f64]| {
            let report = report(Test::Tcp1, value::GBPS, &[(OURS, ours), ("wireguard-go", &[3.0, 2.0, 9.0])]);
            judge(&report)
        };
        let [judged] = of(&[1.0, 6.0, 7.0])[..] else { panic!("one target") };
        assert_eq!((judged.ours, judged.reference, judged.times, judged.met), (6.0, Some(3.0), Some(2.0), true));
        assert!(!of(&[5.9])[0].met);
    }

    #[test]
    fn each_of_our_engines_has_targets_of_its_own() {
        let engines: [(&str, &[f64]); 3] = [(OURS, &[7.0]), (OURS_MASQUE, &[5.0]), ("wireguard-go", &[3.0])];
        let judged = judge(&report(Test::Tcp1, value::GBPS, &engines));
        let outcomes: Vec<_> = judged.iter().map(|judged| (judged.engine, judged.ours, judged.met)).collect();
        assert_eq!(outcomes, [(OURS, 7.0, true), (OURS_MASQUE, 5.0, false)]);
        assert!(
            unjudged(&report(Test::Tcp1, value::GBPS, &engines[1..2])).iter().all(|text| text.contains(OURS_MASQUE))
        );
    }

    #[test]
    fn less_is_better_of_costs() {
        let of = |ours| judge(&report(Test::Tcp4, value::CPU, &[(OURS, &[ours]), ("wireguard-go", &[4.0])]))[0].met;
        assert!(of(1.79));
        assert!(!of(1.81));
    }

    #[test]
    fn absolute_limits_need_no_reference() {
        let of = |ours| judge(&report(Test::Rss, value::MEMORY, &[(OURS, &[ours])]))[0].met;
        assert!(of(24.0));
        assert!(!of(24.1));
        assert!(judge(&report(Test::Rss, value::MEMORY, &[("gotatun", &[3.0])])).is_empty());
    }

    #[test]
    fn the_line_is_the_strictest_target() {
        let engines: [(&str, &[f64]); 3] = [(OURS, &[6.0]), ("wireguard-go", &[3.0]), ("gotatun", &[0.8])];
        let gbps = find(Test::Tcp1, value::GBPS).unwrap();
        assert_eq!(line(&report(Test::Tcp1, value::GBPS, &engines), gbps), Some(6.0));
        let engines: [(&str, &[f64]); 3] = [(OURS, &[6.0]), ("wireguard-go", &[1.0]), ("gotatun", &[0.8])];
        assert_eq!(line(&report(Test::Tcp1, value::GBPS, &engines), gbps), Some(4.0));
        assert_eq!(line(&report(Test::Tcp4, value::GBPS, &engines), gbps), None);
    }
}
