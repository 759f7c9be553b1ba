//! Takes typed values out of a dict; what nobody took is unknown.

use super::{
    error::{MdmError, MdmWarning, Problem},
    plist::{Entry, Fault, Node, Value},
};
use std::{collections::BTreeSet, ops::RangeInclusive};
use zeroize::Zeroizing;

/// Where findings go.
pub(super) struct Report<'a> {
    file: &'a str,
    pub warnings: Vec<MdmWarning>,
}

/// A file may hold tens of thousands of unknown keys; nobody reads more than some of them.
const MAX_WARNINGS: usize = 100;
/// The longest text in bytes. Addresses are the longest values there are.
const MAX_TEXT: usize = 2_048;

impl<'a> Report<'a> {
    pub(super) fn of(file: &'a str) -> Self {
        Self { file, warnings: Vec::new() }
    }

    /// No more warnings are taken.
    fn full(&self) -> bool {
        self.warnings.len() > MAX_WARNINGS
    }

    pub(super) fn error(&self, fault: Fault) -> MdmError {
        // Lines of a whole-file problem say nothing.
        let line = (!matches!(fault.problem, Problem::Empty | Problem::TooLarge { .. })).then_some(fault.line);
        MdmError { file: self.file.to_owned(), line, key: fault.key, problem: fault.problem }
    }

    pub(super) fn warn(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        let file = self.file.to_owned();
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(MdmWarning { file, line, key: key.into(), message: message.into() });
        } else if self.warnings.len() == MAX_WARNINGS {
            let message = "there is more that is odd from here on, which is not told".to_owned();
            self.warnings.push(MdmWarning { file, line, key: String::new(), message });
        }
    }
}

/// A dict being read.
pub(super) struct Dict {
    line: usize,
    path: String,
    entries: Vec<Entry>,
    asked: BTreeSet<&'static str>,
}

impl Dict {
    /// Of a node that must be a dict.
    pub(super) fn of(node: Node, path: &str) -> Result<Self, Fault> {
        match node.value {
            Value::Dict(entries) => {
                Ok(Self { line: node.line, path: path.to_owned(), entries, asked: BTreeSet::new() })
            }
            other => {
                let problem = Problem::WrongType { expected: "a <dict>", got: other.kind() };
                Err(Fault { line: node.line, key: path.to_owned(), problem })
            }
        }
    }

    /// Every key that was looked for.
    #[cfg(test)]
    pub(super) fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    /// Line of its beginning.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Line of a key; of the dict where it has none.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.line, |entry| entry.line)
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Every key and its node, as the file has them; none is unknown afterwards.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(super) fn node(&mut self, key: &'static str) -> Option<&Node> {
        self.asked.insert(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn fault(&self, key: &str, problem: Problem) -> Fault {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        Fault { line: entry.map_or(self.line, |entry| entry.node.line), key: self.path(key), problem }
    }

    pub(super) fn missing(&self, key: &str, why: impl Into<String>) -> Fault {
        Fault { line: self.line, key: self.path(key), problem: Problem::Missing { why: why.into() } }
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(node) = self.node(key) else { return Ok(None) };
        match read(&node.value) {
            Some(value) => Ok(Some(value)),
            None => {
                let got = node.value.kind();
                Err(self.fault(key, Problem::WrongType { expected, got }))
            }
        }
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Fault> {
        self.typed(key, "<true/> or <false/>", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A number within `range`; `kind` says what it counts.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        kind: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Fault> {
        let number = self.typed(key, kind, |value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        })?;
        match number {
            Some(number) if !range.contains(&number) => {
                let expected = format!("{kind} from {} to {}", range.start(), range.end());
                Err(self.fault(key, Problem::WrongValue { expected, got: number.to_string() }))
            }
            number => Ok(number),
        }
    }

    /// Text that is neither empty nor endless.
    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<Zeroizing<String>>, Fault> {
        let text = self.typed(key, "a <string>", |value| match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })?;
        match text {
            Some(text) if text.len() > MAX_TEXT => {
                Err(self.fault(key, Problem::TooLong { got: text.len(), limit: MAX_TEXT }))
            }
            Some(text) if text.is_empty() => Err(self.fault(key, Problem::EmptyValue { expected: "a <string>" })),
            text => Ok(text),
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        Ok(self.secret(key)?.map(|text| text.to_string()))
    }

    /// Text that `read` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => {
                let got = text.chars().take(64).collect();
                Err(self.fault(key, Problem::WrongValue { expected: expected.to_owned(), got }))
            }
        }
    }

    /// Warns of every key that nobody asked for.
    pub(super) fn finish(self, report: &mut Report<'_>, misplaced: &[(&str, &str)]) {
        for entry in &self.entries {
            if report.full() {
                return;
            }
            if self.asked.contains(entry.key.as_str()) {
                continue;
            }
            let message = match misplaced.iter().find(|(key, _)| *key == entry.key) {
                Some((_, message)) => (*message).to_owned(),
                None => match super::suggest::closest(&entry.key, self.asked.iter().copied()) {
                    Some(known) => format!("unknown key, ignored: did you mean `{known}`?"),
                    None => "unknown key, ignored".to_owned(),
                },
            };
            let key: String = self.path(&entry.key).chars().take(128).collect();
            report.warn(entry.line, key, message);
        }
    }
}
