//! What the comparison is asked to do.

use super::measure::Test;
use std::path::PathBuf;

/// Measures userspace tunnels side by side, WireGuard's and ours over MASQUE, and says which targets Vestibule meets.
///
/// Two network namespaces are joined by a veth (MTU 1500). For each engine in turn, one process at each end makes a
/// tunnel (MTU 1420), and iperf3 and ping run inside it. Rounds are interleaved: every engine once, then every engine
/// again, in rotated order, so that a machine that gets slower does so for all. What is compared is the median over
/// the rounds; the smallest and the largest are shown beside it.
///
/// Measured for each engine: TCP with one and four connections and in reverse, CPU-seconds of both engine processes
/// for each gigabyte, UDP with 1200-byte datagrams at overload and at half of what was delivered then, ping, CPU while
/// nothing happens, and memory.
///
/// Engines are looked for in `target/peers/bin` (filled by `benches/setup`), in each --peers directory, and on the
/// PATH; what is not there is left out. Vestibule is built first when this was started by cargo.
///
/// Needs root on Linux, and the commands iperf3, wg, ip and ping. All of it happens in a sandbox of its own: whatever
/// ends the comparison (Ctrl-C and kill -9 included), its processes, namespaces and devices go with it, and several
/// comparisons can run at once (though they should not: they measure one another).
///
/// Writes compare.md (tables), compare.json (machine, versions, command lines, every sample) and compare.svg (plot) to
/// the --output directory. Exit status: 0 when everything was measured (whatever targets were missed), 1 when
/// something could not be measured, 2 when nothing could begin.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds: how often each engine is measured. Medians want at least three; 0, with --product, measures that alone.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=99))]
    pub(super) rounds: u32,
    /// Seconds of each throughput test, and of the silence in which idle CPU is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(super) seconds: u32,
    /// Only these engines: vestibule, vestibule-masque, vestibule-http2, wireguard-go, gotatun, boringtun, neptun, kernel,
    /// veth, and names given with --engine.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(super) engines: Vec<String>,
    /// Only these tests.
    #[arg(long, value_name = "TEST,...", value_delimiter = ',', value_enum, default_values_t = Test::ALL)]
    pub(super) tests: Vec<Test>,
    /// One more engine: a command that gets the interface name as its last word, stays in the foreground and speaks
    /// the WireGuard userspace API, such as --engine 'before=/tmp/old/vestibule wireguard -f', or is another build's
    /// end of a MASQUE tunnel: --engine 'before=/tmp/old/vestibule-benches masque-end'. May be repeated.
    #[arg(long = "engine", value_name = "NAME=COMMAND")]
    pub(super) extra: Vec<String>,
    /// The vestibule to measure. Without it: the one beside this program, which cargo builds first.
    #[arg(long, value_name = "FILE")]
    pub(super) vestibule: Option<PathBuf>,
    /// Looks for engines here, before anywhere else. May be repeated.
    #[arg(long, value_name = "DIR")]
    pub(super) peers: Vec<PathBuf>,
    /// Also measures the product, a gateway and a device: pairs of bulk loads, one of each with 1,000 rules and an
    /// identity swap every 100 ms, the other with neither; compares CPU-seconds of both ends for each gigabyte.
    #[arg(long)]
    pub(super) product: bool,
    /// Pairs of --product.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) pairs: u32,
    /// Megabytes of each load of --product.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) megabytes: u32,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    pub(super) output: PathBuf,
}
