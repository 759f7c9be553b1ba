//! The account of the packets: what was lost, and what of it a fault was allowed to lose.

use crate::world::{
    host::{ledger::Tally, udp::Sent},
    scene::{Account, Glance},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Losses that are told one by one.
const SHOWN: usize = 32;

/// One direction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Way {
    /// Packets given away by the sender.
    pub sent: u64,
    /// Packets that arrived, each counted once.
    pub received: u64,
    /// Packets that never arrived and should have.
    pub lost: u64,
    /// Packets that never arrived, and that a fault may lose.
    pub lost_by_faults: u64,
    /// Arrivals of packets that had arrived before.
    pub duplicated: u64,
    /// Arrivals after a later packet's.
    pub reordered: u64,
    /// Arrivals with other bytes than were sent.
    pub corrupted: u64,
    /// The first packets lost that should not have been: number of the first one, and how many.
    pub missing: Vec<(u64, u64)>,
    /// Numbers that faults may lose; what the open one ends with is not known yet.
    #[serde(skip)]
    allowed: Vec<Range<u64>>,
}

impl Way {
    fn see(&mut self, sent: u64, tally: &Tally) {
        let Tally { received, duplicated, reordered, corrupted, .. } = *tally;
        (self.sent, self.received) = (sent, received);
        (self.duplicated, self.reordered, self.corrupted) = (duplicated, reordered, corrupted);
    }

    /// Enters losses. Gives how many should not have been, and how many may.
    fn lose(&mut self, gaps: &[(u64, u64)]) -> (u64, u64) {
        let before = (self.lost, self.lost_by_faults);
        for &(from, count) in gaps {
            let end = from.saturating_add(count);
            let excused: u64 = self.allowed.iter().map(|allowed| overlap(allowed, &(from..end))).sum();
            self.lost_by_faults += excused;
            self.lost += count.saturating_sub(excused);
            if excused < count && self.missing.len() < SHOWN {
                self.missing.push((from, count));
            }
        }
        (self.lost - before.0, self.lost_by_faults - before.1)
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// Both directions, and what is not a matter of single packets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Books {
    /// Device to intranet.
    pub up: Way,
    /// Intranet to device.
    pub down: Way,
    /// Errors in place of packets, and sends that were refused, outside of faults.
    pub errors: u64,
    /// The same while a fault went on.
    pub errors_by_faults: u64,
    /// Packets that were not sent because the sender's own machine was late.
    pub forgiven: u64,
    /// TCP bytes that arrived, both ways.
    pub tcp_bytes: u64,
    /// TCP bytes that did not arrive, or arrived as others.
    pub tcp_mismatched: u64,
    /// TCP connections that broke.
    pub tcp_resets: u64,
    /// Segments that TCP sent again, where the kernel tells.
    pub tcp_retransmitted: u64,
    /// Drops that the kernel counted, by place.
    pub kernel_drops: std::collections::BTreeMap<String, u64>,
    #[serde(skip)]
    allowing: bool,
    /// Errors of both ends at the last glance.
    #[serde(skip)]
    errors_seen: u64,
}

/// What a glance added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub packets: u64,
    pub tcp_bytes: u64,
    pub lost: u64,
    pub lost_by_faults: u64,
}

impl News {
    pub(super) fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.tcp_bytes += other.tcp_bytes;
        self.lost += other.lost;
        self.lost_by_faults += other.lost_by_faults;
    }
}

impl Books {
    pub(super) fn enter(&mut self, glance: &Glance) -> News {
        let before = (self.up.received + self.down.received, self.tcp_bytes);
        let [(up, seen_up), (down, seen_down)] = [&glance.up, &glance.down];
        self.up.see(up.sent, &seen_up.tally);
        self.down.see(down.sent, &seen_down.tally);
        let (lost_up, excused_up) = self.up.lose(&seen_up.missing);
        let (lost_down, excused_down) = self.down.lose(&seen_down.missing);
        let refused = |sent: &Sent| sent.refused;
        self.count_errors(seen_up.errors + seen_down.errors + refused(up) + refused(down));
        self.forgiven = up.forgiven + down.forgiven;
        let streams = glance.streams;
        self.tcp_bytes = streams.iter().map(|stream| stream.received).sum();
        self.tcp_mismatched = streams.iter().map(|stream| stream.mismatched).sum();
        self.tcp_resets = streams.iter().map(|stream| stream.resets).sum();
        News {
            packets: (self.up.received + self.down.received).saturating_sub(before.0),
            tcp_bytes: self.tcp_bytes.saturating_sub(before.1),
            lost: lost_up + lost_down,
            lost_by_faults: excused_up + excused_down,
        }
    }

