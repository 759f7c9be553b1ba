//! The load on the tunnel and its account: stamped UDP and checked TCP, both ways, between the device and the
//! directory server, whose address every identity may reach.

use super::{
    drops::{self, Counters},
    host::udp::{Look, Report, Stopped},
    hosts::{Host, HostError},
    scene::{Account, Amount, Glance, SceneError, Stream, Traffic},
    stage::{DIRECTORY, Stage},
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for the first datagram.
const FIRST: Duration = Duration::from_secs(5);

/// The running load.
#[derive(Debug)]
pub(crate) struct Load {
    stage: Rc<Stage>,
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

#[derive(Deserialize)]
struct Gap {
    gap_ns: Option<u64>,
}

impl Load {
    /// Starts it between the device's `inner` address and the directory server. `number` tells flows and ports apart.
    pub(crate) fn start(stage: &Rc<Stage>, inner: IpAddr, amount: Amount, number: u16) -> Result<Self, HostError> {
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
            stage: stage.clone(),
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
        // The device begins: before login, nobody may open a flow towards it.
        load.device.ask::<serde_json::Value>("start")?;
        while load.directory.ask::<Report>("report 0")?.tally.received == 0 {
            if load.started.elapsed() > FIRST {
                return Err(HostError::Silent { name: "device's datagrams".to_owned(), command: "start".to_owned() });
            }
            thread::sleep(Duration::from_millis(1));
        }
        load.directory.ask::<serde_json::Value>("start")?;
        Ok(load)
    }
}

impl Traffic for Load {
    fn stream(&mut self) -> Result<Stream, SceneError> {
        Ok(self.client.ask("report")?)
    }

    fn glance(&mut self, [up, down]: [u64; 2]) -> Result<Glance, SceneError> {
        let (to_device, to_directory) = (format!("look {down}"), format!("look {up}"));
        self.device.tell(&to_device)?;
        self.directory.tell(&to_directory)?;
        self.client.tell("report")?;
        self.server.tell("report")?;
        let device: Look = self.device.answer(&to_device)?;
        let directory: Look = self.directory.answer(&to_directory)?;
        let streams = [self.client.answer("report")?, self.server.answer("report")?];
        Ok(Glance { up: (device.sent, directory.seen), down: (directory.sent, device.seen), streams })
    }

    fn measure_gap(&mut self, moment: u64) -> Result<Option<u64>, SceneError> {
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

    fn finish(mut self: Box<Self>) -> Result<Account, SceneError> {
        let seconds = self.started.elapsed().as_secs_f64();
        let from_device: Stopped = self.device.ask("stop")?;
        let from_directory: Stopped = self.directory.ask("stop")?;
        let up = settle(&mut self.directory, from_device.sent)?;
        let down = settle(&mut self.device, from_directory.sent)?;

        self.client.ask::<Stream>("stop")?;
        self.server.ask::<Stream>("stop")?;
        let client: Stream = self.client.ask("finish")?;
        let server: Stream = self.server.ask("finish")?;

        let after = self.stage.drops()?;
        let mut kernel_drops = Counters::new();
        for ((namespace, before), (_, after)) in self.before.iter().zip(&after) {
            let grown = drops::growth(before, after);
            kernel_drops.extend(grown.into_iter().map(|(name, count)| (format!("{namespace}: {name}"), count)));
        }
        Ok(Account {
            tcp_retransmitted: self.stage.retransmitted()?.saturating_sub(self.retransmitted),
            kernel_drops,
            seconds,
            gaps: std::mem::take(&mut self.gaps),
            unanswered: self.unanswered,
            ..Account::close([(from_device, up), (from_directory, down)], [client, server])
        })
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
