//! Inner control packets: the marker of a commit and its acknowledgement, and the end of an old generation's packets.
//!
//! They travel inside the tunnel as IPv4 packets of protocol 253 (experiments, RFC 3692) from and to the dummy address
//! 192.0.0.8 (RFC 7600), so that any WireGuard implementation treats them as packets, and none is ever forwarded.

use std::net::{IpAddr, Ipv4Addr};

/// From and to which they travel.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const PROTOCOL: u8 = 253;
const MAGIC: [u8; 5] = *b"VSTB\x01";
/// Length of either packet in bytes.
pub(crate) const CONTROL_LEN: usize = 48;

/// What one end tells the other about a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlPacket {
    /// Device: everything after this leaves under the generation that carries it.
    Marker {
        /// The order that is being answered.
        swap_seq: u64,
        /// The gateway's receiver index of the old generation's session; 0 when there was none.
        old_receiver: u32,
        /// Counter of the last packet sealed under the old generation.
        old_counter: u64,
    },
    /// Gateway: committed.
    Acknowledgement {
        /// Of this order.
        swap_seq: u64,
    },
    /// Either: nothing more follows under the generation that carries it, which answered this order.
    End {
        /// The order.
        swap_seq: u64,
    },
}

impl ControlPacket {
    /// True when the engine keeps packets of this address pair and protocol to itself, well-formed or not.
    pub(crate) fn claims(source: IpAddr, destination: IpAddr, protocol: u8) -> bool {
        protocol == PROTOCOL && (source == IpAddr::V4(ADDRESS) || destination == IpAddr::V4(ADDRESS))
    }

    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let packet: &[u8; CONTROL_LEN] = packet.try_into().ok()?;
        if packet[20..25] != MAGIC {
            return None;
        }
        let swap_seq = u64::from_be_bytes(*packet[28..].first_chunk()?);
        match packet[25] {
            1 => Some(Self::Marker {
                swap_seq,
                old_receiver: u32::from_be_bytes(*packet[36..].first_chunk()?),
                old_counter: u64::from_be_bytes(*packet[40..].first_chunk()?),
            }),
            2 => Some(Self::Acknowledgement { swap_seq }),
            3 => Some(Self::End { swap_seq }),
            _ => None,
        }
    }

    pub(crate) fn encode(self) -> [u8; CONTROL_LEN] {
        let mut packet = [0; CONTROL_LEN];
        packet[0] = 0x45;
        packet[3] = CONTROL_LEN as u8;
        packet[8] = 1;
        packet[9] = PROTOCOL;
        packet[12..16].copy_from_slice(&ADDRESS.octets());
        packet[16..20].copy_from_slice(&ADDRESS.octets());
        let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        packet[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        packet[20..25].copy_from_slice(&MAGIC);
        match self {
            Self::Marker { swap_seq, old_receiver, old_counter } => {
                packet[25] = 1;
                packet[28..36].copy_from_slice(&swap_seq.to_be_bytes());
                packet[36..40].copy_from_slice(&old_receiver.to_be_bytes());
                packet[40..48].copy_from_slice(&old_counter.to_be_bytes());
            }
            Self::Acknowledgement { swap_seq } | Self::End { swap_seq } => {
                packet[25] = if matches!(self, Self::End { .. }) { 3 } else { 2 };
                packet[28..36].copy_from_slice(&swap_seq.to_be_bytes());
            }
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_survive_the_wire() {
        for packet in [
            ControlPacket::Marker { swap_seq: u64::MAX - 1, old_receiver: 0xdead_beef, old_counter: 77 },
            ControlPacket::Acknowledgement { swap_seq: 12 },
            ControlPacket::End { swap_seq: 13 },
        ] {
            assert_eq!(ControlPacket::parse(&packet.encode()), Some(packet));
            assert_eq!(ControlPacket::parse(&packet.encode()[..47]), None);
        }
        assert!(ControlPacket::claims(ADDRESS.into(), ADDRESS.into(), 253));
        assert!(!ControlPacket::claims(ADDRESS.into(), ADDRESS.into(), 17));
    }
}
