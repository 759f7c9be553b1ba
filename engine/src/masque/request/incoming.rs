//! What a gateway makes of a request.

use super::head::{capsule_protocol, forbidden};
use super::{CONNECT_IP, Credentials, Head, HttpVersion, Target, TargetError, UriTemplate};
use std::net::IpAddr;

/// A request for a tunnel, well-formed and for one of our templates. Nobody has been authenticated yet.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where to.
    pub target: Target,
    /// What the target's name stands for, once that is known.
    pub resolved: Option<Vec<IpAddr>>,
    /// Which protocol; `None`: all.
    pub protocol: Option<u8>,
    /// What the client proves itself by, apart from TLS.
    pub credentials: Credentials,
    /// What `capsule-protocol` said, if it was valid.
    pub capsule_protocol: Option<bool>,
}

/// Why a request gets no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Malformed: a stream error of type `H3_MESSAGE_ERROR` or `PROTOCOL_ERROR`; 400 in HTTP/1.1.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The path is ours and its variables are invalid: malformed, too.
    #[error("malformed request")]
    Variables(#[source] TargetError),
    /// Another protocol than IP proxying: 501.
    #[error("the protocol is not connect-ip")]
    Protocol,
    /// Not a path of ours: 404.
    #[error("no IP proxy at this path")]
    Path,
}

impl Rejection {
    /// The status to answer with; `None`: the stream is reset instead.
    #[must_use]
    pub fn status(&self, version: HttpVersion) -> Option<u16> {
        match self {
            Self::Malformed(_) | Self::Variables(_) => (version == HttpVersion::Http1).then_some(400),
            Self::Protocol => Some(501),
            Self::Path => Some(404),
        }
    }
}

impl Incoming {
    /// Judges a request's head.
    ///
    /// # Errors
    /// What to answer instead of opening a tunnel.
    pub fn judge(head: &Head<'_>, version: HttpVersion, templates: &[UriTemplate]) -> Result<Self, Rejection> {
        let method: &[u8] = if version == HttpVersion::Http1 { b"GET" } else { b"CONNECT" };
        let protocol = head.protocol.ok_or(Rejection::Protocol)?;
        if !protocol.eq_ignore_ascii_case(CONNECT_IP.as_bytes()) {
            return Err(Rejection::Protocol);
        }
        if head.method != Some(method) {
            return Err(Rejection::Malformed("the method is not the one IP proxying uses in this version of HTTP"));
        }
        if version == HttpVersion::Http1 && !upgrades(head) {
            return Err(Rejection::Malformed("no `Connection: Upgrade`"));
        }
        if version != HttpVersion::Http1 && head.scheme.is_none_or(<[u8]>::is_empty) {
            return Err(Rejection::Malformed("no scheme"));
        }
        if head.authority.is_none_or(<[u8]>::is_empty) {
            return Err(Rejection::Malformed("no authority"));
        }
        if forbidden(head.fields.iter().copied()).is_some() {
            return Err(Rejection::Malformed("a field of messages with content, which this is not"));
        }
        let path = head.path.filter(|path| !path.is_empty()).ok_or(Rejection::Malformed("no path"))?;
        let path = std::str::from_utf8(path).map_err(|_| Rejection::Malformed("the path is no text"))?;
        let known = templates.iter().find_map(|template| template.recognise(path)).ok_or(Rejection::Path)?;
        let (target, protocol) = known.map_err(Rejection::Variables)?;
        let mut authorizations = head.fields.iter().filter(|(name, _)| *name == b"authorization");
        let credentials = match (authorizations.next(), authorizations.next()) {
            (Some((_, value)), None) => std::str::from_utf8(value).ok().and_then(Credentials::parse),
            _ => None,
        };
        Ok(Self {
            target,
            resolved: None,
            protocol,
            credentials: credentials.unwrap_or_default(),
            capsule_protocol: capsule_protocol(head.fields.iter().copied()),
        })
    }
}

fn upgrades(head: &Head<'_>) -> bool {
    let options = head.fields.iter().filter(|(name, _)| *name == b"connection");
    options
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}
