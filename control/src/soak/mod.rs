//! `vestibule soak`: the tunnel for long, with swaps and faults; fails when anything is lost or grows.
//!
//! It is played in a world (`world`) of kernels, inside a [`sandbox`], or of memory, where the device may have a real
//! adapter: on Linux that is inside a sandbox, too. The run makes a report, from which everything else is made: the verdict's
//! line, the exit status, the file, the page.

mod books;
mod faults;
mod judge;
mod options;
mod page;
mod progress;
mod report;
mod run;
mod series;
mod statistics;

pub use faults::{Fault, Planned};
pub use options::{Every, Options};

use crate::causes::chain;
use options::Place;
use report::{End, Report};
use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use vestibule_platform::{
    pages, rights,
    sandbox::{self, Ended, OnSignal},
    service::EndRequests,
};

/// Exit status when the soak could not begin.
const CANNOT_BEGIN: u8 = 2;
/// In a sandbox, files are memory that goes with it.
const ROOM: &str = "/run";

pub(crate) const EXAMPLES: &str = "Examples:
  sudo vestibule soak                                            ten minutes, a swap every second
  sudo vestibule soak --duration 1h --json soak.json --html soak.html
  sudo vestibule soak --transport masque --swap-every 100ms
  sudo vestibule soak --swap-every never --duration 10m          keys are renewed in time: counted as rekeys
  sudo vestibule soak --faults roam,loss=20s,gateway-restart     things that go wrong; what they may lose is accounted for
  vestibule soak --userspace --duration 1m                       without root, on any system
  vestibule soak --userspace --adapter probe1 --pool 1           the device with a real adapter, as an administrator or root

Faults, and how often each comes when no =TIME says so. What is sent from a moment before one until packets pass again may
be lost; whatever else is lost fails the run, and so does anything duplicated, reordered or reset at any time.
  roam             30s   the device gets another address                       real hosts
  loss             60s   for 2 s nothing passes between device and gateway     anywhere
  suspend          60s   for 3 s the device stands still                       anywhere
  gateway-restart  2m    the gateway is killed, and started again              real hosts
  adapter          30s   the adapter's session breaks, with what is in it      --userspace without --adapter
  socket           30s   the device's socket is bound anew                     --userspace
  rekey            20s   WireGuard renews its keys; nothing may be lost        anywhere
Without real hosts the load has no TCP when packets may be lost: the one made of memory does not send again. With --adapter
it has, between a kernel and a stack that does. As many of these may run at a time as have adapters and pools of their own.

It fails when a packet is lost, duplicated, reordered or changed, when TCP loses a byte or a connection, when memory
grows by 1 % per hour or more (fitted from minute 5 and swap 256 on, over 5 minutes or more), or when handles grow.
Ctrl-C ends it early, with the report of what was seen.

Exit codes: 0 nothing lost and nothing grows, 1 something is, 2 the soak could not begin.";

/// Runs a soak. To be called before any thread starts.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    for path in [&options.json, &options.html].into_iter().flatten() {
        if let Err(error) = fs::OpenOptions::new().append(true).create(true).open(path) {
            eprintln!("vestibule soak: cannot write {}: {error}", path.display());
            return ExitCode::from(CANNOT_BEGIN);
        }
    }
    for planned in &options.faults {
        if let Some(why) = planned.fault.refused(options.place(), options.transport) {
            eprintln!("vestibule soak: --faults: {why}");
            return ExitCode::from(CANNOT_BEGIN);
        }
    }
    // A real adapter of Linux goes with its sandbox, and nobody else's routes are touched. Elsewhere there are none.
    let place = options.place();
    if place == Place::Memory || (place == Place::Adapter && !cfg!(target_os = "linux")) {
        return here(options);
    }
    let missing = sandbox::missing();
    if !missing.is_empty() {
        eprintln!("vestibule soak makes network namespaces and TUN devices. Here it misses:");
        for missing in missing {
            eprintln!("  - {missing}");
        }
        eprintln!("Run it as root (sudo), or try `vestibule soak --userspace`: the same without any of these.");
        return ExitCode::from(CANNOT_BEGIN);
    }
    let mut arguments = vec![OsString::from("soak-inside")];
    arguments.extend(options.arguments());
    match sandbox::confine(&arguments, OnSignal::Ask) {
        Ok(Ended::Exited { code, report }) => match serde_json::from_slice(&report) {
            Ok(report) => finish(options, &report),
            Err(_) => {
                eprintln!("vestibule soak: its process in the sandbox ended (status {code}) without a report");
                ExitCode::from(code.max(1))
            }
        },
        Ok(Ended::Interrupted { signal }) => {
            eprintln!("\nvestibule soak: interrupted; its processes, namespaces and devices are gone");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("vestibule soak: {}", chain(&error));
            ExitCode::from(CANNOT_BEGIN)
        }
    }
}

