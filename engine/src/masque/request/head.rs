//! Heads of messages, as all HTTP versions have them, and the request a client sends.

use super::{CAPSULE_PROTOCOL, CONNECT_IP, Credentials, Dialect, Target, UriTemplate, dialect};
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroizing;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// GET with `Upgrade`, answered by 101.
    Http1,
    /// Extended CONNECT.
    Http2,
    /// Extended CONNECT.
    Http3,
}

/// One field or pseudo-header field. The value may be secret: it is zeroised on drop, and that of `authorization` is
/// redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Lower-case.
    pub name: Cow<'static, str>,
    /// As sent.
    pub value: Zeroizing<String>,
}

impl Field {
    /// A field.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Zeroizing::new(value.into()) }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.name == "authorization" { "(redacted)" } else { self.value.as_str() };
        write!(f, "{}: {value}", self.name)
    }
}

/// The head of a request that was received. In HTTP/1.1 `protocol` is the value of `Upgrade`, `authority` that of `Host`.
#[derive(Clone, Default)]
pub struct Head<'a> {
    /// `:method`.
    pub method: Option<&'a [u8]>,
    /// `:protocol`.
    pub protocol: Option<&'a [u8]>,
    /// `:scheme`.
    pub scheme: Option<&'a [u8]>,
    /// `:authority`.
    pub authority: Option<&'a [u8]>,
    /// `:path`.
    pub path: Option<&'a [u8]>,
    /// All other fields, names in lower case.
    pub fields: Vec<(&'a [u8], &'a [u8])>,
}

/// A client's request.
#[derive(Clone, Debug)]
pub struct Outgoing {
    authority: String,
    path: String,
    credentials: Credentials,
    dialect: Dialect,
}

impl Outgoing {
    /// A request for packets to `target` of `protocol` (`None`: all), where `template` says.
    #[must_use]
    pub fn new(template: &UriTemplate, target: &Target, protocol: Option<u8>, credentials: Credentials) -> Self {
        let (authority, path) = (template.authority().to_owned(), template.expand(target, protocol));
        Self { authority, path, credentials, dialect: Dialect::default() }
    }

    /// The same by the rules of `dialect`. In [`Dialect::Warp`] there is one place to ask, and TLS alone to prove who asks.
    #[must_use]
    pub fn in_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Whose rules it keeps to.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The fields of the request in HTTP/2 or HTTP/3, pseudo-header fields first.
    #[must_use]
    pub fn fields(&self, version: HttpVersion) -> Vec<Field> {
        match (self.dialect, version) {
            (Dialect::Rfc9484, _) => self.extended_connect(),
            (Dialect::Warp, HttpVersion::Http2) => dialect::plain_connect(),
            (Dialect::Warp, _) => dialect::extended_connect(),
        }
    }

    fn extended_connect(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::new(":method", "CONNECT"),
            Field::new(":protocol", CONNECT_IP),
            Field::new(":scheme", "https"),
            Field::new(":authority", self.authority.as_str()),
            Field::new(":path", self.path.as_str()),
            Field::new(CAPSULE_PROTOCOL, "?1"),
        ];
        if let Some(value) = self.credentials.authorization() {
            fields.push(Field { name: "authorization".into(), value });
        }
        fields
    }

    /// The request as HTTP/1.1 writes it.
    #[must_use]
    pub fn http1(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: {CONNECT_IP}\r\nCapsule-Protocol: ?1\r\n",
            self.path, self.authority
        ));
        if let Some(value) = self.credentials.authorization() {
            text.push_str("Authorization: ");
            text.push_str(&value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

/// The value of `capsule-protocol`: a structured boolean, parameters ignored; anything else, or more than one field,
/// counts as absent (RFC 9297 section 3.4).
pub(super) fn capsule_protocol<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<bool> {
    let mut values =
        fields.into_iter().filter(|(name, _)| *name == CAPSULE_PROTOCOL.as_bytes()).map(|(_, value)| value);
    let (value, None) = (values.next()?, values.next()) else { return None };
    let value = value.trim_ascii();
    let (boolean, parameters) = (value.get(..2)?, value.get(2..)?.trim_ascii_start());
    match boolean {
        _ if !(parameters.is_empty() || parameters.starts_with(b";")) => None,
        b"?1" => Some(true),
        b"?0" => Some(false),
        _ => None,
    }
}

/// The first field that a message with capsules must not have (RFC 9297 section 3.2).
pub(super) fn forbidden<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<&'static str> {
    let names: [&'static str; 3] = ["content-length", "content-type", "transfer-encoding"];
    fields.into_iter().find_map(|(got, _)| names.into_iter().find(|name| name.as_bytes() == got))
}
