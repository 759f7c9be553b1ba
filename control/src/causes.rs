//! One clear line for what went wrong.

use std::error::Error;

/// `error` and its causes in one line: `cannot read a: cannot open b: no such file`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    printable(&line.replace(['\n', '\r'], " "))
}

/// Text from outside for a message: a control character would move the reader's cursor, or end the log's line.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::chain;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{0}`")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn the_chain_is_one_line_and_says_nothing_twice() {
        let error = Outer("a", io::Error::other("disk\nis gone"));
        assert_eq!(chain(&error), "cannot read `a`: disk is gone");
        assert_eq!(chain(&io::Error::other("a\x1b[2J")), "a\\u{1b}[2J");
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Repeats(#[source] Outer);
        assert_eq!(chain(&Repeats(error)), "outer: cannot read `a`: disk is gone");
    }
}
