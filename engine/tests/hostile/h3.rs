//! HTTP/3 by hand, so that it can be wrong.

use vestibule_engine::masque::request::UriTemplate;

pub(crate) const NO_ERROR: u64 = 0x100;
pub(crate) const STREAM_CREATION_ERROR: u64 = 0x103;
pub(crate) const CLOSED_CRITICAL_STREAM: u64 = 0x104;
pub(crate) const FRAME_UNEXPECTED: u64 = 0x105;
pub(crate) const FRAME_ERROR: u64 = 0x106;
pub(crate) const EXCESSIVE_LOAD: u64 = 0x107;
pub(crate) const SETTINGS_ERROR: u64 = 0x109;
pub(crate) const MISSING_SETTINGS: u64 = 0x10a;
pub(crate) const MESSAGE_ERROR: u64 = 0x10e;
pub(crate) const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
pub(crate) const DATAGRAM_ERROR: u64 = 0x33;

/// What the gateway serves.
pub(crate) fn template() -> UriTemplate {
    UriTemplate::well_known("gateway.example").unwrap()
}

/// QUIC's integers of variable length.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// A frame.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [&varint(kind)[..], &varint(payload.len() as u64), payload].concat()
}

/// A DATA frame.
pub(crate) fn data(payload: &[u8]) -> Vec<u8> {
    frame(0, payload)
}

/// The control stream's type, and a SETTINGS frame that promises datagrams.
pub(crate) fn control() -> Vec<u8> {
    [&[0][..], &frame(4, &[0x33, 1])].concat()
}

/// A number that begins in the low `bits` of a byte (RFC 7541, section 5.1).
fn prefixed(high: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![high | value as u8];
    }
    let mut out = vec![high | most as u8];
    let mut rest = value - most;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
    out
}

/// A HEADERS frame, each name and value as it is.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in fields {
        block.extend(prefixed(0x20, 3, name.len()));
        block.extend_from_slice(name.as_bytes());
        block.extend(prefixed(0, 7, value.len()));
        block.extend_from_slice(value.as_bytes());
    }
    frame(1, &block)
}

/// The fields of a good request.
pub(crate) const REQUEST: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "connect-ip"),
    (":scheme", "https"),
    (":authority", "gateway.example"),
    (":path", "/.well-known/masque/ip/*/*/"),
    ("capsule-protocol", "?1"),
];

/// A good request.
pub(crate) fn request() -> Vec<u8> {
    headers(&REQUEST)
}

/// A good request but for one field.
pub(crate) fn request_with(name: &str, value: &str) -> Vec<u8> {
    headers(&REQUEST.map(|field| if field.0 == name { (field.0, value) } else { (field.0, field.1) }))
}
