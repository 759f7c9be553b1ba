//! `compare`: WireGuard engines side by side.
//!
//! What is pure: [`measure`] (what there is to measure), [`plan`] (order and time), [`iperf`] and [`proc`] (parsing),
//! [`stats`], [`targets`], and what is made of it: [`markdown`], [`svg`]. What acts: [`pair`] (two hosts and their
//! engines), [`turn`] (one engine's tests), [`neighbours`] (who else uses the machine), [`inside`] (the rounds).

mod command;
mod engines;
mod error;
mod inside;
mod iperf;
mod machine;
mod markdown;
mod measure;
mod model;
mod neighbours;
mod options;
mod output;
mod pair;
mod plan;
mod proc;
mod process;
mod product;
mod stats;
mod svg;
mod targets;
mod turn;

pub(crate) use options::Options;

use engines::{OURS, Places};
use measure::Test;
use model::{Job, Settings};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use vestibule_platform::sandbox::{self, Ended};

/// Exit status when nothing could begin.
const CANNOT_BEGIN: u8 = 2;
/// The commands that do the measuring, and Debian's packages of them.
const TOOLS: [(&str, &str); 4] =
    [("iperf3", "iperf3"), ("wg", "wireguard-tools"), ("ip", "iproute2"), ("ping", "iputils-ping")];

/// Runs the comparison. To be called before any thread starts.
pub(crate) fn run(options: &Options) -> ExitCode {
    let job = match prepare(options) {
        Ok(job) => job,
        Err(text) => return cannot_begin(&text),
    };
    let Ok(words) = serde_json::to_string(&job) else { return cannot_begin("the job has no JSON") };
    match sandbox::confine(&[OsString::from("compare-inside"), words.into()], sandbox::OnSignal::End) {
        Ok(Ended::Exited { code, .. }) => ExitCode::from(code),
        Ok(Ended::Interrupted { signal }) => {
            eprintln!("\ncompare: interrupted; its processes, namespaces and devices are gone");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
        Err(error) => cannot_begin(&format!("{error}: {:?}", std::error::Error::source(&error))),
    }
}

fn cannot_begin(text: &str) -> ExitCode {
    eprintln!("compare: {text}");
    ExitCode::from(CANNOT_BEGIN)
}

fn prepare(options: &Options) -> Result<Job, String> {
    let mut missing = sandbox::missing();
    for (tool, package) in TOOLS {
        if !command::is_installed(tool) {
            missing.push(format!("the command {tool} (Debian: {package}); benches/setup installs it"));
        }
    }
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(|line| format!("\n  - {line}")).collect();
        return Err(format!(
            "it makes network namespaces and TUN devices and loads them. Here it misses:{}",
            lines.concat()
        ));
    }
    needs(&options.tests)?;
    if options.rounds == 0 && !options.product {
        return Err("--rounds 0 measures nothing, except with --product".to_owned());
    }
    let vestibule = if options.product || wanted(&options.engines, OURS) { vestibule(options)? } else { None };
    let mut directories = options.peers.clone();
    directories.push(PathBuf::from("target/peers/bin"));
    let places = Places { vestibule: vestibule.as_deref(), directories: &directories, extra: &options.extra };
    let found = engines::find(&places).map_err(|error| error.to_string())?;
    let engines = engines::select(found, &options.engines).map_err(|error| error.to_string())?;
    let output = output_directory(&options.output)?;

    let machine = machine::this();
    eprintln!("{}, {} cores, {}, Linux {}", machine.cpu, machine.cores, machine.system, machine.kernel);
    for engine in &engines {
        eprintln!("  {:<13} {:<44} {}", engine.name, engine.version, engine.command.join(" "));
    }
    let product = match vestibule {
        Some(vestibule) if options.product => {
            Some(product::Order { vestibule, pairs: options.pairs, megabytes: options.megabytes })
        }
        None if options.product => return Err("no vestibule for --product: build it, or give --vestibule".to_owned()),
        _ => None,
    };
    let settings = Settings { rounds: options.rounds, seconds: options.seconds, tests: in_order(&options.tests) };
    Ok(Job {
        settings,
        engines,
        machine,
        began: machine::now(),
        arguments: env::args().skip(2).collect(),
        commit: machine::commit(),
        output,
        product,
    })
}

