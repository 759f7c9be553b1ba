//! Value words -> typed comparisons.

use super::RuleError;
use super::lexer::{Token, shortened};
use super::selectors::Selector;
use super::tree::{Comparison, Field, Pattern, Relation};
use crate::rules::addresses::Addresses;
use crate::rules::lists::ListKind;
use regex::{Regex, RegexBuilder};
use semver::Version;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use vestibule_engine::packet::header::{ICMP, ICMPV6, TCP, UDP};
use vestibule_engine::policy::Detected;

/// Bytes that one regular expression may compile to: some 10,000 states. Its matching is linear in the text.
const MAX_PATTERN: usize = 512 * 1024;

/// An operator that compares a field with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `==`, `in`, and the orders.
    Is(Relation),
    Matches,
    Contains,
}

/// The values of a comparison, each with its column.
pub(super) type Values = [(usize, Token)];

pub(super) fn wanted(field: &Field) -> &'static str {
    match field {
        Field::Destination | Field::Source => {
            "an address (`10.0.0.1`), a prefix (`10.0.0.0/8`) or a range (`10.0.0.1..10.0.0.9`)"
        }
        Field::DestinationPort | Field::SourcePort => "a port (0 to 65535) or a range (`8000..8100`)",
        Field::Protocol => "\"tcp\", \"udp\" or \"icmp\"",
        Field::Detected => "a protocol that is detected here (\"http\", \"http2\", \"tls\", \"ssh\", ...) in quotes",
        Field::Email | Field::GroupEmail => "a mail address in quotes",
        Field::OsVersion => "a version of three numbers in quotes (\"10.0.19045\")",
        _ => "text in quotes",
    }
}

/// A comparison of a field with values.
pub(super) fn comparison(
    selector: &Selector,
    field: &Field,
    (column, operator): (usize, Operator),
    values: &Values,
) -> Result<Comparison, RuleError> {
    let refused = |why: &str| {
        let what = format!("this operator with `{}`", selector.name);
        Err(RuleError::Unsupported { column, what, why: why.to_owned() })
    };
    let relation = match operator {
        Operator::Is(relation) => relation,
        Operator::Matches | Operator::Contains if !textual(field) => {
            return refused("it compares text; use `==` or `in`");
        }
        Operator::Matches | Operator::Contains if *field == Field::SniDomains => {
            return refused("use it with `net.sni.host`");
        }
        Operator::Matches => return pattern(field, values).map(Comparison::Matches),
        Operator::Contains => {
            let text = each(field, values, |token| text(token, false))?.pop().unwrap_or_default();
            return Ok(Comparison::Contains(folded(field, text)));
        }
    };
    match field {
        Field::Destination | Field::Source => {
            let mut all = Addresses::default();
            for part in each(field, values, |token| bare(token).and_then(|word| ordered_addresses(relation, &word)))? {
                all.extend(&part);
            }
            return Ok(Comparison::Addresses(Arc::new(all.normalised())));
        }
        Field::DestinationPort | Field::SourcePort => {
            let read = |token: &Token| bare(token).and_then(|word| port(&word)).map(|range| ordered(relation, range));
            return Ok(Comparison::Ports(each(field, values, read)?.into_iter().flatten().collect()));
        }
        Field::OsVersion => {
            let read = |token: &Token| text(token, false).and_then(|text| Version::parse(&text).ok());
            return Ok(Comparison::Version(relation, each(field, values, read)?));
        }
        _ if relation != Relation::Equal => return refused("it compares numbers, addresses and versions"),
        Field::Protocol => {
            let read = |token: &Token| text(token, false).and_then(|text| protocol(&text));
            return Ok(Comparison::Protocols(each(field, values, read)?.concat()));
        }
        Field::Detected => {
            let read = |token: &Token| text(token, false).and_then(|text| Detected::from_name(&text));
            return Ok(Comparison::Detected(each(field, values, read)?));
        }
        _ => {}
    }
    let read = |token: &Token| text(token, false).filter(|text| plausible(field, text)).map(|text| folded(field, text));
    Ok(Comparison::Texts(each(field, values, read)?))
}

fn each<T>(field: &Field, values: &Values, read: impl Fn(&Token) -> Option<T>) -> Result<Vec<T>, RuleError> {
    let one = |(column, token): &(usize, Token)| {
        read(token).ok_or_else(|| RuleError::Expected {
            column: *column,
            expected: wanted(field).to_owned(),
            got: token.describe(),
        })
    };
    values.iter().map(one).collect()
}

/// Whether the field's values are text, whose parts can be asked for.
fn textual(field: &Field) -> bool {
    !matches!(
        field,
        Field::Destination
            | Field::Source
            | Field::DestinationPort
            | Field::SourcePort
            | Field::Protocol
            | Field::Detected
            | Field::OsVersion
    )
}

