//! Sees handshakes of WireGuard and QUIC on the wire, from outside the engine.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "unsupported.rs"]
mod imp;

use std::{collections::HashSet, io, time::Duration};

/// Size of a WireGuard handshake initiation.
const INITIATION: usize = 148;
/// Size of its last field, `mac2`.
const COOKIE_MAC: usize = 16;
/// Its first four bytes: type 1, three zeros.
const INITIATION_TYPE: u32 = 0x0100_0000;
/// QUIC's version 1.
const QUIC_V1: [u8; 4] = [0, 0, 0, 1];

/// Initiations kept whole.
const RECORDED: usize = 8;

/// Counts the distinct handshakes that are begun at one UDP port of one interface (IPv4).
#[derive(Debug)]
pub struct Initiations {
    tap: imp::Tap,
    seen: HashSet<[u8; 36]>,
    recorded: Vec<Vec<u8>>,
}

impl Initiations {
    /// Begins to listen on `interface` for datagrams to `port`.
    ///
    /// # Errors
    /// No such interface, no right to capture (CAP_NET_RAW), or not Linux.
    pub fn listen(interface: &str, port: u16) -> io::Result<Self> {
        Ok(Self { tap: imp::Tap::open(interface, port)?, seen: HashSet::new(), recorded: Vec::new() })
    }

    /// Takes in what came, waiting up to `patience`. Returns whether anything did.
    ///
    /// # Errors
    /// The capture failed.
    pub fn pump(&mut self, patience: Duration) -> io::Result<bool> {
        let Self { tap, seen, recorded } = self;
        tap.receive(patience, |packet| {
            for (key, message) in initiations(packet) {
                if seen.insert(key) {
                    recorded.truncate(RECORDED - 1);
                    recorded.insert(0, message);
                }
            }
        })
    }

    /// Distinct ones so far: WireGuard's differ in sender index or ephemeral key, QUIC's in the client's connection ID.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// The last few, newest first, for whoever looks closer or tests that a replay does nothing.
    pub fn recorded(&self) -> impl Iterator<Item = &[u8]> {
        self.recorded.iter().map(Vec::as_slice)
    }

    /// Packets that the kernel could not hand over; the count is exact while this is zero.
    ///
    /// # Errors
    /// The capture failed.
    pub fn missed(&mut self) -> io::Result<u64> {
        self.tap.missed()
    }
}

/// Names the QUIC handshake (RFC 9000 section 17.2.2) that a client's datagram belongs to, by the connection ID that the
/// client chose; `None` for other datagrams.
#[must_use]
pub fn quic_handshake(datagram: &[u8]) -> Option<[u8; 36]> {
    let (first, rest) = datagram.split_first()?;
    let (version, rest) = rest.split_first_chunk()?;
    // A long header, and of its types an Initial.
    if first & 0xf0 != 0xc0 || *version != QUIC_V1 {
        return None;
    }
    let (len, rest) = rest.split_first()?;
    let (len, rest) = rest.get(usize::from(*len)..)?.split_first()?;
    let id = rest.get(..usize::from(*len)).filter(|id| id.len() <= 20)?;
    let mut key = [0xff; 36];
    key[..id.len()].copy_from_slice(id);
    Some(key)
}

/// The initiations, by sender index and ephemeral key, in an IPv4 packet that may hold several datagrams of one send
/// (segmentation offload): all are of equal size but the last, so an initiation is the first or the last of them.
fn initiations(packet: &[u8]) -> Vec<([u8; 36], Vec<u8>)> {
    let header = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    let Some(payload) = packet.get(header + 8..) else { return Vec::new() };
    let Some(last) = payload.len().checked_sub(INITIATION) else { return Vec::new() };
    let mut found: Vec<([u8; 36], Vec<u8>)> = Vec::new();
    found.extend(quic_handshake(payload).map(|key| (key, Vec::new())));
    for start in [0, last] {
        let message = &payload[start..start + INITIATION];
        // Where the last 148 bytes are the tail of a longer datagram, a counter in its header may look like the type.
        // An initiation's last field is zeros, unless its sender was asked for a cookie.
        let begins = start == 0 || message[INITIATION - COOKIE_MAC..] == [0; COOKIE_MAC];
        if begins
            && message.starts_with(&INITIATION_TYPE.to_be_bytes())
            && let Ok(key) = message[4..40].try_into()
            && !found.iter().any(|(known, _)| *known == key)
        {
            found.push((key, message.to_vec()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(datagrams: &[&[u8]]) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        datagrams.iter().for_each(|datagram| packet.extend_from_slice(datagram));
        packet
    }

    fn keys(packet: &[u8]) -> Vec<[u8; 36]> {
        initiations(packet).into_iter().map(|(key, _)| key).collect()
    }

    fn initiation(index: u8) -> Vec<u8> {
        let mut message = vec![index; INITIATION];
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        message[INITIATION - COOKIE_MAC..].fill(0);
        message
    }

    #[test]
    fn an_initiation_is_found_alone_first_and_last_in_a_batch() {
        let data = vec![4; 1452];
        let short = vec![4; 96];
        assert_eq!(keys(&packet(&[&initiation(7)])), [[7; 36]]);
        assert_eq!(keys(&packet(&[&initiation(7), &short])), [[7; 36]]);
        assert_eq!(keys(&packet(&[&data, &data, &initiation(9)])), [[9; 36]]);
        assert_eq!(keys(&packet(&[&initiation(1), &initiation(2)])), [[1; 36], [2; 36]]);
    }

    #[test]
    fn a_quic_client_s_initials_are_one_handshake() {
        let initial = |first: u8, version: u8, id: u8, len: usize| {
            let mut datagram = vec![first, 0, 0, 0, version, 4, 1, 2, 3, 4, 8];
            datagram.extend([id; 8]);
            datagram.resize(len, 0x55);
            datagram
        };
        let expected = |id: u8| [vec![id; 8], vec![0xff; 28]].concat();
        assert_eq!(keys(&packet(&[&initial(0xc3, 1, 7, 1350), &initial(0xc1, 1, 7, 1350)])), [&expected(7)[..]]);
        assert_eq!(keys(&packet(&[&initial(0xc0, 1, 8, 1350)])), [&expected(8)[..]]);
        for other in [initial(0x43, 1, 7, 1350), initial(0xe3, 1, 7, 1350), initial(0xc3, 2, 7, 1350)] {
            assert!(keys(&packet(&[&other])).is_empty(), "not an Initial of version 1");
        }
        for cut in 0..19 {
            assert_eq!(quic_handshake(&initial(0xc3, 1, 7, 1350)[..cut]), None);
        }
    }

    #[test]
    fn other_datagrams_are_not_initiations() {
        let mut response = vec![2; 148];
        response[1..4].fill(0);
        assert!(initiations(&packet(&[&response])).is_empty());
        assert!(initiations(&packet(&[&[1, 0, 0, 0]])).is_empty());
        // A data message of 157 bytes with a counter of 0x01c8, whose upper bytes begin the last 148.
        let mut data = vec![0x5a; 157];
        data[..16].copy_from_slice(&[4, 0, 0, 0, 9, 9, 9, 9, 0xc8, 1, 0, 0, 0, 0, 0, 0]);
        assert!(initiations(&packet(&[&data])).is_empty());
        assert!(initiations(&[]).is_empty());
    }
}
