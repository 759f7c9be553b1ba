//! The four WireGuard messages, as far as their plain text goes (WireGuard paper, section 5.4).

/// Bytes that sealing adds: type and reserved 4, receiver index 4, counter 8, tag 16.
pub(crate) const DATA_OVERHEAD: usize = 32;
/// Those of them that come first.
pub(crate) const DATA_HEADER: usize = 16;

/// Type 1: type 4, sender index 4, ephemeral 32, sealed static 48, sealed timestamp 28, mac1 16, mac2 16.
pub(crate) const INITIATION_LEN: usize = 148;
/// Type 2: type 4, sender index 4, receiver index 4, ephemeral 32, sealed nothing 16, mac1 16, mac2 16.
pub(crate) const RESPONSE_LEN: usize = 92;
/// Type 3: type 4, receiver index 4, nonce 24, sealed cookie 32.
pub(crate) const COOKIE_LEN: usize = 64;
/// mac1 and mac2, at the end of both handshake messages.
pub(crate) const MACS: usize = 32;
/// Type 4's plain part: type 4, receiver index 4, counter 8.
pub(crate) const DATA_HEAD: usize = 16;

/// The plain start of a data message (paper, section 5.4.6).
#[inline]
pub(crate) fn data_header(receiver: u32, counter: u64) -> [u8; DATA_HEADER] {
    let mut header = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&receiver.to_le_bytes());
    header[8..].copy_from_slice(&counter.to_le_bytes());
    header
}

/// A datagram's kind and the fields that are readable without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Type 1.
    Initiation,
    /// Type 2, for our handshake `receiver`.
    Response { receiver: u32 },
    /// Type 3, for our handshake `receiver`.
    Cookie { receiver: u32 },
    /// Type 4, for our session `receiver`.
    Data { receiver: u32, counter: u64 },
}

/// The plain part of a data message.
pub(crate) fn data_head(receiver: u32, counter: u64) -> [u8; DATA_HEAD] {
    let mut head = [0; DATA_HEAD];
    head[..4].copy_from_slice(&4_u32.to_le_bytes());
    head[4..8].copy_from_slice(&receiver.to_le_bytes());
    head[8..].copy_from_slice(&counter.to_le_bytes());
    head
}

impl Message {
    /// Reads type, reserved bytes, length and indices; `None` when it is no WireGuard message.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = u32::from_le_bytes(*datagram.first_chunk()?);
        let word = |at: usize| Some(u32::from_le_bytes(*datagram.get(at..)?.first_chunk()?));
        match (kind, datagram.len()) {
            (1, INITIATION_LEN) => Some(Self::Initiation),
            (2, RESPONSE_LEN) => Some(Self::Response { receiver: word(8)? }),
            (3, COOKIE_LEN) => Some(Self::Cookie { receiver: word(4)? }),
            (4, DATA_OVERHEAD..) => {
                Some(Self::Data { receiver: word(4)?, counter: u64::from_le_bytes(*datagram.get(8..)?.first_chunk()?) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_need_their_exact_length_and_zero_reserved_bytes() {
        let mut data = vec![0; 32];
        data[0] = 4;
        data[4..8].copy_from_slice(&0x0102_0304_u32.to_le_bytes());
        data[8] = 9;
        assert_eq!(Message::parse(&data), Some(Message::Data { receiver: 0x0102_0304, counter: 9 }));
        data[1] = 1;
        assert_eq!(Message::parse(&data), None);
        assert_eq!(Message::parse(&[4, 0, 0, 0]), None);
        assert_eq!(Message::parse(&[]), None);
        let mut initiation = vec![0; 148];
        initiation[0] = 1;
        assert_eq!(Message::parse(&initiation), Some(Message::Initiation));
        assert_eq!(Message::parse(&initiation[..147]), None);
    }
}
