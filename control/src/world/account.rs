//! What a run of the load came to.

use super::{
    drops::Counters,
    host::{
        ledger::Tally,
        udp::{Report, Stopped},
    },
};
use serde::{Deserialize, Serialize};

/// What a run of the load came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
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
    /// What went wrong, in words.
    pub troubles: Vec<String>,
    /// What was lost (up, down) of the numbers that no glance had made final: from, count.
    pub missing: [Vec<(u64, u64)>; 2],
}

/// What one end of the TCP connection has seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stream {
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

impl Account {
    /// What the books of both ends come to: device to intranet, then back, what the sender did and the receiver saw; then
    /// the ends of the TCP connection, the device's first. Kernels and moments are left out.
    pub(crate) fn close([up, down]: [(Stopped, Report); 2], [client, server]: [Stream; 2]) -> Self {
        let mut troubles = Vec::new();
        for (way, (stopped, report)) in [("up", &up), ("down", &down)] {
            if !report.missing.is_empty() {
                let missing = report.first_missing();
                troubles.push(format!("UDP {way}: missing (number, count) {missing:?} of {}", stopped.sent));
            }
            let errors = report.error.iter().map(|error| format!("UDP {way}: instead of a packet: {error}"));
            let refusals = stopped.refusal.iter().map(|error| format!("UDP {way}: not sent: {error}"));
            troubles.extend(errors.chain(refusals));
        }
        let never_came = client.sent.abs_diff(server.received) + server.sent.abs_diff(client.received);
        Self {
            troubles,
            up: up.1.tally,
            down: down.1.tally,
            missing: [up.1.missing, down.1.missing],
            errors: up.1.errors + down.1.errors,
            refused: up.0.refused + down.0.refused,
            forgiven: up.0.forgiven + down.0.forgiven,
            tcp_bytes: client.received + server.received,
            tcp_mismatched: client.mismatched + server.mismatched + never_came,
            tcp_resets: client.resets + server.resets,
            ..Self::default()
        }
    }

    /// Adds another run to this one.
    pub(crate) fn add(&mut self, other: &Self) {
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
        self.troubles.extend_from_slice(&other.troubles);
        for (ours, theirs) in self.missing.iter_mut().zip(&other.missing) {
            ours.extend(theirs);
        }
    }

    /// Both directions together.
    pub(crate) fn both(&self) -> Tally {
        let mut both = self.up;
        both.add(&self.down);
        both
    }
}
