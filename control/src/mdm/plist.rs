//! XML to a tree of plist values that know their lines. Strict: a file that is not wholly understood is refused.

use super::{
    error::Problem,
    token::{Parser, Token},
};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A value and the line it begins on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    String(Zeroizing<String>),
    Integer(i64),
    Bool(bool),
    Dict(Vec<Entry>),
    Array(Vec<Node>),
    /// `real`, `date`, `data`: no key of ours takes one.
    Other(&'static str),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

impl Value {
    /// Its type, as the file spells it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a <string>",
            Self::Integer(_) => "an <integer>",
            Self::Bool(_) => "<true/> or <false/>",
            Self::Dict(_) => "a <dict>",
            Self::Array(_) => "an <array>",
            Self::Other(kind) => kind,
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

/// A problem and its line.
#[derive(Debug)]
pub(super) struct Fault {
    pub line: usize,
    pub key: String,
    pub problem: Problem,
}

/// The one value of the text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    Parser::new(text).document()
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Node, Fault> {
        let (node, wrapped) = match self.next_mark("a <dict>")? {
            Token::Open("plist") => {
                let token = self.next_mark("a <dict>")?;
                (self.value(token)?, true)
            }
            Token::End => return Err(self.fault(Problem::Empty)),
            token => (self.value(token)?, false),
        };
        if wrapped && !matches!(self.next_mark("</plist>")?, Token::Close) {
            return Err(self.unexpected("</plist>", "another value"));
        }
        match self.next_mark("the end of the file")? {
            Token::End => Ok(node),
            _ => Err(self.unexpected("the end of the file", "another value")),
        }
    }

    fn value(&mut self, token: Token) -> Result<Node, Fault> {
        let line = self.line;
        let value = match token {
            Token::Open("dict") => Value::Dict(self.dict()?),
            Token::Open("array") => Value::Array(self.array()?),
            Token::Open("string") => Value::String(self.content("string")?),
            Token::Open("integer") => self.integer()?,
            Token::Open(flag @ ("true" | "false")) => match self.content("flag")?.is_empty() {
                true => Value::Bool(flag == "true"),
                false => return Err(self.unexpected("<true/> or <false/>", "text inside of it")),
            },
            Token::Open("real") => self.other("real", "a <real>")?,
            Token::Open("date") => self.other("date", "a <date>")?,
            Token::Open("data") => self.other("data", "a <data>")?,
            Token::Void(flag @ ("true" | "false")) => Value::Bool(flag == "true"),
            Token::Void("dict") => Value::Dict(Vec::new()),
            Token::Void("array") => Value::Array(Vec::new()),
            Token::Void("string") => Value::String(Zeroizing::default()),
            Token::Open(name) | Token::Void(name) => return Err(self.unexpected("a value", format!("<{name}>"))),
            Token::Close => return Err(self.unexpected("a value", "an end tag")),
            Token::Text(_) => return Err(self.unexpected("a value", "text")),
            Token::End => return Err(self.fault(Problem::Empty)),
        };
        Ok(Node { line, value })
    }

    fn dict(&mut self) -> Result<Vec<Entry>, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            match self.next_mark("a <key> or </dict>")? {
                Token::Close => return Ok(entries),
                Token::Open("key") => {}
                Token::Open(name) | Token::Void(name) => {
                    return Err(self.unexpected("a <key> or </dict>", format!("<{name}>")));
                }
                Token::Text(_) | Token::End => return Err(self.unexpected("a <key> or </dict>", "text")),
            }
            let line = self.line;
            let key = self.content("key")?.to_string();
            if key.is_empty() {
                return Err(self.fault(Problem::EmptyValue { expected: "the name of a key" }));
            }
            if let Some(first) = lines.insert(key.clone(), line) {
                return Err(Fault { line, key, problem: Problem::Duplicate { first } });
            }
            let token = self.next_mark("a value").map_err(|fault| fault.within(&key))?;
            let node = match token {
                Token::Close => {
                    let got = "</dict>".to_owned();
                    return Err(Fault { line, key, problem: Problem::Unexpected { expected: "a value", got } });
                }
                token => self.value(token).map_err(|fault| fault.within(&key))?,
            };
            entries.push(Entry { key, line, node });
        }
    }

    fn array(&mut self) -> Result<Vec<Node>, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next_mark("a value or </array>")? {
                Token::Close => return Ok(nodes),
                token => {
                    let at = format!("[{}]", nodes.len());
                    nodes.push(self.value(token).map_err(|fault| fault.within(&at))?);
                }
            }
        }
    }

    fn integer(&mut self) -> Result<Value, Fault> {
        let text = self.content("integer")?;
        text.parse().map(Value::Integer).map_err(|_| {
            // A number that is none might be a secret in the wrong place: it is not repeated.
            self.fault(Problem::Unexpected {
                expected: "a whole number of 64 bits inside <integer>",
                got: format!("{} other characters", text.chars().count()),
            })
        })
    }

    fn other(&mut self, name: &'static str, kind: &'static str) -> Result<Value, Fault> {
        self.content(name).map(|_| Value::Other(kind))
    }

    /// The text up to the end tag, without the white space around it.
    fn content(&mut self, name: &'static str) -> Result<Zeroizing<String>, Fault> {
        let mut content: Zeroizing<String> = Zeroizing::default();
        loop {
            match self.token()? {
                Token::Text(text) => {
                    if content.capacity() - content.len() < text.len() {
                        // Grown by hand, so that no unwiped copy stays behind.
                        let room = (content.len() + text.len()).max(2 * content.capacity());
                        let mut longer = Zeroizing::new(String::with_capacity(room));
                        longer.push_str(&content);
                        content = longer;
                    }
                    content.push_str(&text);
                }
                Token::Close => return Ok(Zeroizing::new(content.trim().to_owned())),
                _ => {
                    let expected = if name == "key" { "only text inside <key>" } else { "only text inside a value" };
                    return Err(self.unexpected(expected, "another element (write `&lt;` for `<`)"));
                }
            }
        }
    }

    /// The next tag; text between tags must be white space.
    fn next_mark(&mut self, expected: &'static str) -> Result<Token, Fault> {
        loop {
            match self.token()? {
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Text(text) => {
                    let blank = text.len() - text.trim_start().len();
                    let mut fault = self.unexpected(expected, "text");
                    fault.line += text[..blank].matches('\n').count();
                    return Err(fault);
                }
                token => return Ok(token),
            }
        }
    }
}

impl Fault {
    /// The same, seen from one level further out.
    fn within(mut self, outer: &str) -> Self {
        self.key = match self.key.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}
