//! The chain of IPv6 extension headers.

use super::{Malformed, Part};

/// Most extension headers before the transport header. RFC 8200 knows seven kinds, destination options twice.
pub(super) const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Where the chain ends.
pub(super) struct Chain {
    pub(super) protocol: u8,
    pub(super) offset: usize,
    pub(super) part: Option<Part>,
}

/// Follows the chain that starts with `next` behind the fixed header of `packet`.
pub(super) fn walk(packet: &[u8], next: u8) -> Result<Chain, Malformed> {
    let mut chain = Chain { protocol: next, offset: 40, part: None };
    for _ in 0..=MAX_EXTENSIONS {
        let kind = chain.protocol;
        if !matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Ok(chain);
        }
        let header = packet.get(chain.offset..).ok_or(Malformed::Extension)?;
        let (fixed, _) = header.split_first_chunk::<8>().ok_or(Malformed::Extension)?;
        let len = match kind {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(fixed[1]) + 2) * 4,
            _ => (usize::from(fixed[1]) + 1) * 8,
        };
        if len > header.len() {
            return Err(Malformed::Extension);
        }
        // Segments left: the packet would travel on from the destination that the rules have judged.
        if kind == ROUTING && fixed[3] != 0 {
            return Err(Malformed::SourceRoute);
        }
        chain.protocol = fixed[0];
        chain.offset += len;
        if kind == FRAGMENT {
            if chain.part.is_some() {
                return Err(Malformed::Fragment);
            }
            let word = u16::from_be_bytes([fixed[2], fixed[3]]);
            let id = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            let part = Part { offset: usize::from(word & 0xfff8), more: word & 1 != 0, id };
            chain.part = Some(part);
            if part.offset > 0 {
                return Ok(chain); // what follows is the middle of something
            }
        }
    }
    Err(Malformed::ExtensionCount)
}
