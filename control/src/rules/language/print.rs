//! Tree -> text that reads back as the same tree.

use super::selectors::{SELECTORS, Values};
use super::tree::{Comparison, Expression, Field, Quantifier, Relation, Test};
use super::values::protocol_name;
use std::fmt::{Display, Formatter, Result, Write as _};

impl Display for Expression {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let joined = |out: &mut Formatter<'_>, parts: &[Self], word: &str| {
            for (position, part) in parts.iter().enumerate() {
                if position > 0 {
                    write!(out, " {word} ")?;
                }
                match part {
                    Self::Test(_) | Self::Not(_) => write!(out, "{part}")?,
                    part => write!(out, "({part})")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All(parts) => joined(out, parts, "and"),
            Self::Any(parts) => joined(out, parts, "or"),
            Self::Xor(a, b) if matches!(**a, Self::Xor(..)) => write!(out, "{a} xor ({b})"),
            Self::Xor(a, b) => write!(out, "({a}) xor ({b})"),
            Self::Not(inner) if matches!(**inner, Self::Test(_) | Self::Not(_)) => write!(out, "not {inner}"),
            Self::Not(inner) => write!(out, "not ({inner})"),
            Self::Test(test) => write!(out, "{test}"),
        }
    }
}

impl Display for Test {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let key = match &self.field {
            Field::Attribute(Some(key)) => Some(key),
            _ => None,
        };
        let field = if key.is_some() { &Field::Attribute(None) } else { &self.field };
        let selector = SELECTORS.iter().find(|selector| selector.field == *field);
        let (name, values) = selector.map_or(("", Values::One), |selector| (selector.name, selector.values));
        let mut path = name.to_owned();
        match key {
            Some(key) => write!(path, "[{}]", quoted(key))?,
            None if values == Values::Many => path.push_str("[*]"),
            None => {}
        }
        let quantifier = if self.quantifier == Quantifier::All { "all" } else { "any" };
        let not = if self.negated { "not " } else { "" };
        let asked = match &self.comparison {
            Comparison::List { id, .. } => format!("{path} {not}in ${id}"),
            // What no value satisfies (`net.dst.port < 0`) has no members to name.
            Comparison::Ports(ranges) if ranges.is_empty() => format!("{path} < 0"),
            Comparison::Addresses(set) if set.is_empty() => format!("{path} < 0.0.0.0"),
            Comparison::Contains(text) => format!("{path} contains {}", quoted(text)),
            Comparison::Matches(pattern) => format!("{path} matches {}", raw(&pattern.text)),
            Comparison::Version(relation, versions) if *relation != Relation::Equal => {
                let sign = match relation {
                    Relation::Less => "<",
                    Relation::LessOrEqual => "<=",
                    Relation::Greater => ">",
                    _ => ">=",
                };
                format!("{path} {sign} {}", versions.iter().map(|v| quoted(&v.to_string())).collect::<String>())
            }
            comparison => format!("{path} {not}in {{{}}}", members(comparison).join(" ")),
        };
        if values == Values::Many { write!(out, "{quantifier}({asked})") } else { out.write_str(&asked) }
    }
}

fn members(comparison: &Comparison) -> Vec<String> {
    match comparison {
        Comparison::Addresses(set) => set.ranges().map(|(from, to)| format!("{from}..{to}")).collect(),
        Comparison::Ports(ranges) => ranges.iter().map(|(from, to)| format!("{from}..{to}")).collect(),
        Comparison::Protocols(numbers) => numbers.iter().filter_map(|n| protocol_name(*n)).map(quoted).collect(),
        Comparison::Detected(kinds) => kinds.iter().map(|kind| quoted(kind.name())).collect(),
        Comparison::Texts(texts) => texts.iter().map(|text| quoted(text)).collect(),
        Comparison::Version(_, versions) => versions.iter().map(|v| quoted(&v.to_string())).collect(),
        Comparison::Contains(_) | Comparison::Matches(_) | Comparison::List { .. } => Vec::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// In enough `#`s that no quote inside ends it.
fn raw(text: &str) -> String {
    let longest = text.split('"').skip(1).map(|rest| rest.len() - rest.trim_start_matches('#').len()).max();
    let hashes = "#".repeat(longest.map_or(0, |longest| longest + 1));
    format!("r{hashes}\"{text}\"{hashes}")
}
