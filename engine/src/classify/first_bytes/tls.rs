//! The server name in a TLS ClientHello (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3).

use super::MOST;

/// What the beginning of a stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// It is no ClientHello.
    No,
    /// Perhaps one.
    More,
    /// It is one, not read to its end.
    Begun,
    /// It is one, with this server name if any. A malformed rest has none.
    Name(Option<Box<str>>),
}

/// Why reading stopped.
enum Stop {
    /// The bytes at hand end here.
    More,
    /// Lengths contradict each other.
    Malformed,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// RFC 8446 section 5.1: a record holds at most 2^14 bytes.
const RECORD: usize = 1 << 14;

/// Looks at a stream's first bytes.
pub(super) fn look(bytes: &[u8]) -> Hello {
    // The message may be cut over several records.
    let (mut message, mut len) = ([0; MOST], 0);
    let mut rest = bytes;
    let mut first = true;
    loop {
        // RFC 8446 section 5.1: a ClientHello's records say version 3.1 or 3.3, older ones 3.0.
        let end = if first { Hello::No } else { Hello::Name(None) };
        let more = || if first { Hello::More } else { Hello::Begun };
        let Some(&kind) = rest.first() else { return more() };
        if kind != HANDSHAKE || rest.get(1).is_some_and(|major| *major != 3) || rest.get(2).is_some_and(|m| *m > 4) {
            return end;
        }
        let &[_, _, _, high, low, ref fragment @ ..] = rest else { return more() };
        let length = usize::from(high) << 8 | usize::from(low);
        if length == 0 || length > RECORD {
            return end;
        }
        let part = &fragment[..fragment.len().min(length)];
        // No longer than `bytes`, which are no longer than the array.
        message[len..len + part.len()].copy_from_slice(part);
        len += part.len();
        match message[..len].first() {
            Some(&CLIENT_HELLO) => {}
            Some(_) => return Hello::No,
            None => return Hello::More,
        }
        match server_name(&message[..len]) {
            Ok(name) => return Hello::Name(name),
            Err(Stop::Malformed) => return Hello::Name(None),
            Err(Stop::More) if fragment.len() < length => return Hello::Begun,
            Err(Stop::More) => {}
        }
        rest = &fragment[length..];
        first = false;
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the message says that it ends.
    end: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, len: usize) -> Result<(), Stop> {
        self.at += len;
        if self.at > self.end { Err(Stop::Malformed) } else { Ok(()) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let from = self.at;
        self.skip(len)?;
        self.bytes.get(from..self.at).ok_or(Stop::More)
    }

    fn number(&mut self, len: usize) -> Result<usize, Stop> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Passes over a vector whose length is given in `len` bytes.
    fn skip_vector(&mut self, len: usize) -> Result<(), Stop> {
        let inner = self.number(len)?;
        self.skip(inner)
    }
}

fn server_name(message: &[u8]) -> Result<Option<Box<str>>, Stop> {
    let mut reader = Reader { bytes: message, at: 1, end: usize::MAX };
    let length = reader.number(3)?;
    reader.end = 4 + length;
    // Version and random.
    reader.skip(2 + 32)?;
    // Session id, cipher suites, compression methods.
    reader.skip_vector(1)?;
    reader.skip_vector(2)?;
    reader.skip_vector(1)?;
    if reader.at == reader.end {
        return Ok(None);
    }
    let extensions = reader.number(2)?;
    let end = reader.at + extensions;
    if end > reader.end {
        return Err(Stop::Malformed);
    }
    reader.end = end;
    while reader.at < end {
        let kind = reader.number(2)?;
        let length = reader.number(2)?;
        if kind != usize::from(SERVER_NAME) {
            reader.skip(length)?;
            continue;
        }
        let names = reader.take(length)?;
        return host_name(names).map_err(|_| Stop::Malformed);
    }
    Ok(None)
}

/// RFC 6066 section 3: a list of names, of which one is a host's.
fn host_name(bytes: &[u8]) -> Result<Option<Box<str>>, Stop> {
    let mut reader = Reader { bytes, at: 0, end: bytes.len() };
    let length = reader.number(2)?;
    reader.end = reader.at + length;
    while reader.at < reader.end {
        let kind = reader.number(1)?;
        let length = reader.number(2)?;
        let name = reader.take(length)?;
        if kind == usize::from(HOST_NAME) {
            return Ok(normal(name));
        }
    }
    Ok(None)
}

/// In lower case and without a final dot; `None` for what is no name.
fn normal(name: &[u8]) -> Option<Box<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(name).ok().map(|name| name.to_ascii_lowercase().into_boxed_str())
}
