//! Tokens and passwords: from files or the environment, never from the command line, which every user may read.

use std::io;
use std::path::{Path, PathBuf};
use vestibule_engine::masque::request::Credentials;
use zeroize::Zeroizing;

/// The longest file of secrets.
const MAX_FILE: u64 = 1 << 20;

/// How a secret is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750: a line is a token.
    Bearer,
    /// RFC 7617: a line is `user:password`.
    Basic,
}

impl Scheme {
    /// The variable of the environment that may hold one.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Bearer => "VESTIBULE_MASQUE_BEARER",
            Self::Basic => "VESTIBULE_MASQUE_BASIC",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Bearer => "a token of letters, digits and -._~+/ with = at its end",
            Self::Basic => "user:password",
        }
    }

    fn parse(self, line: &str) -> Option<Credentials> {
        match self {
            Self::Bearer => {
                let token = line.trim_end_matches('=');
                let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
                let is_token = !token.is_empty() && token.bytes().all(fine);
                is_token.then(|| Credentials::Bearer(Zeroizing::new(line.to_owned())))
            }
            Self::Basic => {
                let (user, password) = line.split_once(':')?;
                let password = Zeroizing::new(password.to_owned());
                (!user.is_empty()).then(|| Credentials::Basic { user: user.to_owned(), password })
            }
        }
    }
}

/// Why there are no secrets. Never shows one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// No file.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// A line that is none.
    #[error("{source_name}, line {line}: expected {expected}")]
    Line {
        /// File or variable.
        source_name: String,
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// Nothing in it.
    #[error("{source_name} holds nothing: expected {expected} on a line")]
    Empty {
        /// File or variable.
        source_name: String,
        /// What belongs there.
        expected: &'static str,
    },
}

/// The secrets in a file, one a line; empty lines and those that begin with `#` do not count.
///
/// # Errors
/// The file cannot be read, or a line is no such secret.
pub fn read_secrets(path: &Path, scheme: Scheme) -> Result<Vec<Credentials>, SecretsError> {
    let refuse = |cause| SecretsError::Read { path: path.to_owned(), cause };
    let len = std::fs::metadata(path).map_err(refuse)?.len();
    if len > MAX_FILE {
        let cause = io::Error::new(io::ErrorKind::FileTooLarge, format!("{len} bytes, at most {MAX_FILE} are read"));
        return Err(refuse(cause));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(refuse)?);
    parse(&text, scheme, &path.display().to_string())
}

/// The secret in the scheme's variable of the environment, if it is set.
///
/// # Errors
/// It is no such secret.
pub fn from_environment(scheme: Scheme) -> Result<Option<Credentials>, SecretsError> {
    let Ok(text) = std::env::var(scheme.variable()) else { return Ok(None) };
    Ok(parse(&Zeroizing::new(text), scheme, scheme.variable())?.pop())
}

fn parse(text: &str, scheme: Scheme, source_name: &str) -> Result<Vec<Credentials>, SecretsError> {
    let expected = scheme.expected();
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_end_matches('\r')));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let secrets = lines.map(|(line, text)| {
        let refused = || SecretsError::Line { source_name: source_name.to_owned(), line, expected };
        scheme.parse(text).ok_or_else(refused)
    });
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    let empty = || SecretsError::Empty { source_name: source_name.to_owned(), expected };
    if secrets.is_empty() { Err(empty()) } else { Ok(secrets) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn digests(text: &str, scheme: Scheme) -> Vec<[u8; 32]> {
        parse(text, scheme, "a file").unwrap().iter().map(|secret| secret.digest().unwrap()).collect()
    }

    #[test]
    fn one_secret_a_line() {
        let tokens = digests("# ours\n\nabc.DEF-_~+/==\r\nxyz\n", Scheme::Bearer);
        let token = |text: &str| Credentials::Bearer(Zeroizing::new(text.to_owned())).digest().unwrap();
        assert_eq!(tokens, [token("abc.DEF-_~+/=="), token("xyz")]);
        let basic = digests("alice:a:b c\n", Scheme::Basic);
        let password = Zeroizing::new("a:b c".to_owned());
        assert_eq!(basic, [Credentials::Basic { user: "alice".into(), password }.digest().unwrap()]);
    }

    #[test]
    fn what_is_no_secret_is_named_by_its_line_and_not_shown() {
        for (text, scheme) in [("ok\nhush hush", Scheme::Bearer), ("a:b\nhush", Scheme::Basic)] {
            let error = parse(text, scheme, "a file").unwrap_err().to_string();
            assert!(error.starts_with("a file, line 2: expected ") && !error.contains("hush"), "{error}");
        }
        for text in ["", "\n# nothing\n"] {
            let error = parse(text, Scheme::Bearer, "a file").unwrap_err().to_string();
            assert!(error.starts_with("a file holds nothing: expected "), "{error}");
        }
    }
}
