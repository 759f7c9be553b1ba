//! What a soak is asked to do.

use super::faults::Planned;
use crate::{
    gateway::duration,
    world::{Transport, intranet::Intranet, userspace::RealAdapter},
};
use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

/// Runs the tunnel for long, with swaps and faults, and fails when anything is lost or grows.
///
/// Boots gateway and device, and sends numbered UDP packets and a checked TCP stream both ways while identities are
/// swapped. Every packet is accounted for; memory, handles and processor time are sampled every second. At the end: one
/// line with the verdict, a report, a page with plots. Needs root on Linux; `--userspace` needs nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long, once everything stands: like `90s`, `10m` or `1h30m`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub duration: Duration,
    /// Swaps the identity every so often: a time, or `never`
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub swap_every: Every,
    /// What tunnels travel over; the gateway's default device profile says so
    #[arg(long, value_enum, default_value_t)]
    pub transport: Transport,
    /// What goes wrong meanwhile: names, with =TIME for how often (see below)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub faults: Vec<Planned>,
    /// Stamped UDP packets per second, each way
    #[arg(long, value_name = "PACKETS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub rate: u32,
    /// TCP in megabits per second, each way
    #[arg(long, value_name = "MEGABITS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tcp_rate: u32,
    /// Writes the report to this file as JSON (docs/soak.md says what is in it)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the report to this file as a page with plots, in one piece
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Both ends in this process, joined by memory instead of devices: without root, on any system
    #[arg(long)]
    pub userspace: bool,
    /// With --userspace: the device has a real adapter of this name, and the load is made by this system's own sockets
    ///
    /// Needs wintun.dll and an administrator on Windows, root on Linux. The gateway's end stays memory.
    #[arg(long, value_name = "NAME", requires = "userspace")]
    pub adapter: Option<String>,
    /// With --adapter: number of the addresses inside, another one for each soak that runs at a time
    ///
    /// The intranet is 10.(20 + NUMBER).0.0/24, and the device has an address of 100.96.NUMBER.0/24.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "adapter",
        value_parser = clap::value_parser!(u8).range(0..=i64::from(Intranet::LAST)))]
    pub pool: u8,
    /// No line on stderr every few seconds
    #[arg(long)]
    pub quiet: bool,
    /// With --userspace: loses, doubles and swaps a packet each, to show that it is seen.
    #[arg(long, hide = true, requires = "userspace")]
    pub plant: bool,
}

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            text => time(text).map(|every| Self(Some(every))).map_err(|error| format!("{error}, or `never`")),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("never"),
            Some(every) => write!(f, "{}ms", every.as_millis()),
        }
    }
}

/// Reads a time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let millis = duration::parse(text)?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// Where a soak is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On hosts with kernels of their own.
    Hosts,
    /// All of it in memory.
    Memory,
    /// In memory, but for the device's adapter.
    Adapter,
}

impl Options {
    /// Where it is played.
    pub(super) fn place(&self) -> Place {
        match (self.userspace, &self.adapter) {
            (true, Some(_)) => Place::Adapter,
            (true, None) => Place::Memory,
            (false, _) => Place::Hosts,
        }
    }

    /// The real adapter that the device gets.
    pub(super) fn real_adapter(&self) -> Option<RealAdapter> {
        let name = self.adapter.clone()?;
        Some(RealAdapter { name, intranet: Intranet::numbered(self.pool) })
    }

    /// The same options, as arguments for the soak inside the sandbox. What concerns files stays outside.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let words = [
            ("--duration", format!("{}ms", self.duration.as_millis())),
            ("--swap-every", self.swap_every.to_string()),
            ("--transport", self.transport.name().to_owned()),
            ("--rate", self.rate.to_string()),
            ("--tcp-rate", self.tcp_rate.to_string()),
        ];
        let mut arguments: Vec<OsString> =
            words.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect();
        if !self.faults.is_empty() {
            let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
            arguments.extend(["--faults".into(), faults.join(",").into()]);
        }
        if let Some(name) = &self.adapter {
            arguments.extend(["--adapter".into(), name.into(), "--pool".into(), self.pool.to_string().into()]);
        }
        for (given, flag) in [(self.userspace, "--userspace"), (self.quiet, "--quiet"), (self.plant, "--plant")] {
            arguments.extend(given.then(|| flag.into()));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_sandbox_gets_the_same_numbers() {
        let words = "soak --duration 1h30m --swap-every 1.5s --transport masque --rate 70 --tcp-rate 3 --faults roam,loss=20s --quiet --json x";
        let given = Command::parse_from(words.split(' ')).options;
        assert_eq!(given.duration, Duration::from_secs(5400));
        assert_eq!(given.swap_every, Every(Some(Duration::from_millis(1500))));
        let again = Command::parse_from(std::iter::once("soak".into()).chain(given.arguments())).options;
        assert_eq!(again.arguments(), given.arguments());
        assert_eq!((again.duration, again.swap_every, again.quiet), (given.duration, given.swap_every, true));
        assert_eq!((again.faults.len(), &again.faults), (2, &given.faults));
        assert_eq!(again.json, None, "files are written outside");
        let words = "soak --userspace --adapter probe0 --pool 7 --plant";
        let given = Command::parse_from(words.split(' ')).options;
        let again = Command::parse_from(std::iter::once("soak".into()).chain(given.arguments())).options;
        assert_eq!((again.place(), again.pool, again.plant), (Place::Adapter, 7, true));
        assert_eq!(again.real_adapter().unwrap().name, "probe0");
        let never = Command::parse_from(["soak", "--swap-every", "never"]).options;
        assert_eq!(never.swap_every, Every(None));
    }

    #[test]
    fn an_adapter_is_for_one_process_and_a_pool_for_an_adapter() {
        for words in ["soak --adapter probe0", "soak --userspace --pool 1", "soak --userspace --adapter a --pool 100"] {
            assert!(Command::try_parse_from(words.split(' ')).is_err(), "{words}");
        }
    }

    #[test]
    fn absurd_times_are_refused_by_name() {
        for (name, value) in [("--duration", "0s"), ("--duration", "soon"), ("--swap-every", "1")] {
            let error = Command::try_parse_from(["soak", name, value]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("1h30m"), "{error}");
        }
    }
}
