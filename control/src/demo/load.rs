//! The load on the tunnel and its account: stamped UDP and checked TCP, both ways, between the device and the
//! directory server, whose address every identity may reach.

use super::{
    drops::{self, Counters},
    host::ledger::Tally,
    hosts::{Host, HostError},
    stage::{DIRECTORY, Stage},
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    /// UDP packets per second, each way.
    pub rate: u32,
    /// TCP megabits per second, each way.
    pub tcp_rate: u32,
    /// Largest packet inside the tunnel.
    pub mtu: u16,
}

/// The running load.
#[derive(Debug)]
pub(super) struct Load {
    device: Host,
    directory: Host,
    client: Host,
    server: Host,
    before: [(String, Counters); 3],
    retransmitted: u64,
    started: Instant,
    /// Largest gap around each asked moment, either direction, in nanoseconds.
    gaps: Vec<u64>,
    unanswered: u64,
}

/// What a run of the load came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// Device to intranet.
    pub up: Tally,
    /// Intranet to device.
    pub down: Tally,
    /// Receive errors, such as an ICMP answer to a datagram.
    pub errors: u64,
    /// Sends that the kernel refused.
    pub refused: u64,
    /// Packets that were not sent because the sender could not run in time.
    pub forgiven: u64,
    /// TCP bytes that arrived, both ways.
    pub tcp_bytes: u64,
    /// TCP bytes that were sent and did not arrive, or arrived as other bytes.
    pub tcp_mismatched: u64,
    /// Connections that broke.
    pub tcp_resets: u64,
    /// TCP segments sent again by either end's kernel.
    pub tcp_retransmitted: u64,
    /// Drops in the kernel, by namespace and counter.
    pub kernel_drops: Counters,
    /// Seconds that it ran.
    pub seconds: f64,
    /// Largest gap around each moment asked for.
    pub gaps: Vec<u64>,
    /// Moments for which no gap could be told.
    pub unanswered: u64,
}

#[derive(Deserialize)]
struct Stopped {
    sent: u64,
    refused: u64,
    forgiven: u64,
}

#[derive(Deserialize)]
struct Report {
    tally: Tally,
    errors: u64,
}

#[derive(Deserialize)]
struct Gap {
    gap_ns: Option<u64>,
}

/// What one end of the TCP connection has seen.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Stream {
    /// The connection stands or stood.
    pub connected: bool,
    /// Bytes given to the kernel.
    pub sent: u64,
    /// Bytes that arrived.
    pub received: u64,
    /// Those that were not as sent.
    pub mismatched: u64,
    /// Broken connections.
    pub resets: u64,
}

impl Load {
    /// Starts it between the device's `inner` address and the directory server. `number` tells flows and ports apart.
    pub(super) fn start(stage: &Stage, inner: IpAddr, amount: Amount, number: u16) -> Result<Self, HostError> {
        let near = SocketAddr::new(inner, 7000 + number);
        let far = SocketAddr::new(DIRECTORY, 7000 + number);
        let served = SocketAddr::new(DIRECTORY, 3890 + number);
        let (up, down) = (u32::from(number) * 2, u32::from(number) * 2 + 1);
        let udp = |local: SocketAddr, peer: SocketAddr, flow: u32, expect: u32| {
            let (mtu, rate) = (amount.mtu, amount.rate);
            words(&format!(
                "udp --local {local} --peer {peer} --flow {flow} --expect {expect} --mtu {mtu} --rate {rate}"
            ))
        };
        let tcp = |side: &str| words(&format!("stream {side} {served} --rate {}", amount.tcp_rate));
        let before = stage.drops()?;
        let retransmitted = stage.retransmitted()?;
        let mut load = Self {
            directory: Host::start(&stage.intranet, "directory's datagrams", &udp(far, near, down, up))?,
            device: Host::start(&stage.device, "device's datagrams", &udp(near, far, up, down))?,
            server: Host::start(&stage.intranet, "directory's stream", &tcp("--listen"))?,
            client: Host::start(&stage.device, "device's stream", &tcp("--connect"))?,
            before,
            retransmitted,
            started: Instant::now(),
            gaps: Vec::new(),
            unanswered: 0,
        };
        for end in [&mut load.device, &mut load.directory] {
            end.ask::<serde_json::Value>("start")?;
        }
        Ok(load)
    }

