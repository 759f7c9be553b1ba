//! The gateway's answer, and what the client makes of it.

use super::head::{capsule_protocol, forbidden};
use super::{CAPSULE_PROTOCOL, CONNECT_IP, Field, HttpVersion};

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// All fields but the status.
    pub fields: Vec<Field>,
}

impl Answer {
    /// The tunnel is open.
    #[must_use]
    pub fn open(version: HttpVersion) -> Self {
        let mut fields = vec![Field::new(CAPSULE_PROTOCOL, "?1")];
        if version == HttpVersion::Http1 {
            fields.extend([Field::new("connection", "Upgrade"), Field::new("upgrade", CONNECT_IP)]);
        }
        Self { status: if version == HttpVersion::Http1 { 101 } else { 200 }, fields }
    }

    /// There is no tunnel. `status` of 4xx or 5xx; others become 500.
    #[must_use]
    pub fn refused(status: u16) -> Self {
        let status = if (400..600).contains(&status) { status } else { 500 };
        let challenge = (status == 401).then(|| Field::new("www-authenticate", "Bearer, Basic realm=\"masque\""));
        Self { status, fields: challenge.into_iter().collect() }
    }

    /// The target's name could not be resolved (RFC 9484 section 4.1, RFC 9209): 502 with what DNS said, for example
    /// `NXDOMAIN`, if that is a token.
    #[must_use]
    pub fn dns_error(proxy: &str, rcode: Option<&str>) -> Self {
        let is_token = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let rcode = rcode.filter(is_token).map_or(String::new(), |rcode| format!("; rcode=\"{rcode}\""));
        let proxy = Some(proxy).filter(is_token).unwrap_or("masque");
        Self { status: 502, fields: vec![Field::new("proxy-status", format!("{proxy}; error=dns_error{rcode}"))] }
    }
}

/// Why an answer opens no tunnel: the client aborts the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Any status but the ones that open a tunnel.
    #[error("the proxy answered {status}{}", .reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})")))]
    Status {
        /// The status.
        status: u16,
        /// Its `Proxy-Status`, if it is short and plain text.
        reason: Option<String>,
    },
    /// A field that such an answer must not have.
    #[error("the answer has the field `{field}`, which a tunnel's must not")]
    Forbidden {
        /// Its name.
        field: &'static str,
    },
    /// A 101 that upgrades to something else.
    #[error("the answer switches to another protocol than connect-ip")]
    Upgrade,
}

/// What the answer that opened a tunnel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What `capsule-protocol` said, if it was valid.
    pub capsule_protocol: Option<bool>,
}

impl Accepted {
    /// Judges an answer; interim ones (1xx, save 101 in HTTP/1.1) are no answers yet and must not be given here.
    ///
    /// # Errors
    /// Why there is no tunnel.
    pub fn judge(version: HttpVersion, status: u16, fields: &[(&[u8], &[u8])]) -> Result<Self, ResponseError> {
        let opens = match version {
            HttpVersion::Http1 => status == 101,
            // Without content by definition, or part of one: no tunnel (RFC 9297 section 3.2).
            HttpVersion::Http2 | HttpVersion::Http3 => (200..300).contains(&status) && !matches!(status, 204..=206),
        };
        if !opens {
            return Err(ResponseError::Status { status, reason: reason(fields) });
        }
        if let Some(field) = forbidden(fields.iter().copied()) {
            return Err(ResponseError::Forbidden { field });
        }
        if version == HttpVersion::Http1 {
            let one = |name: &[u8], value: &[u8]| {
                let mut found = fields.iter().filter(|(got, _)| *got == name);
                let right = found.next().is_some_and(|(_, got)| got.trim_ascii().eq_ignore_ascii_case(value));
                right && found.next().is_none()
            };
            if !one(b"connection", b"upgrade") || !one(b"upgrade", CONNECT_IP.as_bytes()) {
                return Err(ResponseError::Upgrade);
            }
        }
        Ok(Self { capsule_protocol: capsule_protocol(fields.iter().copied()) })
    }
}

fn reason(fields: &[(&[u8], &[u8])]) -> Option<String> {
    let (_, value) = fields.iter().find(|(name, _)| *name == b"proxy-status")?;
    let plain = value.len() <= 200 && value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    plain.then(|| String::from_utf8_lossy(value).into_owned())
}
