//! The tests, and the measures that come out of them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that is run once per engine and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Test {
    /// TCP, one connection.
    #[value(name = "tcp1")]
    Tcp1,
    /// TCP, four connections.
    #[value(name = "tcp4")]
    Tcp4,
    /// TCP, one connection, in reverse.
    #[value(name = "tcp1r")]
    Tcp1r,
    /// UDP, as much as iperf3 can send.
    Udp,
    /// UDP at half of what was delivered by `udp`.
    UdpHalf,
    /// Ping.
    Rtt,
    /// CPU in silence.
    Idle,
    /// Memory, after the tests before it.
    Rss,
}

impl Test {
    /// All of them, in the order in which they run.
    pub(super) const ALL: [Self; 8] =
        [Self::Tcp1, Self::Tcp4, Self::Tcp1r, Self::Udp, Self::UdpHalf, Self::Rtt, Self::Idle, Self::Rss];

    /// As on the command line and in the results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
            Self::Tcp1r => "tcp1r",
            Self::Udp => "udp",
            Self::UdpHalf => "udp-half",
            Self::Rtt => "rtt",
            Self::Idle => "idle",
            Self::Rss => "rss",
        }
    }

    /// Whether it looks at the engines' processes alone, which not all engines have.
    pub(super) fn is_of_processes(self) -> bool {
        matches!(self, Self::Idle | Self::Rss)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// The more the better.
    More,
    /// The less the better.
    Less,
}

/// One number of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    /// Where it comes from.
    pub(super) test: Test,
    /// Its name among the test's values.
    pub(super) value: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// Of the numbers.
    pub(super) unit: &'static str,
    /// Which way is better.
    pub(super) better: Better,
    /// Decimals worth showing.
    pub(super) decimals: usize,
}

/// Names of values.
pub(super) mod value {
    /// Billions of payload bits per second that arrived.
    pub(in super::super) const GBPS: &str = "gbps";
    /// CPU-seconds of both engine processes for each 10⁹ payload bytes that arrived.
    pub(in super::super) const CPU: &str = "cpu_s_per_gb";
    /// Percent of the datagrams that did not arrive.
    pub(in super::super) const LOSS: &str = "loss_percent";
    /// Milliseconds there and back.
    pub(in super::super) const RTT: &str = "avg_ms";
    /// Percent of one core, of the busier of the two engine processes.
    pub(in super::super) const IDLE: &str = "cpu_percent";
    /// Peak of the larger of the two engine processes, 10⁶ bytes.
    pub(in super::super) const MEMORY: &str = "peak_mb";
}

const fn measure(
    test: Test,
    value: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    decimals: usize,
) -> Measure {
    Measure { test, value, title, unit, better, decimals }
}

/// Every measure that is shown, in the order of the tables.
pub(super) const MEASURES: [Measure; 12] = {
    use Better::{Less, More};
    [
        measure(Test::Tcp1, value::GBPS, "TCP ×1", "Gb/s", More, 2),
        measure(Test::Tcp4, value::GBPS, "TCP ×4", "Gb/s", More, 2),
        measure(Test::Tcp1r, value::GBPS, "TCP ×1 reverse", "Gb/s", More, 2),
        measure(Test::Udp, value::GBPS, "UDP 1200 B at overload", "Gb/s", More, 2),
        measure(Test::Udp, value::LOSS, "Loss at overload", "%", Less, 1),
        measure(Test::UdpHalf, value::LOSS, "Loss at half rate", "%", Less, 3),
        measure(Test::Tcp1, value::CPU, "CPU, TCP ×1", "s/GB", Less, 2),
        measure(Test::Tcp4, value::CPU, "CPU, TCP ×4", "s/GB", Less, 2),
        measure(Test::Tcp1r, value::CPU, "CPU, TCP ×1 reverse", "s/GB", Less, 2),
        measure(Test::Rtt, value::RTT, "Ping", "ms", Less, 3),
        measure(Test::Idle, value::IDLE, "Idle CPU", "%", Less, 2),
        measure(Test::Rss, value::MEMORY, "Peak memory", "MB", Less, 1),
    ]
};

/// The measure of a test's value.
pub(super) fn find(test: Test, value: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.test == test && measure.value == value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_the_results() {
        for test in Test::ALL {
            assert_eq!(test.to_possible_value().unwrap().get_name(), test.name());
            assert_eq!(serde_json::to_string(&test).unwrap(), format!("\"{}\"", test.name()));
        }
    }

    #[test]
    fn measures_are_unlike() {
        for measure in &MEASURES {
            assert_eq!(find(measure.test, measure.value), Some(measure));
        }
    }
}
