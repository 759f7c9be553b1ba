//! What rules and swaps cost: `vestibule demo --cost`, run and read.

use super::stats::Spread;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// CPU with rules and swaps may be so many times of that without.
pub(super) const LIMIT: f64 = 1.05;
/// Where the demo leaves its numbers.
const NUMBERS: &str = "/run/compare-product.json";

/// What is to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) vestibule: PathBuf,
    pub(super) pairs: u32,
    pub(super) megabytes: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Product {
    /// More rules than the two that the load needs.
    pub(super) rules: u32,
    /// A swap every so many milliseconds was asked for.
    pub(super) spacing_ms: u32,
    pub(super) pairs: Vec<Pair>,
}

/// Two loads, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) without: Load,
    pub(super) with: Load,
}

/// The same number of bytes from the device to a host behind the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) gbps: f64,
    /// Of the gateway and the device's daemon.
    pub(super) cpu_s: f64,
    pub(super) cpu_s_per_gb: f64,
    /// Swaps that happened meanwhile.
    pub(super) swaps: u64,
}

impl Product {
    /// CPU for each gigabyte with rules and swaps, in times of that without, pair by pair.
    pub(super) fn ratio(&self) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(|pair| pair.with.cpu_s_per_gb / pair.without.cpu_s_per_gb))
    }

    /// One number of all loads of a kind.
    pub(super) fn spread(&self, of: impl Fn(&Pair) -> f64) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(of))
    }

    /// Swaps per second of load that really happened.
    pub(super) fn swaps_per_second(&self) -> f64 {
        let seconds: f64 = self.pairs.iter().map(|pair| pair.with.seconds).sum();
        self.pairs.iter().map(|pair| pair.with.swaps as f64).sum::<f64>() / seconds.max(f64::EPSILON)
    }

    /// Whether the target is met; `None` of nothing.
    pub(super) fn met(&self) -> Option<bool> {
        self.ratio().map(|ratio| ratio.median <= LIMIT)
    }
}

/// Runs it inside the sandbox, in a sandbox of its own.
pub(super) fn run(order: &Order) -> io::Result<Product> {
    let (pairs, megabytes) = (order.pairs.to_string(), order.megabytes.to_string());
    let mut command = Command::new(&order.vestibule);
    command.args(["demo", "--cost", "--pairs", &pairs, "--megabytes", &megabytes, "--json", NUMBERS]);
    // Standard output is for the results.
    let status = command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr())).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("`vestibule demo --cost` ended with {status}")));
    }
    read(Path::new(NUMBERS))
}

fn read(path: &Path) -> io::Result<Product> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
pub(super) mod testing {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(cpu_s_per_gb: f64, swaps: u64) -> Load {
        Load { bytes: 2_000_000_000, seconds: 4.0, gbps: 4.0, cpu_s: 2.0 * cpu_s_per_gb, cpu_s_per_gb, swaps }
    }

    /// Pairs with these costs.
    pub(in super::super) fn product(costs: &[(f64, f64)]) -> Product {
        let pair = |(without, with): &(f64, f64)| Pair { without: load(*without, 0), with: load(*with, 40) };
        Product { rules: 1000, spacing_ms: 100, pairs: costs.iter().map(pair).collect() }
    }

    #[test]
    fn the_ratio_is_of_each_pair() {
        let product = product(&[(2.0, 2.1), (4.0, 4.0), (1.0, 1.3)]);
        let ratio = product.ratio().unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (1.05, 1.0, 1.3));
        assert_eq!((product.met(), product.swaps_per_second()), (Some(true), 10.0));
    }

    #[test]
    fn more_than_five_percent_is_too_much() {
        assert_eq!(product(&[(2.0, 2.11)]).met(), Some(false));
        assert_eq!(product(&[]).met(), None);
    }

    #[test]
    fn the_demos_numbers_are_understood() {
        let text = r#"{"checks": [], "rules": 1000, "spacing_ms": 100, "swaps": 9, "pairs": [{
            "with": {"bytes": 3, "cpu_s": 1.5, "cpu_s_per_gb": 2.5, "gbps": 1.5, "seconds": 1.0, "swaps": 9},
            "without": {"bytes": 3, "cpu_s": 1.0, "cpu_s_per_gb": 2.0, "gbps": 1.7, "seconds": 1.0, "swaps": 0}}]}"#;
        let product: Product = serde_json::from_str(text).unwrap();
        assert_eq!(product.ratio().unwrap().median, 1.25);
    }
}
