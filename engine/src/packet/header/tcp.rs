//! The TCP header.

/// A TCP header's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the first payload byte (or of SYN).
    pub seq: u32,
    /// Acknowledgement number; means nothing without ACK.
    pub ack: u32,
    /// CWR ECE URG ACK PSH RST SYN FIN, from the high bit down.
    pub flags: u8,
    /// Bytes of TCP header with options.
    pub header_len: usize,
    /// Bytes after it.
    pub payload_len: usize,
}

impl Tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion experienced, echoed.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;

    /// True when any of `flags` is set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// RFC 9293's SEG.LEN: payload bytes, and one each for SYN and FIN.
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        let len = self.payload_len + usize::from(self.has(Self::SYN)) + usize::from(self.has(Self::FIN));
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// The sequence number that follows this segment.
    #[must_use]
    pub fn next_seq(&self) -> u32 {
        self.seq.wrapping_add(self.sequence_len())
    }
}