/// Runs it in this process.
fn here(options: &Options) -> ExitCode {
    if options.place() == Place::Adapter
        && let Err(missing) = rights::check()
    {
        eprintln!("vestibule soak: it may not make a network adapter: {}", chain(&missing));
        return ExitCode::from(CANNOT_BEGIN);
    }
    pages::small_only();
    let interrupted = Arc::new(AtomicBool::new(false));
    listen(&interrupted);
    finish(options, &run::run(options, &env::temp_dir(), &|| interrupted.load(Ordering::Relaxed)))
}

/// The soak's first process in the sandbox. To be called before any thread starts.
pub(crate) fn inside(options: &Options) -> ExitCode {
    let link = match sandbox::settle() {
        Ok(link) => link,
        Err(error) => {
            eprintln!("vestibule soak: {}", chain(&error));
            return ExitCode::from(CANNOT_BEGIN);
        }
    };
    // The gateway's process inherits it: what is measured is what it takes, not what the system makes of it.
    pages::small_only();
    let (report, mut link) = match options.place() {
        Place::Adapter => match on_own_host(options.clone(), link) {
            Ok(ended) => ended,
            Err(error) => {
                eprintln!("vestibule soak: {}", chain(&error));
                return ExitCode::from(CANNOT_BEGIN);
            }
        },
        Place::Hosts | Place::Memory => (run::run(options, Path::new(ROOM), &|| link.asked_to_end()), link),
    };
    match serde_json::to_vec(&report).map_err(io::Error::from).and_then(|bytes| link.report(&bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule soak: cannot hand on the report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it on a host of its own, whose network has nothing but a loopback.
fn on_own_host(options: Options, link: sandbox::Link) -> Result<(Report, sandbox::Link), sandbox::SandboxError> {
    let host = sandbox::Namespace::new("both ends")?;
    host.run(move || (run::run(&options, Path::new(ROOM), &|| link.asked_to_end()), link))
}

/// Sets `interrupted` when the process is asked to end. Where no thread can be had, the system ends it, without a report.
fn listen(interrupted: &Arc<AtomicBool>) {
    let told = interrupted.clone();
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(async { EndRequests::listen().received().await });
            told.store(true, Ordering::Relaxed);
        }
    };
    if let Err(error) = thread::Builder::new().name("interrupts".to_owned()).spawn(wait) {
        eprintln!("vestibule soak: an interrupt will end it without a report: {error}");
    }
}

/// Writes what was asked for, and says the verdict.
fn finish(options: &Options, report: &Report) -> ExitCode {
    for sentence in &report.verdict.unjudged {
        eprintln!("not judged: {sentence}");
    }
    println!("{}", report.verdict.line);
    let mut written = Ok(());
    if let Some(path) = &options.json {
        let json = serde_json::to_vec(report).map_err(io::Error::from);
        written = json.and_then(|json| write(path, &json)).map_err(|error| (path, error));
    }
    if let (Ok(()), Some(path)) = (&written, &options.html) {
        written = write(path, page::page(report).as_bytes()).map_err(|error| (path, error));
    }
    if let Err((path, error)) = written {
        eprintln!("vestibule soak: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    match &report.end {
        End::Stopped(_) if report.samples.is_empty() => ExitCode::from(CANNOT_BEGIN),
        _ if report.verdict.passed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Writes beside `path`, then moves it there whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let mut file = fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
