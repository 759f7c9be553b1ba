//! One engine's turn: every test once.

use super::{
    command::{self, Running},
    error::RunError,
    iperf::{Outcome, Ping},
    measure::{Test, value},
    model::Values,
    pair::{Pair, ROOM},
    proc, process,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// iperf3's port.
const PORT: u16 = 5201;
/// Longest wait for a server that starts, or for a client after its time.
const PATIENCE: Duration = Duration::from_secs(15);
/// Rest before a load, for what the one before it has left in queues.
const REST: Duration = Duration::from_millis(300);
/// Payload of the UDP datagrams.
const DATAGRAM: &str = "1200";

/// Measures one pair of engines.
#[derive(Debug)]
pub(super) struct Turn {
    pair: Pair,
    seconds: u32,
    clock_hz: u64,
    /// What `udp` has delivered, in bits per second.
    delivered: Option<f64>,
    /// Largest memory seen while a load ran, in kB.
    resident_kb: u64,
}

impl Turn {
    /// Takes a pair that stands, and makes sure that the tunnel carries.
    pub(super) fn begin(pair: Pair, seconds: u32, clock_hz: u64) -> Result<Self, RunError> {
        let turn = Self { pair, seconds, clock_hz, delivered: None, resident_kb: 0 };
        let target = turn.pair.target();
        // The first request begins the handshake.
        let answered = command::run(&turn.pair.hosts[0], &["ping", "-c", "3", "-i", "0.2", "-W", "2", "-q", target]);
        answered.map_err(|error| turn.pair.complain(format!("no ping through the tunnel ({error})")))?;
        Ok(turn)
    }

    /// Runs one test.
    pub(super) fn run(&mut self, test: Test) -> Result<Values, RunError> {
        self.pair.expect_alive()?;
        match test {
            Test::Tcp1 => self.load(&[]),
            Test::Tcp4 => self.load(&["-P", "4"]),
            Test::Tcp1r => self.load(&["-R"]),
            Test::Udp => {
                let values = self.load(&["-u", "-b", "0", "-l", DATAGRAM])?;
                self.delivered = values.get(value::GBPS).map(|gbps| gbps * 1e9);
                Ok(values)
            }
            Test::UdpHalf => {
                let delivered = self.delivered.ok_or(RunError::Needs(Test::Udp.name()))?;
                self.load(&["-u", "-b", &format!("{:.0}", delivered / 2.0), "-l", DATAGRAM])
            }
            Test::Rtt => self.ping(),
            Test::Idle => self.idle(),
            Test::Rss => self.memory(),
        }
    }

    /// iperf3 through the tunnel, with CPU, memory and interface counters around it.
    fn load(&mut self, arguments: &[&str]) -> Result<Values, RunError> {
        thread::sleep(REST);
        let (seconds, port, target) = (self.seconds.to_string(), PORT.to_string(), self.pair.target());
        let server = ["iperf3", "-s", "-1", "-p", &port, "-B", target];
        let mut server = Running::start(&self.pair.hosts[1], &server, &format!("{ROOM}/server.log"))?;
        let host = &self.pair.hosts[1];
        server.wait_until("listening socket", PATIENCE, || Ok(host.run(listening)?))?;

        let pids = self.pair.pids();
        let (bytes, ticks) = (self.pair.bytes()?, process::ticks(&pids)?);
        let words = ["iperf3", "-c", target, "-p", &port, "-t", &seconds, "-J"];
        let words: Vec<&str> = words.iter().chain(arguments).copied().collect();
        let client = Running::start(&self.pair.hosts[0], &words, &format!("{ROOM}/client.json"))?;
        let mut resident_kb = 0;
        let limit = Duration::from_secs(u64::from(self.seconds)) + PATIENCE;
        let text = client.finish(limit, || {
            for pid in &pids {
                resident_kb = resident_kb.max(process::memory_kb(*pid, "VmRSS")?);
            }
            Ok(())
        })?;
        self.pair.expect_alive()?;
        let ticks = process::ticks(&pids)? - ticks;
        let counted = self.pair.bytes()?.saturating_sub(bytes);
        self.resident_kb = self.resident_kb.max(resident_kb);

        let outcome = Outcome::parse(&text)?;
        if (counted as f64) < outcome.bytes {
            return Err(RunError::Outside { arrived: outcome.bytes as u64, counted });
        }
        Ok(self.values(&outcome, ticks, counted))
    }

    fn values(&self, outcome: &Outcome, ticks: u64, counted: u64) -> Values {
        let mut values = Values::new();
        let mut enter = |name: &str, number: f64| values.insert(name.to_owned(), number);
        enter(value::GBPS, outcome.bits_per_second / 1e9);
        enter("bytes", outcome.bytes);
        enter("interface_bytes", counted as f64);
        if !self.pair.pids().is_empty() && outcome.bytes > 0.0 {
            let cpu = ticks as f64 / self.clock_hz as f64;
            enter("cpu_s", cpu);
            enter(value::CPU, cpu / (outcome.bytes / 1e9));
        }
        if let Some(udp) = outcome.udp {
            enter(value::LOSS, udp.loss_percent);
            enter("sent_per_second", udp.sent_per_second);
        }
        if let Some(retransmits) = outcome.retransmits {
            enter("retransmits", retransmits);
        }
        values
    }

    fn ping(&self) -> Result<Values, RunError> {
        let target = self.pair.target();
        let text = command::run(&self.pair.hosts[0], &["ping", "-c", "500", "-i", "0.002", "-q", target])?;
        let ping = Ping::parse(&text).ok_or(RunError::NoAnswer(text))?;
        let values = [
            (value::RTT, ping.avg),
            ("min_ms", ping.min),
            ("max_ms", ping.max),
            (value::LOSS, 100.0 * (1.0 - ping.received / ping.sent.max(1.0))),
        ];
        Ok(values.map(|(name, number)| (name.to_owned(), number)).into())
    }

    fn idle(&self) -> Result<Values, RunError> {
        // What a load has left to be done is no idling.
        thread::sleep(Duration::from_secs(1));
        let pids = self.pair.pids();
        let read = || pids.iter().map(|pid| process::nanoseconds(*pid)).collect::<Result<Vec<_>, _>>();
        let (began, before) = (Instant::now(), read()?);
        thread::sleep(Duration::from_secs(u64::from(self.seconds)));
        let (after, took) = (read()?, began.elapsed().as_nanos() as f64);
        let used = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before) as f64 / took * 100.0);
        let mut values = Values::new();
        if let Some(most) = used.reduce(f64::max) {
            values.insert(value::IDLE.to_owned(), most);
        }
        Ok(values)
    }

    fn memory(&self) -> Result<Values, RunError> {
        let mut values = Values::new();
        let megabytes = |kb: u64| kb as f64 * 1024.0 / 1e6;
        for (end, pid) in ["client", "server"].into_iter().zip(self.pair.pids()) {
            let peak = megabytes(process::memory_kb(pid, "VmHWM")?);
            // The rest of what is resident is mostly the program's own file.
            values.insert(format!("{end}_anonymous_mb"), megabytes(process::memory_kb(pid, "RssAnon")?));
            values.insert(format!("{end}_peak_mb"), peak);
            let most = values.entry(value::MEMORY.to_owned()).or_insert(peak);
            *most = most.max(peak);
        }
        if self.resident_kb > 0 {
            values.insert("resident_under_load_mb".to_owned(), megabytes(self.resident_kb));
        }
        Ok(values)
    }
}

/// Whether iperf3's server listens in the calling thread's namespace.
fn listening() -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        proc::listens(&text, PORT)
    })
}