fn wanted(engines: &[String], name: &str) -> bool {
    engines.is_empty() || engines.iter().any(|engine| engine == name)
}

/// Each test once, in the order in which they run.
fn in_order(tests: &[Test]) -> Vec<Test> {
    Test::ALL.into_iter().filter(|test| tests.contains(test)).collect()
}

/// Some tests use what others leave.
fn needs(tests: &[Test]) -> Result<(), String> {
    let has = |test| tests.contains(&test);
    if has(Test::UdpHalf) && !has(Test::Udp) {
        return Err("the test `udp-half` needs `udp`, whose rate it halves: add it to --tests".to_owned());
    }
    if has(Test::Rss) && ![Test::Tcp1, Test::Tcp4, Test::Tcp1r, Test::Udp].into_iter().any(has) {
        return Err(
            "the test `rss` is of memory under load: add `tcp1`, `tcp4`, `tcp1r` or `udp` to --tests".to_owned()
        );
    }
    Ok(())
}

/// The directory of the results, made if need be, by its whole name.
fn output_directory(directory: &Path) -> Result<PathBuf, String> {
    let fail = |error: std::io::Error| format!("cannot make the directory {}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(fail)?;
    let whole = fs::canonicalize(directory).map_err(fail)?;
    if whole.starts_with("/run") {
        return Err("--output cannot be in /run, which the sandbox has its own of".to_owned());
    }
    Ok(whole)
}

/// Our program: the one given, or the one beside this program, built first when cargo has started us.
fn vestibule(options: &Options) -> Result<Option<PathBuf>, String> {
    if let Some(file) = &options.vestibule {
        let missing = || format!("--vestibule {}: no such file", file.display());
        return fs::canonicalize(file).map(Some).map_err(|_| missing());
    }
    let own = env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let beside = own.with_file_name(OURS);
    if let (Some(cargo), true) = (env::var_os("CARGO"), own.parent().is_some_and(|parent| parent.ends_with("release")))
    {
        eprintln!("compare: cargo build --release -p vestibule-control");
        let built = Command::new(cargo).args(["build", "--release", "--quiet", "-p", "vestibule-control"]).status();
        if !built.is_ok_and(|status| status.success()) {
            return Err("vestibule does not build; --vestibule FILE measures another one".to_owned());
        }
    }
    Ok(beside.is_file().then_some(beside))
}

/// The comparison's first process in the sandbox.
pub(crate) fn inside(job: &str) -> ExitCode {
    let job: Job = match serde_json::from_str(job) {
        Ok(job) => job,
        Err(error) => return cannot_begin(&format!("the job: {error}")),
    };
    let outlook = match neighbours::Outlook::open(job.machine.clock_hz, job.machine.cores) {
        Ok(outlook) => outlook,
        Err(error) => return cannot_begin(&format!("cannot open /proc: {error}")),
    };
    let _link = match sandbox::settle() {
        Ok(link) => link,
        Err(error) => return cannot_begin(&format!("{error}: {:?}", std::error::Error::source(&error))),
    };
    let output = job.output.clone();
    let report = match inside::measure(job, outlook) {
        Ok(report) => report,
        Err(error) => return cannot_begin(&format!("cannot write the results: {error}")),
    };
    print!("{}", markdown::render(&report));
    eprintln!("\ncompare: wrote compare.md, compare.json and compare.svg to {}", output.display());
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tests_that_need_others_say_so() {
        assert!(needs(&Test::ALL).is_ok());
        assert!(needs(&[Test::UdpHalf]).unwrap_err().contains("`udp`"));
        assert!(needs(&[Test::Rss, Test::Rtt]).unwrap_err().contains("under load"));
        assert!(needs(&[Test::Rtt]).is_ok());
    }

    #[test]
    fn tests_run_in_their_order_whatever_was_typed() {
        let typed = [Test::Rtt, Test::Udp, Test::Tcp1, Test::Rtt];
        assert_eq!(in_order(&typed), [Test::Tcp1, Test::Udp, Test::Rtt]);
    }
}
