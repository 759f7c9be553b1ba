//! `vestibule demo`: the whole walk on one machine, with real packets, and a verdict.
//!
//! It is played in a world (`world`) of kernels, inside a [`sandbox`], or of memory.

mod options;
mod script;
mod timeline;
mod verdict;

pub use crate::world::Transport;
pub use options::Options;

use crate::causes::chain;
use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};
use vestibule_platform::sandbox::{self, Ended, OnSignal};

/// Exit status when the demo could not begin.
const CANNOT_BEGIN: u8 = 2;

/// Runs the demo. To be called before any thread starts.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    if let Some(path) = &options.json
        && let Err(error) = fs::OpenOptions::new().append(true).create(true).open(path)
    {
        eprintln!("vestibule demo: cannot write {}: {error}", path.display());
        return ExitCode::from(CANNOT_BEGIN);
    }
    if options.userspace {
        return userspace(options);
    }
    let missing = sandbox::missing();
    if !missing.is_empty() {
        eprintln!("vestibule demo makes network namespaces and TUN devices. Here it misses:");
        for missing in missing {
            eprintln!("  - {missing}");
        }
        eprintln!("Run it as root (sudo), or try `vestibule demo --userspace`: the same walk without any of these.");
        return ExitCode::from(CANNOT_BEGIN);
    }
    let mut arguments = vec![OsString::from("demo-inside")];
    arguments.extend(options.arguments());
    match sandbox::confine(&arguments, OnSignal::End) {
        Ok(Ended::Exited { code, report }) => finish(options, code, &report),
        Ok(Ended::Interrupted { signal }) => {
            eprintln!("\nvestibule demo: interrupted; its processes, namespaces and devices are gone");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("vestibule demo: {}", chain(&error));
            ExitCode::from(CANNOT_BEGIN)
        }
    }
}

/// Runs the demo in this process.
fn userspace(options: &Options) -> ExitCode {
    let verdict = script::run(options);
    println!("\n{verdict}");
    let code = u8::from(verdict.failed() > 0);
    finish(options, code, &json(&verdict))
}

fn json(verdict: &verdict::Verdict) -> Vec<u8> {
    let mut json = verdict.json().to_string();
    json.push('\n');
    json.into_bytes()
}

/// Hands on what the demo inside the sandbox reported.
fn finish(options: &Options, code: u8, report: &[u8]) -> ExitCode {
    if let Some(path) = &options.json
        && let Err(error) = write_json(path, report)
    {
        eprintln!("vestibule demo: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::from(code)
}

/// Writes the verdict beside `path`, then moves it there whole.
fn write_json(path: &Path, report: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let mut file = fs::File::create(&partial)?;
    file.write_all(report)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

/// The demo's first process in the sandbox. To be called before any thread starts.
pub(crate) fn inside(options: &Options) -> ExitCode {
    let mut link = match sandbox::settle() {
        Ok(link) => link,
        Err(error) => {
            eprintln!("vestibule demo: {}", chain(&error));
            return ExitCode::from(CANNOT_BEGIN);
        }
    };
    let verdict = script::run(options);
    println!("\n{verdict}");
    if let Err(error) = link.report(&json(&verdict)) {
        eprintln!("vestibule demo: cannot hand on the verdict: {error}");
        return ExitCode::FAILURE;
    }
    if verdict.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
