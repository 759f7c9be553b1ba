//! URI templates of an IP proxy (RFC 9484 section 3, RFC 6570 up to level 3).

use super::Target;
use std::fmt::Write as _;

/// The variables that mean something.
const TARGET: &str = "target";
const IPPROTO: &str = "ipproto";
/// Most bytes of a template.
const MAX_LEN: usize = 4096;

/// A valid template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    authority: String,
    /// What follows the authority.
    pub(super) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    /// `{a,b}`.
    Simple(Vec<String>),
    /// `{?a,b}` or `{&a,b}`, with its operator.
    Form(char, Vec<String>),
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// No `https://`.
    #[error("the template must start with https://")]
    Scheme,
    /// No host, or a variable in it.
    #[error("the template needs a host, without variables or user information")]
    Authority,
    /// No path.
    #[error("the template needs a path that starts with /")]
    Path,
    /// A character that does not belong into a URI template.
    #[error("byte {got:#04x} in the template; only 0x21 to 0x7e may stand there")]
    Character {
        /// The byte.
        got: u8,
    },
    /// An expression that is not closed, not opened or empty.
    #[error("an expression of the template is empty, not closed or not opened")]
    Braces,
    /// An operator or modifier beyond what IP proxying allows.
    #[error("`{got}` in the template: only {{name}}, {{?name}} and {{&name}} may be used")]
    Operator {
        /// What stood there.
        got: char,
    },
    /// A variable's name that is none.
    #[error("`{got}` is no name of a variable")]
    Variable {
        /// What stood there.
        got: String,
    },
    /// Fragments are not sent.
    #[error("a template must not have a fragment")]
    Fragment,
    /// Longer than any use.
    #[error("the template is longer than {MAX_LEN} bytes")]
    Length,
    /// A request for such a path cannot be told apart.
    #[error("the text behind a variable of the template could be part of its value")]
    Ambiguous,
}

impl UriTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// It is invalid: refuse the configuration and send nothing.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LEN {
            return Err(TemplateError::Length);
        }
        if let Some(got) = text.bytes().find(|byte| !(0x21..=0x7e).contains(byte)) {
            return Err(TemplateError::Character { got });
        }
        let (scheme, rest) = text.split_at_checked(8).ok_or(TemplateError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("https://") {
            return Err(TemplateError::Scheme);
        }
        let end = rest.find(['/', '?', '#']).ok_or(TemplateError::Path)?;
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || authority.starts_with(':') || authority.contains(['{', '}', '@']) {
            return Err(TemplateError::Authority);
        }
        if !path.starts_with('/') {
            return Err(TemplateError::Path);
        }
        Ok(Self { authority: authority.to_owned(), parts: parts(path)? })
    }

    /// The well-known template of a host (and port, if any).
    ///
    /// # Errors
    /// It is no authority.
    pub fn well_known(authority: &str) -> Result<Self, TemplateError> {
        Self::parse(&format!("https://{authority}/.well-known/masque/ip/{{target}}/{{ipproto}}/"))
    }

    /// Host and port as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path and query of a request.
    #[must_use]
    pub fn expand(&self, target: &Target, protocol: Option<u8>) -> String {
        let (target, protocol) = (target.to_string(), protocol.map_or("*".to_owned(), |number| number.to_string()));
        let value = |name: &str| match name {
            TARGET => Some(target.as_str()),
            IPPROTO => Some(protocol.as_str()),
            _ => None,
        };
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Simple(names) => {
                    for (n, text) in names.iter().filter_map(|name| value(name)).enumerate() {
                        out.push_str(if n == 0 { "" } else { "," });
                        encode(text, &mut out);
                    }
                }
                Part::Form(operator, names) => {
                    let known = names.iter().filter_map(|name| Some((name, value(name)?)));
                    for (n, (name, text)) in known.enumerate() {
                        out.push(if n == 0 { *operator } else { '&' });
                        out.push_str(name);
                        out.push('=');
                        encode(text, &mut out);
                    }
                }
            }
        }
        out
    }
}

fn parts(mut text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let (literal, rest) = text.split_at(text.find('{').unwrap_or(text.len()));
        if literal.contains('}') {
            return Err(TemplateError::Braces);
        }
        if literal.contains('#') {
            return Err(TemplateError::Fragment);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        let Some(rest) = rest.strip_prefix('{') else { break };
        let (expression, rest) = rest.split_once('}').ok_or(TemplateError::Braces)?;
        parts.push(expression_part(expression)?);
        text = rest;
    }
    Ok(parts)
}

fn expression_part(expression: &str) -> Result<Part, TemplateError> {
    let operator = expression.chars().next().ok_or(TemplateError::Braces)?;
    let names = match operator {
        '?' | '&' => &expression[1..],
        // Forbidden by RFC 9484, and RFC 6570's reserved ones.
        '+' | '#' | '.' | '/' | ';' | '=' | ',' | '!' | '@' | '|' => {
            return Err(TemplateError::Operator { got: operator });
        }
        _ => expression,
    };
    let names = names.split(',').map(variable).collect::<Result<Vec<_>, _>>()?;
    Ok(if matches!(operator, '?' | '&') { Part::Form(operator, names) } else { Part::Simple(names) })
}

fn variable(name: &str) -> Result<String, TemplateError> {
    // Level 4's modifiers.
    if let Some(got) = name.chars().find(|c| matches!(c, '*' | ':')) {
        return Err(TemplateError::Operator { got });
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if name.is_empty() || !name.bytes().all(valid) {
        return Err(TemplateError::Variable { got: name.to_owned() });
    }
    Ok(name.to_owned())
}

/// Percent-encodes all but unreserved characters, and `*` alone, which the RFC's own examples leave as it is.
fn encode(text: &str, out: &mut String) {
    if text == "*" {
        out.push('*');
        return;
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