    /// What the device's end of the TCP connection has seen.
    pub(super) fn stream(&mut self) -> Result<Stream, HostError> {
        self.client.ask("report")
    }

    /// Asks both ends for their largest gap around `moment` (nanoseconds of the wall clock) and keeps the larger.
    pub(super) fn measure_gap(&mut self, moment: u64) -> Result<Option<u64>, HostError> {
        let command = format!("gap {moment}");
        self.device.tell(&command)?;
        self.directory.tell(&command)?;
        let down: Gap = self.device.answer(&command)?;
        let up: Gap = self.directory.answer(&command)?;
        let gap = up.gap_ns.zip(down.gap_ns).map(|(up, down)| up.max(down));
        match gap {
            Some(gap) => self.gaps.push(gap),
            None => self.unanswered += 1,
        }
        Ok(gap)
    }

    /// Stops the senders, lets what is in flight arrive, and closes the account.
    pub(super) fn finish(mut self, stage: &Stage) -> Result<Account, HostError> {
        let seconds = self.started.elapsed().as_secs_f64();
        let from_device: Stopped = self.device.ask("stop")?;
        let from_directory: Stopped = self.directory.ask("stop")?;
        let up = settle(&mut self.directory, from_device.sent)?;
        let down = settle(&mut self.device, from_directory.sent)?;

        self.client.ask::<Stream>("stop")?;
        self.server.ask::<Stream>("stop")?;
        let client: Stream = self.client.ask("finish")?;
        let server: Stream = self.server.ask("finish")?;
        let missing = client.sent.abs_diff(server.received) + server.sent.abs_diff(client.received);

        let after = stage.drops()?;
        let mut kernel_drops = Counters::new();
        for ((namespace, before), (_, after)) in self.before.iter().zip(&after) {
            let grown = drops::growth(before, after);
            kernel_drops.extend(grown.into_iter().map(|(name, count)| (format!("{namespace}: {name}"), count)));
        }
        Ok(Account {
            up: up.tally,
            down: down.tally,
            errors: up.errors + down.errors,
            refused: from_device.refused + from_directory.refused,
            forgiven: from_device.forgiven + from_directory.forgiven,
            tcp_bytes: client.received + server.received,
            tcp_mismatched: client.mismatched + server.mismatched + missing,
            tcp_resets: client.resets + server.resets,
            tcp_retransmitted: stage.retransmitted()?.saturating_sub(self.retransmitted),
            kernel_drops,
            seconds,
            gaps: self.gaps,
            unanswered: self.unanswered,
        })
    }
}

impl Account {
    /// Adds another run to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.up.add(&other.up);
        self.down.add(&other.down);
        self.errors += other.errors;
        self.refused += other.refused;
        self.forgiven += other.forgiven;
        self.tcp_bytes += other.tcp_bytes;
        self.tcp_mismatched += other.tcp_mismatched;
        self.tcp_resets += other.tcp_resets;
        self.tcp_retransmitted += other.tcp_retransmitted;
        for (name, count) in &other.kernel_drops {
            *self.kernel_drops.entry(name.clone()).or_default() += count;
        }
        self.seconds += other.seconds;
        self.gaps.extend(&other.gaps);
        self.unanswered += other.unanswered;
    }

    /// Both directions together.
    pub(super) fn both(&self) -> Tally {
        let mut both = self.up;
        both.add(&self.down);
        both
    }
}

/// Waits until all `sent` datagrams have arrived, or none has for a while.
fn settle(host: &mut Host, sent: u64) -> Result<Report, HostError> {
    let command = format!("report {sent}");
    let mut quiet_since = Instant::now();
    let mut received = 0;
    loop {
        let report: Report = host.ask(&command)?;
        if report.tally.received != received {
            received = report.tally.received;
            quiet_since = Instant::now();
        }
        if report.tally.lost == 0 || quiet_since.elapsed() > Duration::from_secs(1) {
            // A duplicate of the last packet would come right behind it.
            thread::sleep(Duration::from_millis(50));
            return host.ask(&command);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
