//! What a comparison has found: the content of `compare.json`.

use super::{
    engines::Engine,
    measure::{MEASURES, Measure, Test},
    product::{self, Product},
    stats::Spread,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What is to be done inside the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) settings: Settings,
    pub(super) engines: Vec<Engine>,
    pub(super) machine: Machine,
    /// When it began.
    pub(super) began: String,
    /// The words after `compare` that asked for it.
    pub(super) arguments: Vec<String>,
    /// `git describe` of the working directory, where there is one.
    pub(super) commit: Option<String>,
    /// Where the results go.
    pub(super) output: PathBuf,
    /// What rules and swaps cost, if that is wanted.
    pub(super) product: Option<product::Order>,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    pub(super) tests: Vec<Test>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_mb: u64,
    pub(super) kernel: String,
    pub(super) system: String,
    /// Ticks of the clock in which the kernel tells CPU time.
    pub(super) clock_hz: u64,
    /// First line of `iperf3 --version`.
    pub(super) iperf3: String,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// When, by the machine's clock.
    pub(super) began: String,
    pub(super) took_seconds: f64,
    pub(super) arguments: Vec<String>,
    pub(super) commit: Option<String>,
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) engines: Vec<Engine>,
    pub(super) neighbours: Neighbours,
    pub(super) samples: Vec<Sample>,
    pub(super) product: Option<Product>,
    pub(super) problems: Vec<Problem>,
}

/// One test of one engine in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    /// From 1.
    pub(super) round: u32,
    pub(super) engine: String,
    pub(super) test: Test,
    pub(super) values: Values,
}

/// Numbers by name.
pub(super) type Values = BTreeMap<String, f64>;

/// A test that did not come to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Problem {
    pub(super) round: u32,
    pub(super) engine: String,
    /// `None` when the engines did not even start.
    pub(super) test: Option<Test>,
    pub(super) what: String,
}

/// Who else used the machine meanwhile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Neighbours {
    /// One-minute load average before.
    pub(super) load_before: f64,
    /// Percent of all cores' time that went to processes outside the comparison.
    pub(super) others_percent: f64,
    /// Percent of all cores' time that the hypervisor gave to others.
    pub(super) steal_percent: f64,
    /// The busiest of them and their percent.
    pub(super) busiest: Vec<(String, f64)>,
}

/// Above this share of the machine for others, figures are not to be trusted.
const QUIET_PERCENT: f64 = 3.0;

impl Neighbours {
    /// Whether the machine was ours alone, as far as can be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.others_percent <= QUIET_PERCENT && self.steal_percent <= QUIET_PERCENT
    }
}

impl Report {
    /// What a measure came to for an engine.
    pub(super) fn spread(&self, engine: &str, measure: &Measure) -> Option<Spread> {
        let samples = self.samples.iter().filter(|sample| sample.engine == engine && sample.test == measure.test);
        Spread::of(samples.filter_map(|sample| sample.values.get(measure.value).copied()))
    }

    /// The measures of which anything is known.
    pub(super) fn measures(&self) -> impl Iterator<Item = &'static Measure> {
        let known = |measure: &&Measure| self.engines.iter().any(|engine| self.spread(&engine.name, measure).is_some());
        MEASURES.iter().filter(known)
    }
}

/// Reports for tests.
#[cfg(test)]
pub(super) mod testing {
    use super::super::engines::Kind;
    use super::*;

    /// One with a value of `test` for each engine and round.
    pub(in super::super) fn report(test: Test, value: &str, engines: &[(&str, &[f64])]) -> Report {
        let engine = |name: &str| Engine {
            name: name.to_owned(),
            kind: if name == "veth" { Kind::Cable } else { Kind::Userspace },
            command: vec![format!("/bin/{name}"), "-f".to_owned()],
            version: format!("{name} 1.0"),
        };
        let mut samples = Vec::new();
        for (name, values) in engines {
            for (round, number) in (1..).zip(*values) {
                let values = [(value.to_owned(), *number)].into();
                samples.push(Sample { round, engine: (*name).to_owned(), test, values });
            }
        }
        Report {
            began: "2026-01-02T03:04:05Z".to_owned(),
            took_seconds: 61.0,
            arguments: vec!["--engine".to_owned(), "a=b c".to_owned()],
            commit: Some("abc1234".to_owned()),
            machine: Machine { cpu: "Test CPU".to_owned(), cores: 2, clock_hz: 100, ..Machine::default() },
            settings: Settings { rounds: 3, seconds: 5, tests: Test::ALL.to_vec() },
            engines: engines.iter().map(|(name, _)| engine(name)).collect(),
            neighbours: Neighbours { load_before: 0.1, ..Neighbours::default() },
            samples,
            product: None,
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_spread_is_of_one_engine_and_one_measure() {
        let report = report(Test::Tcp1, "gbps", &[("a", &[1.0, 3.0, 2.0]), ("b", &[9.0])]);
        let measure = super::super::measure::find(Test::Tcp1, "gbps");
        let spread = measure.and_then(|measure| report.spread("a", measure));
        assert_eq!(spread, Some(Spread { median: 2.0, min: 1.0, max: 3.0, count: 3 }));
        assert_eq!(report.measures().count(), 1);
    }

    #[test]
    fn a_busy_machine_is_not_quiet() {
        let quiet = Neighbours { others_percent: 1.0, steal_percent: 0.5, ..Neighbours::default() };
        assert!(quiet.is_quiet());
        assert!(!Neighbours { others_percent: 5.0, ..quiet.clone() }.is_quiet());
        assert!(!Neighbours { steal_percent: 5.0, ..quiet }.is_quiet());
    }
}