    /// From these numbers (up, down) on, packets may be lost.
    pub(super) fn allow_from(&mut self, [up, down]: [u64; 2]) {
        self.allowing = true;
        // One window may begin before the last one's margin ends: a loss is excused once.
        let begin = |way: &mut Way, from: u64| {
            let from = way.allowed.last().map_or(from, |last| from.max(last.end));
            way.allowed.push(from..u64::MAX);
        };
        begin(&mut self.up, up);
        begin(&mut self.down, down);
    }

    /// From these numbers on, they may not any more.
    pub(super) fn allow_until(&mut self, [up, down]: [u64; 2]) {
        self.allowing = false;
        for (way, end) in [(&mut self.up, up), (&mut self.down, down)] {
            if let Some(open) = way.allowed.last_mut().filter(|allowed| allowed.end == u64::MAX) {
                open.end = end.max(open.start);
            }
        }
    }

    /// Everything that could arrive has.
    pub(super) fn close(&mut self, account: &Account) -> News {
        let before = (self.up.received + self.down.received, self.tcp_bytes);
        self.up.see(account.up.sent, &account.up);
        self.down.see(account.down.sent, &account.down);
        let [missing_up, missing_down] = &account.missing;
        let (lost_up, excused_up) = self.up.lose(missing_up);
        let (lost_down, excused_down) = self.down.lose(missing_down);
        self.count_errors(account.errors + account.refused);
        self.forgiven = account.forgiven;
        self.tcp_bytes = account.tcp_bytes;
        self.tcp_mismatched = account.tcp_mismatched;
        self.tcp_resets = account.tcp_resets;
        self.tcp_retransmitted = account.tcp_retransmitted;
        self.kernel_drops.clone_from(&account.kernel_drops);
        News {
            packets: (self.up.received + self.down.received).saturating_sub(before.0),
            tcp_bytes: self.tcp_bytes.saturating_sub(before.1),
            lost: lost_up + lost_down,
            lost_by_faults: excused_up + excused_down,
        }
    }

    fn count_errors(&mut self, seen: u64) {
        let new = seen.saturating_sub(self.errors_seen);
        self.errors_seen = seen;
        *(if self.allowing { &mut self.errors_by_faults } else { &mut self.errors }) += new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::host::udp::Seen;

    fn glance(sent: u64, missing: &[(u64, u64)], errors: u64) -> Glance {
        let lost: u64 = missing.iter().map(|(_, count)| count).sum();
        let tally = Tally { received: sent - lost, ..Tally::default() };
        let seen = Seen { tally, missing: missing.to_vec(), errors, ..Seen::default() };
        let way = (Sent { sent, ..Sent::default() }, seen);
        Glance { up: way.clone(), down: way, ..Glance::default() }
    }

    #[test]
    fn without_a_fault_every_loss_is_one_and_is_told() {
        let mut books = Books::default();
        assert_eq!(books.enter(&glance(1000, &[], 0)), News { packets: 2000, ..News::default() });
        let news = books.enter(&glance(2000, &[(700, 2)], 1));
        assert_eq!((news.lost, news.lost_by_faults), (4, 0));
        assert_eq!((books.up.lost, &books.up.missing[..]), (2, &[(700, 2)][..]));
        assert_eq!((books.errors, books.errors_by_faults), (2, 0));
    }

    #[test]
    fn a_fault_excuses_what_was_sent_meanwhile_and_nothing_else() {
        let mut books = Books::default();
        books.enter(&glance(1000, &[], 0));
        books.allow_from([900, 900]);
        // Known only later, and not all of it is excused.
        books.enter(&glance(2000, &[(880, 30), (1500, 1)], 3));
        books.allow_until([2000, 2000]);
        books.enter(&glance(3000, &[(1990, 20), (2500, 1)], 3));
        assert_eq!((books.up.lost, books.up.lost_by_faults), (20 + 10 + 1, 10 + 1 + 10));
        assert_eq!(books.up.missing, [(880, 30), (1990, 20), (2500, 1)]);
        assert_eq!((books.errors, books.errors_by_faults), (0, 6));
    }

    #[test]
    fn windows_that_touch_excuse_a_loss_once() {
        let mut books = Books::default();
        books.allow_from([100, 100]);
        books.allow_until([200, 200]);
        books.allow_from([150, 150]);
        books.allow_until([300, 300]);
        books.enter(&glance(1000, &[(140, 100)], 0));
        assert_eq!((books.up.lost, books.up.lost_by_faults), (0, 100));
    }
}
