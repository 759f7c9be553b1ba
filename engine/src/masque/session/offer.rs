//! A server that serves extended CONNECT and does not say so.
//!
//! WARP's edge leaves SETTINGS_ENABLE_CONNECT_PROTOCOL out, and HTTP/3 asks nobody who did not offer (RFC 9220 section 3).
//! What comes on such a server's control stream is therefore read with the setting put into its SETTINGS frame. Nothing
//! else is changed, and a value that the server did send stays.

use crate::masque::varint;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Stream type of the control stream (RFC 9114 section 6.2.1).
const CONTROL: u64 = 0x00;
/// Frame type of SETTINGS (RFC 9114 section 7.2.4).
const SETTINGS: u64 = 0x04;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 section 5),
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
/// and as what is put in: 1.
const OFFER: [u8; 2] = [ENABLE_CONNECT_PROTOCOL as u8, 1];
/// A longer SETTINGS frame is none: it goes through as it is, and is refused.
const MOST: u64 = 16 << 10;

/// The start of a server's unidirectional streams, until its settings are known.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// What has come of streams whose kind, or whose settings, are not complete.
    held: BTreeMap<u64, Vec<u8>>,
    /// Streams that are not the control stream.
    others: BTreeSet<u64>,
    done: bool,
}

/// What the start of a stream is.
enum Start {
    /// Cut off.
    Incomplete,
    /// Not to be changed.
    Other,
    /// A control stream whose settings end here, and lack the offer: where the frame's length is, and what it says.
    Settings { length_at: usize, payload_at: usize, end: usize },
}

impl Offer {
    /// What HTTP/3 is to read in place of `bytes`, which came on `stream`. Nothing: more must come first.
    pub(super) fn read<'a>(&mut self, stream: u64, bytes: &'a [u8], fin: bool) -> Cow<'a, [u8]> {
        // Those of the server's that go one way.
        if stream % 4 != 3 || self.others.contains(&stream) {
            return Cow::Borrowed(bytes);
        }
        if self.done {
            // What came before another stream's settings has waited.
            return self.held.remove(&stream).map_or(Cow::Borrowed(bytes), |held| Cow::Owned([&held, bytes].concat()));
        }
        let held = self.held.entry(stream).or_default();
        held.extend_from_slice(bytes);
        let start = start(held);
        if matches!(start, Start::Incomplete) && !fin {
            return Cow::Borrowed(&[]);
        }
        let held = self.held.remove(&stream).unwrap_or_default();
        let Start::Settings { length_at, payload_at, end } = start else {
            self.done |= held.first() == Some(&(CONTROL as u8));
            self.others.insert(stream);
            return Cow::Owned(held);
        };
        self.done = true;
        self.others.clear();
        let (before, payload, rest) = (&held[..length_at], &held[payload_at..end], &held[end..]);
        let mut changed = before.to_vec();
        varint::encode((payload.len() + OFFER.len()) as u64, &mut changed);
        changed.extend([payload, &OFFER, rest].concat());
        Cow::Owned(changed)
    }
}

fn start(bytes: &[u8]) -> Start {
    let Some((kind, kind_len)) = varint::decode(bytes) else { return Start::Incomplete };
    if kind != CONTROL {
        return Start::Other;
    }
    let Some((frame, frame_len)) = bytes.get(kind_len..).and_then(varint::decode) else { return Start::Incomplete };
    if frame != SETTINGS {
        return Start::Other;
    }
    let length_at = kind_len + frame_len;
    let Some((length, length_len)) = bytes.get(length_at..).and_then(varint::decode) else { return Start::Incomplete };
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= MOST) else { return Start::Other };
    let payload_at = length_at + length_len;
    let Some(payload) = bytes.get(payload_at..payload_at + length) else { return Start::Incomplete };
    match offers(payload) {
        Some(false) => Start::Settings { length_at, payload_at, end: payload_at + length },
        _ => Start::Other,
    }
}

/// Whether settings say something of extended CONNECT; `None`: they are malformed.
fn offers(mut payload: &[u8]) -> Option<bool> {
    let mut found = false;
    while !payload.is_empty() {
        let (id, id_len) = varint::decode(payload)?;
        let (_, value_len) = varint::decode(payload.get(id_len..)?)?;
        found |= id == ENABLE_CONNECT_PROTOCOL;
        payload = payload.get(id_len + value_len..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The control stream of a server with these settings, and a GOAWAY behind them.
    fn control(settings: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x00, 0x04];
        varint::encode(settings.len() as u64, &mut bytes);
        [&bytes, settings, &[0x07, 0x01, 0x00]].concat()
    }

    /// What is read of `bytes` when they are cut at `at`.
    fn cut(bytes: &[u8], at: usize) -> Vec<u8> {
        let mut offer = Offer::default();
        let first = offer.read(3, &bytes[..at], false).into_owned();
        [first, offer.read(3, &bytes[at..], false).into_owned()].concat()
    }

    #[test]
    fn the_offer_is_put_in_wherever_the_stream_is_cut() {
        // H3_DATAGRAM, the draft's, and one whose length makes the frame's length two bytes.
        let short = [0x33, 0x01, 0x42, 0x76, 0x01];
        let long = [&short[..], &[0x40, 0x64, 0x07].repeat(20)[..]].concat();
        for settings in [&[][..], &short, &long] {
            let bytes = control(settings);
            let expected = control(&[settings, &OFFER].concat());
            for at in 0..=bytes.len() {
                assert_eq!(cut(&bytes, at), expected, "cut at {at}");
            }
        }
    }

    #[test]
    fn what_the_server_said_itself_stays() {
        for settings in [&[0x08, 0x01][..], &[0x33, 0x01, 0x08, 0x00]] {
            let bytes = control(settings);
            (0..=bytes.len()).for_each(|at| assert_eq!(cut(&bytes, at), bytes));
        }
    }

    #[test]
    fn other_streams_and_malformed_settings_go_through_as_they_are() {
        let mut offer = Offer::default();
        assert_eq!(*offer.read(7, &[0x02], false), [0x02]);
        assert_eq!(*offer.read(7, &[0x3f, 0xe1], false), [0x3f, 0xe1]);
        assert_eq!(*offer.read(0, &[0x00, 0x04], false), [0x00, 0x04], "a request's stream");
        assert_eq!(*offer.read(11, &[0x40], true), [0x40], "cut off by its end");
        for malformed in [control(&[0x33]), vec![0x00, 0x07, 0x01, 0x00], vec![0x00, 0x04, 0x80, 0x01, 0x00, 0x00]] {
            let mut offer = Offer::default();
            assert_eq!(*offer.read(3, &malformed, false), malformed[..]);
            assert_eq!(*offer.read(3, &[0x04, 0x00], false), [0x04, 0x00], "and all that follows");
        }
    }

    #[test]
    fn a_stream_that_began_before_the_settings_goes_on_after_them() {
        let mut offer = Offer::default();
        assert!(offer.read(7, &[0x40], false).is_empty());
        offer.read(3, &control(&[]), false);
        assert_eq!(*offer.read(7, &[0x21], false), [0x40, 0x21]);
        assert_eq!(*offer.read(7, &[0x22], false), [0x22]);
    }
}
