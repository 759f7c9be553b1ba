//! What a namespace's kernel has counted.

use crate::netns::Namespace;
use std::collections::HashMap;

/// The kernel's network counters, by names as `nstat` gives them: `TcpInSegs`, `TcpExtTCPOFOQueue`, `Udp6InErrors`.
#[derive(Clone, Debug)]
pub struct Counters(HashMap<String, u64>);

impl Counters {
    /// Those of `namespace` now.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        let mut all = HashMap::new();
        let text = namespace.run("cat", &["/proc/net/snmp", "/proc/net/netstat"]);
        let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).collect();
        // Two lines each: names, then values.
        for pair in lines.chunks_exact(2) {
            let (names, values) = (pair[0].1.split_whitespace(), pair[1].1.split_whitespace());
            all.extend(
                names
                    .zip(values)
                    .filter_map(|(name, value)| Some((format!("{}{name}", pair[0].0), value.parse().ok()?))),
            );
        }
        for line in namespace.run("cat", &["/proc/net/snmp6"]).lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
                all.insert(name.to_owned(), value);
            }
        }
        Self(all)
    }

    /// One of them.
    ///
    /// # Panics
    /// When this kernel has none of that name: a misspelt counter is never zero.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("this kernel counts no {name}"))
    }

    /// Fails when a packet came with a wrong checksum of IPv4, TCP, UDP, ICMP or ICMPv6.
    ///
    /// # Panics
    /// See above.
    pub fn assert_checksums(&self, whose: &str) {
        let wrong: Vec<_> = self.0.iter().filter(|(name, count)| name.contains("CsumErr") && **count > 0).collect();
        assert!(wrong.is_empty(), "{whose}: {wrong:?}");
        // The kernel tells of IPv4 headers only among others.
        assert_eq!(self.get("IpInHdrErrors"), 0, "{whose}: broken IPv4 headers");
        assert_eq!(self.get("Ip6InHdrErrors"), 0, "{whose}: broken IPv6 headers");
    }
}
