//! Text -> tokens, each with its column.

use super::RuleError;

/// Longest expression taken, in bytes: some 3,000 prefixes.
const MAX_LENGTH: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A selector, a keyword, or a bare value.
    Word(String),
    /// A quoted string, unescaped.
    Text(String),
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
            Self::Word(word) => format!("`{word}`"),
            Self::Text(text) => format!("\"{text}\""),
            Self::List(id) => format!("`${id}`"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

const SIGNS: [&str; 15] = ["==", "!=", ">=", "<=", "&&", "||", "{", "}", "(", ")", ">", "<", "!", "[", "]"];

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
        let blank: usize = rest.chars().take_while(|c| c.is_whitespace()).map(char::len_utf8).sum();
        column += rest[..blank].chars().count();
        rest = &rest[blank..];
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
    if rest.starts_with('"') {
        return text(rest, column);
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

fn text(rest: &str, column: usize) -> Result<(Token, usize), RuleError> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((Token::Text(value), at + 1)),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(RuleError::Expected { column, expected: "a closing `\"`".to_owned(), got: "the end".to_owned() })
}
