//! How a client proves who it is, above TLS.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use zeroize::Zeroizing;

/// What goes into `Authorization`. Zeroised on drop, redacted in `Debug`.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing: the TLS certificate is enough.
    #[default]
    None,
    /// RFC 6750.
    Bearer(Zeroizing<String>),
    /// RFC 7617.
    Basic {
        /// Without a colon.
        user: String,
        /// Any text.
        password: Zeroizing<String>,
    },
}

impl Credentials {
    /// The field's value, if there is one.
    #[must_use]
    pub fn authorization(&self) -> Option<Zeroizing<String>> {
        match self {
            Self::None => None,
            Self::Bearer(token) => Some(Zeroizing::new(format!("Bearer {}", token.as_str()))),
            Self::Basic { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
                let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                Some(Zeroizing::new(format!("Basic {}", encoded.as_str())))
            }
        }
    }

    /// Names a token, or a user's password, without telling it: SHA-256. `None` for no credentials.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        let mut context = digest::Context::new(&digest::SHA256);
        match self {
            Self::None => return None,
            Self::Bearer(token) => {
                context.update(b"bearer\0");
                context.update(token.as_bytes());
            }
            Self::Basic { user, password } => {
                context.update(b"basic\0");
                context.update(user.as_bytes());
                context.update(b":");
                context.update(password.as_bytes());
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Some(digest)
    }

    /// Reads the field's value; schemes are not case-sensitive. `None`: another scheme, or broken.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim_start_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Some(Self::Bearer(Zeroizing::new(rest.to_owned())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(STANDARD.decode(rest).ok()?);
        let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        Some(Self::Basic { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(redacted)",
            Self::Basic { .. } => "Basic(redacted)",
        })
    }
}
