//! The other direction: what a request's path says, by the gateway's template.

use super::template::{Part, TemplateError, UriTemplate};
use super::{Target, TargetError};

impl UriTemplate {
    /// Checks that requests can be told apart by this template: no list of variables, no text behind a variable that
    /// could belong to it.
    ///
    /// # Errors
    /// They cannot; serve another template.
    pub fn check_for_gateway(&self) -> Result<(), TemplateError> {
        for pair in self.parts.windows(2) {
            let ambiguous = match pair {
                [Part::Simple(_), Part::Literal(next)] => next.bytes().next().is_some_and(is_value),
                [Part::Simple(_), Part::Simple(_)] | [Part::Form(..), Part::Literal(_) | Part::Simple(_)] => true,
                _ => false,
            };
            if ambiguous {
                return Err(TemplateError::Ambiguous);
            }
        }
        let lists = self.parts.iter().any(|part| matches!(part, Part::Simple(names) if names.len() > 1));
        if lists { Err(TemplateError::Ambiguous) } else { Ok(()) }
    }

    /// The variables of a request's path; `None`: it is not a path of this template.
    ///
    /// # Errors
    /// The path is the template's, and a variable is invalid.
    pub fn recognise(&self, path: &str) -> Option<Result<(Target, Option<u8>), TargetError>> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        let mut rest = path;
        for part in &self.parts {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Simple(names) => {
                    let value = take_value(&mut rest);
                    values.extend(names.first().map(|name| (name.as_str(), value)));
                }
                Part::Form(operator, names) => {
                    let mut next = *operator;
                    while let Some(form) = rest.strip_prefix(next) {
                        let (name, mut behind) = form.split_once('=')?;
                        let name = names.iter().find(|known| *known == name)?;
                        let value = take_value(&mut behind);
                        values.push((name, value));
                        rest = behind;
                        next = '&';
                    }
                }
            }
        }
        rest.is_empty().then(|| read(&values))
    }
}

fn read(values: &[(&str, &str)]) -> Result<(Target, Option<u8>), TargetError> {
    let (mut target, mut protocol) = (None, None);
    for (name, value) in values {
        match *name {
            "target" if target.is_none() => target = Some(Target::parse(&decode(value).ok_or(TargetError::Target)?)?),
            "ipproto" if protocol.is_none() => {
                protocol = Some(Target::parse_protocol(&decode(value).ok_or(TargetError::Protocol)?)?);
            }
            "target" => return Err(TargetError::Target),
            "ipproto" => return Err(TargetError::Protocol),
            _ => {}
        }
    }
    Ok((target.unwrap_or_default(), protocol.flatten()))
}

fn take_value<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.bytes().position(|byte| !is_value(byte)).unwrap_or(rest.len());
    let (value, tail) = rest.split_at(end);
    *rest = tail;
    value
}

/// What an encoded value consists of.
fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'*')
}

/// Undoes percent-encoding; only ASCII can be meant.
fn decode(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
        out.push(char::from(byte).is_ascii_graphic().then_some(char::from(byte))?);
    }
    Some(out)
}
