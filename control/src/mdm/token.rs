//! XML to the tokens of a plist. Entities are never expanded, and no message repeats what could be a secret.

use super::{error::Problem, plist::Fault};
use quick_xml::{Error as XmlError, Reader, events::Event};
use zeroize::Zeroizing;

/// plist > dict > configs array > dict > value makes 5.
const MAX_DEPTH: usize = 16;

/// Walks the text once.
pub(super) struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    /// Bytes whose line feeds are in `line`.
    counted: usize,
    pub(super) line: usize,
    /// Elements entered and not left, with their lines.
    open: Vec<(&'static str, usize)>,
}

/// What a plist is made of.
pub(super) enum Token {
    Open(&'static str),
    /// `<true/>` and the like.
    Void(&'static str),
    Close,
    Text(Zeroizing<String>),
    End,
}

const ELEMENTS: [&str; 11] =
    ["plist", "dict", "array", "key", "string", "integer", "true", "false", "real", "date", "data"];

/// XML 1.0's `Char`.
pub(super) fn allowed(character: char) -> bool {
    !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { reader: Reader::from_str(text), text, counted: 0, line: 1, open: Vec::new() }
    }

    pub(super) fn token(&mut self) -> Result<Token, Fault> {
        loop {
            self.count_lines();
            let event = self.reader.read_event();
            let event = match event {
                Ok(event) => event,
                Err(error) => return Err(self.xml_fault(&error)),
            };
            return match event {
                Event::Start(tag) => {
                    let name = self.element(tag.name().0)?;
                    if self.open.len() == MAX_DEPTH {
                        return Err(self.fault(Problem::TooDeep { limit: MAX_DEPTH }));
                    }
                    self.open.push((name, self.line));
                    Ok(Token::Open(name))
                }
                Event::Empty(tag) => self.element(tag.name().0).map(Token::Void),
                Event::End(_) => {
                    self.open.pop();
                    Ok(Token::Close)
                }
                Event::Text(text) => Ok(Token::Text(Zeroizing::new(text.xml10_content().into_owned()))),
                Event::CData(text) => Ok(Token::Text(Zeroizing::new(text.xml10_content().into_owned()))),
                Event::GeneralRef(reference) => self.reference(&reference),
                Event::DocType(text) if text.contains('[') => {
                    Err(self.fault(Problem::Entity { what: "a DOCTYPE with declarations".to_owned() }))
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
                Event::Eof => match self.open.last() {
                    Some((name, opened)) => Err(self.half_written(name, *opened)),
                    None => Ok(Token::End),
                },
            };
        }
    }

    fn element(&self, name: &str) -> Result<&'static str, Fault> {
        if let Some(known) = ELEMENTS.iter().find(|known| **known == name) {
            return Ok(known);
        }
        // Inside a value it may be a piece of a secret.
        let got = match self.open.last() {
            Some(("dict" | "array" | "plist", _)) | None => format!("<{}>", name.chars().take(32).collect::<String>()),
            Some(_) => "an element inside a value (write `&lt;` for `<`)".to_owned(),
        };
        Err(self.fault(Problem::Unexpected { expected: "an element of a plist (dict, array, key, string, ...)", got }))
    }

    fn reference(&self, reference: &quick_xml::events::BytesRef<'_>) -> Result<Token, Fault> {
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => Some(character),
            Ok(None) => match &**reference {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            },
            Err(_) => None,
        };
        match character {
            Some(character) if !allowed(character) => {
                let what = format!("a reference to the character U+{:04X}", u32::from(character));
                Err(self.fault(Problem::NotXml { what }))
            }
            Some(character) => Ok(Token::Text(Zeroizing::new(character.to_string()))),
            None => Err(self.fault(Problem::Entity { what: "a reference other than XML's own five".to_owned() })),
        }
    }

    fn count_lines(&mut self) {
        let position = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX).min(self.text.len());
        let passed = self.text.as_bytes().get(self.counted..position).unwrap_or_default();
        // White space in front of the next tag belongs to it, and is counted with it by the text event.
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted = position.max(self.counted);
    }

    /// What the XML reader refuses. Its messages may repeat text of the file, so only their kind is passed on.
    fn xml_fault(&self, error: &XmlError) -> Fault {
        let what = match error {
            XmlError::Syntax(error) => match self.open.last() {
                // Unclosed markup: the text ends in the middle of it.
                Some((name, opened)) if !matches!(error, quick_xml::errors::SyntaxError::InvalidBangMarkup) => {
                    return self.half_written(name, *opened);
                }
                _ => error.to_string(),
            },
            XmlError::IllFormed(quick_xml::errors::IllFormedError::UnclosedReference) => {
                "a `&` that begins no reference (write `&amp;`)".to_owned()
            }
            XmlError::IllFormed(_) => match self.open.last() {
                Some((name, opened)) => format!("<{name}> of line {opened} is not closed where it should be"),
                None => "an end tag that nothing opened".to_owned(),
            },
            XmlError::Encoding(_) => return self.fault(Problem::NotText),
            _ => "a tag or reference is malformed".to_owned(),
        };
        self.fault(Problem::NotXml { what })
    }

    fn half_written(&self, element: &str, opened: usize) -> Fault {
        self.fault(Problem::HalfWritten { element: element.to_owned(), opened })
    }

    pub(super) fn unexpected(&self, expected: &'static str, got: impl Into<String>) -> Fault {
        self.fault(Problem::Unexpected { expected, got: got.into() })
    }

    pub(super) fn fault(&self, problem: Problem) -> Fault {
        Fault { line: self.line, key: String::new(), problem }
    }
}
