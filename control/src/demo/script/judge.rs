//! From accounts to claims.

use super::super::verdict::Verdict;
use crate::world::{
    host::{gaps::percentile, ledger::Tally},
    scene::Account,
};
use serde_json::json;

/// The load's account: nothing lost, doubled, out of order, changed or broken off, by anyone.
pub(super) fn load(verdict: &mut Verdict, account: &Account) {
    let both = account.both();
    verdict.number("udp_sent", both.sent);
    verdict.number("udp_lost", both.lost);
    verdict.number("udp_duplicated", both.duplicated);
    verdict.number("udp_reordered", both.reordered);
    verdict.number("udp_corrupted", both.corrupted);
    verdict.number("udp_up", json!(account.up));
    verdict.number("udp_down", json!(account.down));
    verdict.number("udp_errors", account.errors + account.refused);
    verdict.number("udp_forgiven", account.forgiven);
    verdict.number("tcp_bytes", account.tcp_bytes);
    verdict.number("tcp_bytes_mismatched", account.tcp_mismatched);
    verdict.number("tcp_resets", account.tcp_resets);
    verdict.number("tcp_retransmitted", account.tcp_retransmitted);
    verdict.number("kernel_drops", json!(account.kernel_drops));
    verdict.number("load_seconds", account.seconds);

    let ways = |count: fn(&Tally) -> u64| format!("{} up, {} down", count(&account.up), count(&account.down));
    verdict.check("UDP packets sent", ways(|tally| tally.sent), account.up.sent > 0 && account.down.sent > 0);
    verdict.check("UDP packets lost: 0", ways(|tally| tally.lost), both.lost == 0);
    verdict.check("UDP packets duplicated: 0", ways(|tally| tally.duplicated), both.duplicated == 0);
    verdict.check("UDP packets reordered: 0", ways(|tally| tally.reordered), both.reordered == 0);
    verdict.check("UDP packets changed: 0", ways(|tally| tally.corrupted), both.corrupted == 0);
    let refused = account.errors + account.refused;
    verdict.check("UDP answered with an error: 0", refused, refused == 0);
    let volume = format!("{} of {} MB", account.tcp_mismatched, account.tcp_bytes / 1_000_000);
    verdict.check("TCP bytes missing or changed: 0", volume, account.tcp_mismatched == 0 && account.tcp_bytes > 0);
    verdict.check("TCP connections reset: 0", account.tcp_resets, account.tcp_resets == 0);
    let drops: Vec<String> = account.kernel_drops.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let drops = if drops.is_empty() { "none".to_owned() } else { drops.join(", ") };
    verdict.check("packets dropped by the kernel: none", drops, account.kernel_drops.is_empty());
}

/// Percentiles of `gaps` (nanoseconds) as microseconds under `name`, and the largest.
pub(super) fn gaps(verdict: &mut Verdict, name: &str, gaps: &[u64]) -> u64 {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    for (suffix, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        verdict.number(&format!("{name}_{suffix}"), percentile(&sorted, share) / 1000);
    }
    sorted.last().copied().unwrap_or(0) / 1000
}
