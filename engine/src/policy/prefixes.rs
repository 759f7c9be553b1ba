//! Prefixes of one IP version with the rules that name them: longest match and all that enclose it.

use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::Range;

/// First and last address of a prefix.
pub(super) type Span = (u128, u128);

/// Distinct prefixes, sorted so that an enclosing one comes before those inside it.
#[derive(Debug)]
pub(super) struct Prefixes {
    nodes: Vec<Node>,
    /// The rules of all nodes, one after the other.
    rules: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    span: Span,
    /// The smallest prefix around this one.
    parent: Option<u32>,
    /// Its place in `Prefixes::rules`; in rule order.
    rules: Range<u32>,
}

impl Prefixes {
    /// Builds from (prefix, rule number).
    pub(super) fn new(mut entries: Vec<(Span, u32)>) -> Self {
        // By first address, the longer span first: a prefix before those inside it.
        entries.sort_unstable_by_key(|&((first, last), rule)| (first, std::cmp::Reverse(last), rule));
        entries.dedup();
        let mut nodes: Vec<Node> = Vec::new();
        let mut rules = Vec::with_capacity(entries.len());
        for (span, rule) in entries {
            let at = rules.len() as u32;
            rules.push(rule);
            if let Some(node) = nodes.last_mut().filter(|node| node.span == span) {
                node.rules.end = at + 1;
                continue;
            }
            let mut parent = nodes.len().checked_sub(1);
            while let Some(candidate) = parent.filter(|&candidate| nodes[candidate].span.1 < span.0) {
                parent = nodes[candidate].parent.map(|parent| parent as usize);
            }
            nodes.push(Node { span, parent: parent.map(|parent| parent as u32), rules: at..at + 1 });
        }
        Self { nodes, rules }
    }

    /// The rules of each prefix around `address`, the longest prefix first.
    pub(super) fn enclosing(&self, address: u128) -> impl Iterator<Item = &[u32]> {
        // Prefixes nest or are apart. The last one that starts at or before the address holds it, or one around it
        // does, or none.
        let behind = self.nodes.partition_point(|node| node.span.0 <= address);
        let mut next = behind.checked_sub(1);
        std::iter::from_fn(move || {
            let node = self.nodes.get(next?)?;
            next = node.parent.map(|parent| parent as usize);
            Some(node)
        })
        .filter(move |node| address <= node.span.1)
        .map(|node| &self.rules[node.rules.start as usize..node.rules.end as usize])
    }
}

/// The address as a number, and whether it is of IPv4. IPv4-mapped IPv6 is IPv4.
pub(super) fn canonical(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (false, v6.to_bits()),
    }
}

/// The addresses of a prefix, and whether they are of IPv4.
pub(super) fn range(prefix: &IpNet) -> (bool, Span) {
    let mapped = matches!(prefix, IpNet::V6(v6) if v6.prefix_len() >= 96);
    match (prefix.network(), prefix.broadcast()) {
        (IpAddr::V6(first), IpAddr::V6(last)) if !mapped => (false, (first.to_bits(), last.to_bits())),
        (first, last) => {
            let (is_v4, first) = canonical(first);
            (is_v4, (first, canonical(last).1))
        }
    }
}
