//! What the demo is asked to do.

use crate::world::Transport;
use std::{ffi::OsString, path::PathBuf};

/// Shows the whole walk on this machine and checks that nothing is lost.
///
/// Boots a device that connects with a service token before anyone logs in, logs a user on, switches identities under
/// load, and measures every packet from outside the tunnel. Needs root on Linux; `--userspace` needs nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Identity swaps in the second part.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub swaps: u32,
    /// Stamped UDP packets per second, each way.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub rate: u32,
    /// TCP in megabits per second, each way.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tcp_rate: u32,
    /// Milliseconds between a swap's end and the next log-on or log-off.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub spacing: u32,
    /// Seconds of the control run without swaps.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub control: u32,
    /// What tunnels travel over; the gateway's default device profile says so.
    #[arg(long, value_enum, default_value_t)]
    pub transport: Transport,
    /// Writes the verdict as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Runs without root on any system: both ends in this process, joined by memory instead of devices.
    #[arg(long)]
    pub userspace: bool,
    /// Measures the instruments: the same load over plain cables, without gateway, daemon or tunnel.
    #[arg(long, hide = true)]
    pub bare: bool,
    /// Plays what goes wrong in an administrator's life instead: bad files, bad tokens, kills, floods, a full disk.
    #[arg(long, hide = true)]
    pub trouble: bool,
    /// Measures what rules and swaps cost instead: pairs of bulk loads, with and without them.
    #[arg(long, hide = true)]
    pub cost: bool,
    /// With --cost: how many pairs.
    #[arg(long, hide = true, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: u32,
    /// With --cost: rules of the loads with rules.
    #[arg(long, hide = true, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub rules: u32,
    /// With --cost: megabytes of each load.
    #[arg(long, hide = true, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub megabytes: u32,
}

impl Options {
    /// The same options, as arguments for the demo inside the sandbox. What concerns files stays outside.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let numbers = [
            ("--swaps", self.swaps),
            ("--rate", self.rate),
            ("--tcp-rate", self.tcp_rate),
            ("--spacing", self.spacing),
            ("--control", self.control),
            ("--pairs", self.pairs),
            ("--rules", self.rules),
            ("--megabytes", self.megabytes),
        ];
        for (name, value) in numbers {
            arguments.extend([name.into(), value.to_string().into()]);
        }
        arguments.extend(["--transport".into(), self.transport.name().into()]);
        if self.bare {
            arguments.push("--bare".into());
        }
        if self.trouble {
            arguments.push("--trouble".into());
        }
        if self.cost {
            arguments.push("--cost".into());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_sandbox_gets_the_same_numbers() {
        let mut given = ["demo", "--swaps", "7", "--rate", "500", "--tcp-rate", "3", "--spacing", "9"].to_vec();
        given.extend([
            "--control",
            "2",
            "--pairs",
            "4",
            "--rules",
            "8",
            "--megabytes",
            "6",
            "--transport",
            "masque",
            "--cost",
        ]);
        let options = Command::parse_from(&given).options;
        let passed = options.arguments();
        let again = Command::parse_from(std::iter::once("demo".into()).chain(passed.clone())).options;
        assert_eq!((again.swaps, again.rate, again.tcp_rate, again.spacing, again.control), (7, 500, 3, 9, 2));
        assert_eq!(passed, given[1..].iter().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn absurd_numbers_are_refused_by_name() {
        let error = Command::try_parse_from(["demo", "--rate", "0"]).err().unwrap().to_string();
        assert!(error.contains("--rate") && error.contains("10..=1000000"), "{error}");
    }
}
