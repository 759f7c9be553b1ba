//! Protocols of binary headers.

use super::Seen;

/// The byte at `at`, or the answer that more must be seen.
macro_rules! byte {
    ($bytes:expr, $at:expr) => {
        match $bytes.get($at) {
            Some(byte) => *byte,
            None => return Seen::More,
        }
    };
}

/// Asks for a byte at a time, so that what is said of some bytes is said of all that follow them.
macro_rules! want {
    ($bytes:expr, $at:expr, $wanted:pat) => {
        match byte!($bytes, $at) {
            $wanted => {}
            _ => return Seen::No,
        }
    };
}

/// C706 section 12.6.3.1 with [MS-RPCE] section 2.2.2: a client's first PDU is a bind (11) of version 5.0 or 5.1, its
/// data representation little or big endian, ASCII, of a known float format.
pub(super) fn dcerpc(bytes: &[u8]) -> Seen {
    want!(bytes, 0, 5);
    want!(bytes, 1, 0..=1);
    want!(bytes, 2, 11);
    byte!(bytes, 3);
    let little = byte!(bytes, 4);
    want!(bytes, 4, 0x00 | 0x10);
    want!(bytes, 5, 0..=3);
    want!(bytes, 6, 0);
    want!(bytes, 7, 0);
    let length = [byte!(bytes, 8), byte!(bytes, 9)];
    let length = if little == 0 { u16::from_be_bytes(length) } else { u16::from_le_bytes(length) };
    // Header, fragment sizes, association group and an empty list of contexts.
    if length >= 28 { Seen::Yes } else { Seen::No }
}

/// MQTT 5.0 (and 3.1.1) sections 2.1 and 3.1: CONNECT, its length in up to four bytes of seven bits, and the protocol's
/// name; 3.1 called itself `MQIsdp`.
pub(super) fn mqtt(bytes: &[u8]) -> Seen {
    want!(bytes, 0, 0x10);
    let mut at = 1;
    while byte!(bytes, at) & 0x80 != 0 {
        at += 1;
        if at > 4 {
            return Seen::No;
        }
    }
    want!(bytes, at + 1, 0);
    let name: &[u8] = match byte!(bytes, at + 2) {
        4 => b"MQTT",
        6 => b"MQIsdp",
        _ => return Seen::No,
    };
    for (offset, letter) in name.iter().enumerate() {
        if byte!(bytes, at + 3 + offset) != *letter {
            return Seen::No;
        }
    }
    Seen::Yes
}

/// RFC 1006 section 6 (later RFC 2126): version 3, a reserved byte, the length; in it an X.224 connection request, as
/// [MS-RDPBCGR] section 2.2.1.1 begins RDP.
pub(super) fn tpkt(bytes: &[u8]) -> Seen {
    want!(bytes, 0, 3);
    want!(bytes, 1, 0);
    let length = u16::from_be_bytes([byte!(bytes, 2), byte!(bytes, 3)]);
    // Its own header and at least the fixed part of a connection request.
    if length < 11 {
        return Seen::No;
    }
    want!(bytes, 4, 6..=254);
    want!(bytes, 5, 0xe0..=0xef);
    Seen::Yes
}

/// RFC 4511 sections 4.1.1 and 5.1: a BER sequence of a message number and a request.
pub(super) fn ldap(bytes: &[u8]) -> Seen {
    want!(bytes, 0, 0x30);
    let at = match byte!(bytes, 1) {
        0..=0x7f => 2,
        long @ 0x81..=0x84 => 2 + usize::from(long & 0x0f),
        _ => return Seen::No,
    };
    want!(bytes, at, 0x02);
    let number = byte!(bytes, at + 1);
    want!(bytes, at + 1, 1..=4);
    // Bind, unbind, search, modify, add, delete, rename, compare, abandon, extended.
    want!(bytes, at + 2 + usize::from(number), 0x60 | 0x42 | 0x63 | 0x66 | 0x68 | 0x4a | 0x6c | 0x6e | 0x50 | 0x77);
    Seen::Yes
}

/// MySQL's connection phase, protocol version 10: the first packet's length and number, the version, and the server's
/// version as text.
pub(super) fn mysql(bytes: &[u8]) -> Seen {
    let length = [byte!(bytes, 0), byte!(bytes, 1), byte!(bytes, 2), 0];
    // Fixed fields take 45 bytes; versions and plugin names are short.
    if !(45..=1024).contains(&u32::from_le_bytes(length)) {
        return Seen::No;
    }
    want!(bytes, 3, 0);
    want!(bytes, 4, 10);
    want!(bytes, 5, b'0'..=b'9');
    Seen::Yes
}

/// RFC 5905 section 7.3: version 1 to 4, mode 1 to 5, a stratum up to 16, a poll and a precision that make sense, and
/// 48 bytes with extensions of whole words.
pub(super) fn ntp(datagram: &[u8]) -> bool {
    let &[first, stratum, poll, precision, ..] = datagram else { return false };
    datagram.len() >= 48
        && datagram.len().is_multiple_of(4)
        && matches!(first >> 3 & 7, 1..=4)
        && matches!(first & 7, 1..=5)
        && stratum <= 16
        && poll <= 17
        && (-32..=0).contains(&(precision as i8))
}
