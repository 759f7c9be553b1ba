//! Protocols of lines of text.

use super::Seen;

/// Longest method of an HTTP request (registered ones have at most 17 letters).
const METHOD: usize = 32;
/// A request target longer than this is HTTP's, whatever follows it.
const TARGET: usize = 1024;

/// `bytes` begin with `wanted`.
fn literal(bytes: &[u8], wanted: &[u8]) -> Seen {
    let len = bytes.len().min(wanted.len());
    if !bytes[..len].eq_ignore_ascii_case(&wanted[..len]) {
        return Seen::No;
    }
    if len == wanted.len() { Seen::Yes } else { Seen::More }
}

fn one_of(bytes: &[u8], wanted: &[&[u8]]) -> Seen {
    wanted.iter().fold(Seen::No, |seen, wanted| match (seen, literal(bytes, wanted)) {
        (Seen::Yes, _) | (_, Seen::Yes) => Seen::Yes,
        (Seen::More, _) | (_, Seen::More) => Seen::More,
        _ => Seen::No,
    })
}

/// RFC 4253 section 4.2: each side begins with `SSH-protoversion-softwareversion`.
pub(super) fn ssh(bytes: &[u8]) -> Seen {
    one_of(bytes, &[b"SSH-1.", b"SSH-2."])
}

/// rsync's daemon protocol: each side begins with `@RSYNCD: ` and its version.
pub(super) fn rsync(bytes: &[u8]) -> Seen {
    literal(bytes, b"@RSYNCD: ")
}

/// RFC 5321 section 4.1.1.1: a client opens its session with EHLO or HELO.
pub(super) fn smtp_client(bytes: &[u8]) -> Seen {
    one_of(bytes, &[b"EHLO ", b"HELO "])
}

/// RFC 5321 sections 3.1 and 4.2: a server greets with reply 220. So does FTP's (RFC 959 section 5.4): the greeting's
/// first line must name SMTP, or else the client's first command tells.
pub(super) fn smtp_server(bytes: &[u8]) -> Seen {
    let greeting = one_of(bytes, &[b"220 ", b"220-"]);
    if greeting != Seen::Yes {
        return greeting;
    }
    // RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets.
    let line = &bytes[..bytes.len().min(512)];
    let end = line.iter().position(|&byte| byte == b'\n');
    if line[..end.unwrap_or(line.len())].windows(4).any(|word| word.eq_ignore_ascii_case(b"SMTP")) {
        return Seen::Yes;
    }
    if end.is_some() || line.len() == 512 { Seen::No } else { Seen::More }
}

/// RFC 1939 section 4: a server greets with `+OK`.
pub(super) fn pop3(bytes: &[u8]) -> Seen {
    one_of(bytes, &[b"+OK ", b"+OK\r"])
}

/// RFC 9051 section 7.1: a server greets with an untagged OK, PREAUTH or BYE.
pub(super) fn imap(bytes: &[u8]) -> Seen {
    one_of(bytes, &[b"* OK ", b"* PREAUTH ", b"* BYE "])
}

/// RFC 9113 section 3.4: a client that knows its server begins with this preface.
pub(super) fn http2(bytes: &[u8]) -> Seen {
    literal(bytes, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
}

/// RFC 9112 section 3: method, target and version in one line; empty lines before it are passed over (section 2.2).
pub(super) fn http1(bytes: &[u8]) -> Seen {
    let mut bytes = bytes;
    while let [b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    let method = bytes.iter().take(METHOD).take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match bytes.get(method) {
        None => return Seen::More,
        Some(b' ') if method > 0 => {}
        Some(_) => return Seen::No,
    }
    let rest = &bytes[method + 1..];
    let target = rest.iter().take(TARGET + 1).take_while(|byte| byte.is_ascii_graphic() || **byte >= 0x80).count();
    if target > TARGET {
        return Seen::Yes;
    }
    match rest.get(target) {
        None => Seen::More,
        Some(b' ') if target > 0 => literal(&rest[target + 1..], b"HTTP/1."),
        Some(_) => Seen::No,
    }
}
