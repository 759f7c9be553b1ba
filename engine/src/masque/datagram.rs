//! HTTP datagrams of CONNECT-IP: Quarter Stream ID (RFC 9297 section 2.1), Context ID and packet (RFC 9484 section 6).

use super::{capsule, varint};

/// The context of plain IP packets.
pub const IP_PACKETS: u64 = 0;
/// The greatest Quarter Stream ID: four times it is still a stream id.
pub const MAX_QUARTER_STREAM_ID: u64 = (1 << 60) - 1;
/// The longest [`Prefix`]: a Quarter Stream ID and one byte, or two bytes and a length.
pub const MAX_PREFIX: usize = varint::MAX_LEN + 2;

/// The bytes before a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; MAX_PREFIX],
    len: usize,
}

impl Prefix {
    /// Before a packet in a QUIC DATAGRAM frame, for the request stream `stream_id`.
    #[must_use]
    pub fn quic(stream_id: u64) -> Self {
        Self::new(&[], stream_id / 4)
    }

    /// Before a packet of `packet_len` bytes in a stream: a DATAGRAM capsule's type and length, and the Context ID.
    #[must_use]
    pub fn capsule(packet_len: usize) -> Self {
        Self::new(&[capsule::DATAGRAM as u8], packet_len as u64 + 1)
    }

    /// The same where packets have no Context ID ([`Dialect::Warp`](super::request::Dialect::Warp)).
    #[must_use]
    pub fn bare_capsule(packet_len: usize) -> Self {
        let mut prefix = Self::new(&[capsule::DATAGRAM as u8], packet_len as u64);
        prefix.len -= 1;
        prefix
    }

    fn new(before: &[u8], number: u64) -> Self {
        let (encoded, encoded_len) = varint::to_array(number);
        let mut bytes = [0; MAX_PREFIX];
        let len = before.len() + encoded_len;
        bytes[..before.len()].copy_from_slice(before);
        bytes[before.len()..len].copy_from_slice(&encoded[..encoded_len]);
        // One more byte, which is 0: the Context ID.
        Self { bytes, len: len + 1 }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What an HTTP datagram's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An IP packet, which starts so many bytes in.
    Packet {
        /// Where it starts.
        offset: usize,
    },
    /// Another context, which nobody has registered: to be dropped.
    UnknownContext {
        /// Its id.
        id: u64,
    },
    /// Too short for its Context ID: to be dropped.
    Truncated,
}

impl Payload {
    /// Reads the Context ID at the start of an HTTP datagram's payload.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Self {
        match varint::decode(payload) {
            Some((IP_PACKETS, offset)) => Self::Packet { offset },
            Some((id, _)) => Self::UnknownContext { id },
            None => Self::Truncated,
        }
    }
}

/// The request stream a QUIC DATAGRAM frame belongs to, and where its payload starts. `None`: the Quarter Stream ID is
/// cut short or too great, a connection error (`H3_DATAGRAM_ERROR`).
#[must_use]
pub fn parse_quarter_stream_id(frame: &[u8]) -> Option<(u64, usize)> {
    let (quarter, len) = varint::decode(frame)?;
    (quarter <= MAX_QUARTER_STREAM_ID).then_some((quarter * 4, len))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::masque::capsule::{Capsule, Decoder, Limits};
    use proptest::prelude::*;

    #[test]
    fn d3_quarter_stream_ids_are_bounded() {
        assert_eq!(parse_quarter_stream_id(&[]), None);
        assert_eq!(parse_quarter_stream_id(&[0x40]), None);
        let of = |number| {
            let mut frame = Vec::new();
            varint::encode(number, &mut frame);
            parse_quarter_stream_id(&frame)
        };
        assert_eq!(of(MAX_QUARTER_STREAM_ID), Some((MAX_QUARTER_STREAM_ID * 4, 8)));
        assert_eq!(of(MAX_QUARTER_STREAM_ID + 1), None);
        assert_eq!(of(64), Some((256, 2)));
    }

    #[test]
    fn d7_unknown_contexts_are_named_and_not_taken_for_packets() {
        assert_eq!(Payload::parse(&[0, 0x45]), Payload::Packet { offset: 1 });
        assert_eq!(Payload::parse(&[0x40, 0, 0x45]), Payload::Packet { offset: 2 });
        for (bytes, id) in [(&[2, 0x45][..], 2), (&[0x40, 0x41], 65)] {
            assert_eq!(Payload::parse(bytes), Payload::UnknownContext { id });
        }
        assert_eq!(Payload::parse(&[]), Payload::Truncated);
        assert_eq!(Payload::parse(&[0x80, 0, 0]), Payload::Truncated);
    }

    proptest! {
        #[test]
        fn d8_a_datagram_means_the_same_in_a_frame_and_in_a_capsule(
            packet in prop::collection::vec(any::<u8>(), 0..100),
            quarter in 0..MAX_QUARTER_STREAM_ID,
        ) {
            let frame = [Prefix::quic(quarter * 4).bytes(), &packet].concat();
            let (stream_id, at) = parse_quarter_stream_id(&frame).unwrap();
            prop_assert_eq!(stream_id, quarter * 4);

            let capsule = [Prefix::capsule(packet.len()).bytes(), &packet].concat();
            let mut decoder = Decoder::new(Limits::default());
            let mut input = &capsule[..];
            let Some(Capsule::Datagram(payload)) = decoder.next(&mut input).unwrap() else { panic!("no datagram") };
            for payload in [&frame[at..], payload] {
                let Payload::Packet { offset } = Payload::parse(payload) else { panic!("no packet") };
                prop_assert_eq!(&payload[offset..], &packet[..]);
            }
        }
    }
}
