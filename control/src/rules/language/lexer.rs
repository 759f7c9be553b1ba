//! Text -> tokens, each with its column.

use super::RuleError;

/// Longest expression taken, in bytes: some 3,000 prefixes.
pub(super) const MAX_LENGTH: usize = 64 * 1024;
/// Longest piece of an expression that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A selector, a keyword, or a bare value.
    Word(String),
    /// A quoted string as written, its backslashes not yet read.
    Text(String),
    /// A raw string: every character is itself.
    Raw(String),
    /// `$id`
    List(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

impl Token {
    /// For messages: what stands there.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", shortened(word)),
            Self::Text(text) | Self::Raw(text) => format!("\"{}\"", shortened(text)),
            Self::List(id) => format!("`${}`", shortened(id)),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The beginning of what may be long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A sign comes before those that it begins with.
const SIGNS: [&str; 17] = ["==", "!=", ">=", "<=", "&&", "||", "^^", "{", "}", "(", ")", ">", "<", "!", "[", "]", "~"];

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '/' | '-' | '*')
}

/// Splits an expression; the last token is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, RuleError> {
    if text.len() > MAX_LENGTH {
        return Err(RuleError::TooLong { got: text.len(), limit: MAX_LENGTH });
    }
    let mut out = Vec::new();
    let (mut rest, mut column) = (text, 1);
    loop {
        let trimmed = rest.trim_start();
        column += rest[..rest.len() - trimmed.len()].chars().count();
        rest = trimmed;
        if rest.is_empty() {
            out.push((column, Token::End));
            return Ok(out);
        }
        let (token, length) = next(rest, column)?;
        out.push((column, token));
        column += rest[..length].chars().count();
        rest = &rest[length..];
    }
}

/// The token at the start of `rest` and its length in bytes.
fn next(rest: &str, column: usize) -> Result<(Token, usize), RuleError> {
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    if let Some(body) = rest.strip_prefix('"') {
        return quoted(body, column);
    }
    if let Some(opened) = rest.strip_prefix('r').map(|body| body.trim_start_matches('#')) {
        let hashes = rest.len() - 1 - opened.len();
        if let Some(body) = opened.strip_prefix('"') {
            return raw(body, hashes, column);
        }
    }
    let (list, body) = rest.strip_prefix('$').map_or((false, rest), |body| (true, body));
    let length = body.find(|c| !in_word(c)).unwrap_or(body.len());
    match (list, length) {
        (true, 1..) => Ok((Token::List(body[..length].to_owned()), length + 1)),
        (false, 1..) => Ok((Token::Word(body[..length].to_owned()), length)),
        _ => Err(RuleError::Expected {
            column,
            expected: if list { "a list's id after `$`" } else { "a selector, a value or an operator" }.to_owned(),
            got: rest.chars().nth(usize::from(list)).map_or_else(|| "the end".to_owned(), |c| format!("`{c}`")),
        }),
    }
}

fn quoted(body: &str, column: usize) -> Result<(Token, usize), RuleError> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Ok((Token::Text(body[..at].to_owned()), at + 2)),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Err(unclosed("a closing `\"`".to_owned(), column))
}

fn raw(body: &str, hashes: usize, column: usize) -> Result<(Token, usize), RuleError> {
    let end = format!("\"{}", "#".repeat(hashes));
    match body.find(&end) {
        Some(at) => Ok((Token::Raw(body[..at].to_owned()), "r\"".len() + hashes + at + end.len())),
        None => Err(unclosed(format!("a closing `{}`", shortened(&end)), column)),
    }
}

fn unclosed(expected: String, column: usize) -> RuleError {
    RuleError::Expected { column, expected, got: "the end".to_owned() }
}
