//! What a flow's first bytes tell: the protocol, and the server name of TLS.
//!
//! A recogniser reads a stream's beginning and says yes, no, or that it must see more; what it has once said of some
//! bytes it says of every longer stream that begins with them, so that it does not matter how segments cut it.

mod binary;
mod gather;
mod text;
mod tls;

pub(crate) use gather::{BUFFER_BYTES, Gather, Looked};

use crate::policy::Detected;

/// Most bytes that are looked at in either direction: a ClientHello with post-quantum keys takes less than half.
pub(crate) const MOST: usize = 4096;

/// What was read from a flow's first bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The protocol; `None` when it is not one that we know.
    pub protocol: Option<Detected>,
    /// TLS: the server name of the ClientHello, in lower case, without a final dot.
    pub server_name: Option<Box<str>>,
}

impl From<Detected> for Extracted {
    fn from(protocol: Detected) -> Self {
        Self { protocol: Some(protocol), server_name: None }
    }
}

/// What a recogniser says of a stream's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    No,
    More,
    Yes,
}

type Recogniser = fn(&[u8]) -> Seen;

/// Reads what a TCP client sends first; `None` when more must be seen. Of [`MOST`] bytes it always tells.
fn client(bytes: &[u8]) -> Option<Extracted> {
    let full = bytes.len() >= MOST;
    match tls::look(&bytes[..bytes.len().min(MOST)]) {
        tls::Hello::Name(server_name) => return Some(Extracted { protocol: Some(Detected::Tls), server_name }),
        tls::Hello::Begun | tls::Hello::More if full => return Some(Detected::Tls.into()),
        tls::Hello::Begun | tls::Hello::More => return None,
        tls::Hello::No => {}
    }
    let known: [(Detected, Recogniser); 9] = [
        (Detected::Ssh, text::ssh),
        (Detected::RsyncDaemon, text::rsync),
        (Detected::Smtp, text::smtp_client),
        (Detected::Http2, text::http2),
        (Detected::Http, text::http1),
        (Detected::Dcerpc, binary::dcerpc),
        (Detected::Mqtt, binary::mqtt),
        (Detected::Tpkt, binary::tpkt),
        (Detected::Ldap, binary::ldap),
    ];
    first(&known, bytes, full)
}

/// Reads what a TCP server sends first.
fn server(bytes: &[u8]) -> Option<Extracted> {
    let known: [(Detected, Recogniser); 6] = [
        (Detected::Ssh, text::ssh),
        (Detected::RsyncDaemon, text::rsync),
        (Detected::Smtp, text::smtp_server),
        (Detected::Pop3, text::pop3),
        (Detected::Imap, text::imap),
        (Detected::Mysql, binary::mysql),
    ];
    first(&known, bytes, bytes.len() >= MOST)
}

/// Reads a UDP datagram.
fn datagram(bytes: &[u8]) -> Extracted {
    if binary::ntp(bytes) {
        Detected::Ntp.into()
    } else if binary::ldap(bytes) == Seen::Yes {
        Detected::Ldap.into()
    } else {
        Extracted::default()
    }
}

/// The first that says yes, when all before it have said no.
fn first(known: &[(Detected, Recogniser)], bytes: &[u8], full: bool) -> Option<Extracted> {
    for (protocol, recognise) in known {
        match recognise(bytes) {
            Seen::No => {}
            Seen::More if full => {}
            Seen::More => return None,
            Seen::Yes => return Some((*protocol).into()),
        }
    }
    Some(Extracted::default())
}

#[cfg(test)]
mod tests;
