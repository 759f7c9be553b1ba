//! Measures Vestibule beside other tunnels: `cargo run --release -p vestibule-benches -- compare`.

mod compare;
mod congestion;
mod connect;
mod end;
mod paths;
mod tunnel;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// As in the product, for `masque-end`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures Vestibule as a whole. (The micro-benchmarks of the packet path are `cargo bench -p vestibule-benches`.)
#[derive(Debug, Parser)]
#[command(name = "vestibule-benches", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Compare(compare::Options),
    /// Congestion controllers of a MASQUE tunnel compared in virtual time.
    Congestion,
    /// How long a device takes to connect over MASQUE, with and without post-quantum key exchange.
    Connect,
    /// The kernel's TCP through a MASQUE tunnel and without, over emulated paths.
    Paths,
    /// The same inside its sandbox.
    #[command(hide = true)]
    PathsInside,
    /// The comparison inside its sandbox.
    #[command(hide = true)]
    CompareInside {
        /// What to do, in JSON.
        job: String,
    },
    /// One end of what `vestibule-masque` is in a comparison.
    #[command(hide = true)]
    MasqueEnd(end::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Compare(options) => compare::run(&options),
        Verb::Congestion => congestion::run(),
        Verb::Connect => connect::run(),
        Verb::Paths => paths::run(),
        Verb::PathsInside => paths::inside(),
        Verb::CompareInside { job } => compare::inside(&job),
        Verb::MasqueEnd(options) => end::run(&options),
    }
}
