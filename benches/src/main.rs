//! Measures Vestibule beside other WireGuard implementations: `cargo run --release -p vestibule-benches -- compare`.

mod compare;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
    /// The comparison inside its sandbox.
    #[command(hide = true)]
    CompareInside {
        /// What to do, in JSON.
        job: String,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Compare(options) => compare::run(&options),
        Verb::CompareInside { job } => compare::inside(&job),
    }
}
