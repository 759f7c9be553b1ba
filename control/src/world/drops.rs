//! The kernel's own drop counters: a packet lost there is lost, and the run says where.

use std::collections::BTreeMap;

/// Counters by name.
pub(crate) type Counters = BTreeMap<String, u64>;

/// Reads the drop counters of the calling thread's network namespace.
pub(crate) fn read() -> Counters {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut counters = interfaces(&text("dev"));
    counters.extend(protocols(&text("snmp")));
    counters
}

/// What grew from `before` to `after`. An interface that is new counts from zero.
pub(crate) fn growth(before: &Counters, after: &Counters) -> Counters {
    let grown = after.iter().map(|(name, now)| {
        let then = before.get(name).copied().unwrap_or(0);
        (name.clone(), now.saturating_sub(then))
    });
    grown.filter(|(_, growth)| *growth > 0).collect()
}

/// Errors and drops of each interface, out of `/proc/net/dev`.
fn interfaces(text: &str) -> Counters {
    // After the name: bytes packets errs drop fifo frame compressed multicast, then the same for sending with
    // colls and carrier.
    const COLUMNS: [(usize, &str); 8] = [
        (2, "receive errors"),
        (3, "receive drops"),
        (4, "receive overruns"),
        (5, "receive frame errors"),
        (10, "send errors"),
        (11, "send drops"),
        (12, "send overruns"),
        (14, "carrier errors"),
    ];
    let mut counters = Counters::new();
    for line in text.lines() {
        let Some((interface, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        for (column, what) in COLUMNS {
            if let Some(count) = numbers.get(column) {
                counters.insert(format!("{} {what}", interface.trim()), *count);
            }
        }
    }
    counters
}

/// Discards and buffer overruns, out of `/proc/net/snmp`.
fn protocols(text: &str) -> Counters {
    const NAMES: [(&str, &[&str]); 3] = [
        ("Ip", &["InDiscards", "OutDiscards", "InHdrErrors", "ReasmFails", "FragFails"]),
        ("Udp", &["InErrors", "RcvbufErrors", "SndbufErrors", "InCsumErrors", "MemErrors"]),
        ("Tcp", &["InErrs", "InCsumErrors"]),
    ];
    let mut counters = Counters::new();
    for (heads, values) in rows(text) {
        let Some((protocol, wanted)) = NAMES.iter().find(|(protocol, _)| *protocol == heads[0].trim_end_matches(':'))
        else {
            continue;
        };
        for (name, value) in heads.iter().zip(&values).skip(1) {
            if let (true, Ok(value)) = (wanted.contains(name), value.parse()) {
                counters.insert(format!("{protocol} {name}"), value);
            }
        }
    }
    counters
}

/// TCP segments sent again, out of `/proc/net/snmp`: not a drop, and worth knowing.
pub(crate) fn retransmitted() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let tcp = rows(&text).into_iter().find(|(heads, _)| heads[0] == "Tcp:");
    tcp.and_then(|(heads, values)| values.get(heads.iter().position(|name| *name == "RetransSegs")?)?.parse().ok())
        .unwrap_or(0)
}

/// Pairs of a line of names and a line of values.
fn rows(text: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    lines
        .chunks_exact(2)
        .filter(|pair| !pair[0].is_empty() && pair[0].len() == pair[1].len())
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
 under0: 1256724  1893    0    7    0     0          0         0  1256700    1893    0    3    0     0       0          0
";

    #[test]
    fn interface_drops_have_names() {
        let counters = interfaces(DEV);
        assert_eq!(counters["under0 receive drops"], 7);
        assert_eq!(counters["under0 send drops"], 3);
        assert_eq!(counters["lo send drops"], 0);
        let grown = growth(&interfaces(&DEV.replace("   7", "   5")), &counters);
        assert_eq!(grown, Counters::from([("under0 receive drops".to_owned(), 2)]));
    }

    #[test]
    fn protocol_drops_have_names() {
        let counters = protocols(
            "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 20 1 4 30 4\nUdpLite: InErrors\nUdpLite: 9\n",
        );
        assert_eq!(counters, Counters::from([("Udp InErrors".to_owned(), 4), ("Udp RcvbufErrors".to_owned(), 4)]));
    }
}
