//! Value words -> typed comparisons.

use super::RuleError;
use super::expression::{Selector, Test};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::net::IpAddr;

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// For messages: what values a selector takes.
pub(super) fn wanted(selector: Selector) -> &'static str {
    match selector {
        Selector::Destination => "an address (`10.0.0.1`), a prefix (`10.0.0.0/8`) or a range (`10.0.0.1..10.0.0.9`)",
        Selector::Port => "a port (0 to 65535) or a range (`8000..8100`)",
        Selector::Protocol => "\"tcp\", \"udp\" or \"icmp\"",
        Selector::Email => "a mail address in quotes",
    }
}

/// A comparison of `selector` with the values at their columns.
pub(super) fn test(selector: Selector, values: &[(usize, String)]) -> Result<Test, RuleError> {
    fn each<T>(
        selector: Selector,
        values: &[(usize, String)],
        read: impl Fn(&str) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, RuleError> {
        let mut out = Vec::with_capacity(values.len());
        for (column, value) in values {
            out.extend(read(value).ok_or_else(|| RuleError::Expected {
                column: *column,
                expected: wanted(selector).to_owned(),
                got: format!("`{value}`"),
            })?);
        }
        Ok(out)
    }
    Ok(match selector {
        Selector::Destination => Test::Destination(each(selector, values, destination)?),
        Selector::Port => Test::Port(each(selector, values, |value| port(value).map(|range| vec![range]))?),
        Selector::Protocol => Test::Protocol(each(selector, values, protocol)?),
        Selector::Email => Test::Email(each(selector, values, |value| email(value).map(|mail| vec![mail]))?),
    })
}

/// An address, a prefix, or the prefixes that make up a range.
pub(super) fn destination(value: &str) -> Option<Vec<IpNet>> {
    if let Some((from, to)) = value.split_once("..") {
        return match (from.parse().ok()?, to.parse().ok()?) {
            (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => {
                Some(Ipv4Subnets::new(from, to, 0).map(IpNet::V4).collect())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) if from <= to => {
                Some(Ipv6Subnets::new(from, to, 0).map(IpNet::V6).collect())
            }
            _ => None,
        };
    }
    let net = value.parse::<IpNet>().ok().or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(vec![net.trunc()])
}

fn port(value: &str) -> Option<(u16, u16)> {
    let (from, to) = value.split_once("..").unwrap_or((value, value));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

fn protocol(value: &str) -> Option<Vec<u8>> {
    match value.to_ascii_lowercase().as_str() {
        "tcp" => Some(vec![TCP]),
        "udp" => Some(vec![UDP]),
        "icmp" => Some(vec![ICMP, ICMPV6]),
        _ => None,
    }
}

/// A mail address, or `plain:KEY` for a WireGuard peer by configuration.
fn email(value: &str) -> Option<String> {
    if value.strip_prefix("plain:").is_some_and(|key| !key.is_empty()) {
        return Some(value.to_lowercase());
    }
    let (name, domain) = value.split_once('@')?;
    (!name.is_empty() && !domain.is_empty()).then(|| value.to_lowercase())
}
