//! The comparison inside its sandbox: rounds, turns, tests.

use super::{
    engines::{Engine, Kind, OURS},
    measure::{MEASURES, Test},
    model::{Job, Problem, Report, Sample, Values},
    neighbours::Outlook,
    output,
    pair::{Pair, ROOM},
    plan, product,
    turn::Turn,
};
use std::{
    fs, io,
    time::{Duration, Instant},
};

/// Runs every round and gives what was found.
pub(super) fn measure(job: Job, mut outlook: Outlook) -> io::Result<Report> {
    fs::create_dir_all(ROOM)?;
    outlook.begin();
    let mut work = Work {
        began: Instant::now(),
        left: plan::turn(&job.settings.tests, job.settings.seconds)
            * job.settings.rounds
            * u32::try_from(job.engines.len()).unwrap_or(u32::MAX),
        report: Report {
            began: job.began,
            took_seconds: 0.0,
            arguments: job.arguments,
            commit: job.commit,
            machine: job.machine,
            settings: job.settings,
            engines: job.engines,
            neighbours: outlook.so_far(),
            samples: Vec::new(),
            product: None,
            problems: Vec::new(),
        },
    };
    for round in 0..work.report.settings.rounds {
        let engines: Vec<Engine> = plan::order(&work.report.engines, round).cloned().collect();
        for engine in &engines {
            work.turn(round + 1, engine);
        }
        work.report.neighbours = outlook.so_far();
        work.report.took_seconds = work.began.elapsed().as_secs_f64();
        // What is there survives an interruption of the next round.
        output::write(&job.output, &work.report)?;
    }
    if let Some(order) = job.product {
        match product::run(&order) {
            Ok(product) => work.report.product = Some(product),
            Err(error) => {
                let (engine, what) = (OURS.to_owned(), format!("--product: {error}"));
                eprintln!("{what}");
                work.report.problems.push(Problem { round: 0, engine, test: None, what });
            }
        }
        work.report.neighbours = outlook.so_far();
        work.report.took_seconds = work.began.elapsed().as_secs_f64();
        output::write(&job.output, &work.report)?;
    }
    Ok(work.report)
}

#[derive(Debug)]
struct Work {
    report: Report,
    began: Instant,
    /// How long what is left will take, about.
    left: Duration,
}

impl Work {
    fn turn(&mut self, round: u32, engine: &Engine) {
        let settings = self.report.settings.clone();
        let after = self.left.saturating_sub(plan::turn(&settings.tests, settings.seconds));
        let clock_hz = self.report.machine.clock_hz;
        let mut turn = match Pair::start(engine).and_then(|pair| Turn::begin(pair, settings.seconds, clock_hz)) {
            Ok(turn) => turn,
            Err(error) => {
                self.problem(round, engine, None, error.to_string());
                self.left = after;
                return;
            }
        };
        let processless = !matches!(engine.kind, Kind::Userspace | Kind::Masque);
        for test in settings.tests.into_iter().filter(|test| !(processless && test.is_of_processes())) {
            match turn.run(test) {
                Ok(values) => {
                    self.left = self.left.saturating_sub(plan::cost(test, settings.seconds));
                    self.tell(round, &engine.name, test, &shown(test, &values));
                    self.report.samples.push(Sample { round, engine: engine.name.clone(), test, values });
                }
                Err(error) => self.problem(round, engine, Some(test), error.to_string()),
            }
        }
        self.left = after;
    }

    fn problem(&mut self, round: u32, engine: &Engine, test: Option<Test>, what: String) {
        let name = test.map_or("start", Test::name);
        eprintln!("round {round}  {:<13} {name:<9} FAILED: {what}", engine.name);
        self.report.problems.push(Problem { round, engine: engine.name.clone(), test, what });
    }

    fn tell(&self, round: u32, engine: &str, test: Test, shown: &str) {
        let rounds = self.report.settings.rounds;
        let left = plan::spoken(self.left);
        eprintln!("round {round}/{rounds}  {engine:<13} {test:<9} {shown:<36} {left} left");
    }
}

/// The values that are measures, for one line.
fn shown(test: Test, values: &Values) -> String {
    let of_test = MEASURES.iter().filter(|measure| measure.test == test);
    let texts = of_test.filter_map(|measure| {
        let number = values.get(measure.value)?;
        let places = measure.decimals;
        let what = if measure.value == super::measure::value::LOSS { " lost" } else { "" };
        Some(format!("{number:.places$} {}{what}", measure.unit))
    });
    texts.collect::<Vec<_>>().join(", ")
}