/// Whether the field's values are compared without regard to case.
pub(in crate::rules) fn folds(field: &Field) -> bool {
    !matches!(field, Field::Name | Field::GroupId | Field::GroupName | Field::Attribute(_) | Field::Network)
}

/// As it is compared.
pub(in crate::rules) fn folded(field: &Field, text: String) -> String {
    if folds(field) { text.to_lowercase() } else { text }
}

/// Catches what was surely meant otherwise.
fn plausible(field: &Field, text: &str) -> bool {
    match field {
        // A mail address, or `plain:KEY` for a WireGuard peer by configuration.
        Field::Email | Field::GroupEmail => match text.strip_prefix("plain:") {
            Some(key) => !key.is_empty(),
            None => text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty()),
        },
        _ => true,
    }
}

/// An unquoted value; quoting it changes nothing.
fn bare(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.clone()),
        _ => text(token, false),
    }
}

/// A string's value. In a regular expression a backslash belongs to the expression, unless it is there for a `"`.
fn text(token: &Token, pattern: bool) -> Option<String> {
    let written = match token {
        Token::Raw(text) => return Some(text.clone()),
        Token::Text(written) => written,
        _ => return None,
    };
    let mut out = String::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next()? {
            '"' => out.push('"'),
            other if pattern => out.extend(['\\', other]),
            '\\' => out.push('\\'),
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                let code = u8::from_str_radix(&digits, 16).ok().filter(|code| digits.len() == 2 && code.is_ascii())?;
                out.push(char::from(code));
            }
            _ => return None,
        }
    }
    Some(out)
}

/// The name in `field["name"]`.
pub(super) fn attribute(token: &Token) -> Option<String> {
    text(token, false)
}

fn pattern(field: &Field, values: &Values) -> Result<Pattern, RuleError> {
    let Some((column, token)) = values.first() else { return Err(nothing(1)) };
    let wrong = |expected: String| RuleError::Expected { column: *column, expected, got: token.describe() };
    let Some(text) = text(token, true) else { return Err(wrong("a regular expression in quotes".to_owned())) };
    let built = regex(&text, folds(field));
    let regex = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => wrong("a smaller regular expression".to_owned()),
        error => {
            // The last line says what; those before it draw the expression.
            let said = error.to_string();
            wrong(format!("a regular expression ({})", shortened(said.lines().last().unwrap_or_default())))
        }
    })?;
    Ok(Pattern { text, regex: Arc::new(regex) })
}

/// A regular expression within the limit.
pub(in crate::rules) fn regex(text: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(MAX_PATTERN).case_insensitive(ignore_case).build()
}

/// The text of a regular expression that finds `part`, which is in lower case, in names in lower case.
pub(in crate::rules) fn literal(part: &str) -> String {
    regex::escape(part)
}

pub(super) fn nothing(column: usize) -> RuleError {
    RuleError::Expected { column, expected: "at least one value in the set".to_owned(), got: "`{}`".to_owned() }
}

fn ordered(relation: Relation, (from, to): (u16, u16)) -> Option<(u16, u16)> {
    match relation {
        Relation::Equal => Some((from, to)),
        Relation::Less => from.checked_sub(1).map(|last| (0, last)),
        Relation::LessOrEqual => Some((0, to)),
        Relation::Greater => to.checked_add(1).map(|first| (first, u16::MAX)),
        Relation::GreaterOrEqual => Some((from, u16::MAX)),
    }
}

/// The addresses of its version that stand so to a value.
fn ordered_addresses(relation: Relation, word: &str) -> Option<Addresses> {
    let value = Addresses::parse(word)?;
    if relation == Relation::Equal {
        return Some(value);
    }
    let (from, to) = (value.first()?, value.last()?);
    let below = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    };
    let above = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    };
    let (lowest, highest): (IpAddr, IpAddr) = match from {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()),
    };
    let range = match relation {
        Relation::Equal => Some((from, to)),
        Relation::Less => below(from).map(|last| (lowest, last)),
        Relation::LessOrEqual => Some((lowest, to)),
        Relation::Greater => above(to).map(|first| (first, highest)),
        Relation::GreaterOrEqual => Some((from, highest)),
    };
    Some(range.map(|(from, to)| Addresses::range(from, to)).unwrap_or_default())
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

/// The lists whose items a field's values are compared with.
pub(in crate::rules) fn list_type(field: &Field) -> Option<ListKind> {
    match field {
        Field::Destination | Field::Source => Some(ListKind::Ip),
        Field::SniHost | Field::SniDomains => Some(ListKind::Domain),
        Field::Email | Field::GroupEmail => Some(ListKind::Email),
        _ => None,
    }
}

/// The name that stands for a protocol number, and maybe for others with it.
pub(super) fn protocol_name(number: u8) -> Option<&'static str> {
    match number {
        TCP => Some("tcp"),
        UDP => Some("udp"),
        ICMP => Some("icmp"),
        _ => None,
    }
}
