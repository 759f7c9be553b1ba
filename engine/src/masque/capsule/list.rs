//! Lists of entries, read as they come.

use super::address::{self, AssignedAddress, RequestedAddress};
use super::decoder::Limits;
use super::route::{self, IpAddressRange};
use super::{ADDRESS_ASSIGN, ADDRESS_REQUEST, CapsuleError, ROUTE_ADVERTISEMENT};

/// The longest entry: a range of IPv6 addresses.
const MAX_ENTRY: usize = 34;

/// The entries of one capsule.
#[derive(Debug)]
pub(super) enum List {
    Assigned(Vec<AssignedAddress>),
    Requested(Vec<RequestedAddress>),
    Ranges(Vec<IpAddressRange>),
}

/// The part of a header or an entry that has come.
#[derive(Debug)]
pub(super) struct Part {
    bytes: [u8; MAX_ENTRY],
    pub(super) len: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self { bytes: [0; MAX_ENTRY], len: 0 }
    }
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Takes bytes until it holds `until`, and as many as `most`; returns how many.
    pub(super) fn fill(&mut self, input: &mut &[u8], until: usize, most: u64) -> usize {
        let room = until.min(MAX_ENTRY).saturating_sub(self.len);
        let taken = room.min(input.len()).min(usize::try_from(most).unwrap_or(usize::MAX));
        let (head, tail) = input.split_at(taken);
        if let Some(free) = self.bytes.get_mut(self.len..self.len + taken) {
            free.copy_from_slice(head);
        }
        self.len += taken;
        *input = tail;
        taken
    }
}

/// Reads entries of a list; true when it is complete.
pub(super) fn entries(
    list: &mut List,
    left: &mut u64,
    part: &mut Part,
    limits: &Limits,
    input: &mut &[u8],
) -> Result<bool, CapsuleError> {
    let kind = list.kind();
    while *left > 0 {
        let needed = list.needed(part.bytes())?;
        *left -= part.fill(input, needed, *left) as u64;
        if part.len < needed {
            break;
        }
        // The first bytes tell how many more there are.
        if list.needed(part.bytes())? == part.len {
            list.push(part.bytes(), limits)?;
            part.len = 0;
        }
    }
    if *left > 0 {
        return Ok(false);
    }
    if part.len > 0 {
        return Err(CapsuleError::Truncated { kind, got: part.len });
    }
    Ok(true)
}

impl List {
    fn kind(&self) -> u64 {
        match self {
            Self::Assigned(_) => ADDRESS_ASSIGN,
            Self::Requested(_) => ADDRESS_REQUEST,
            Self::Ranges(_) => ROUTE_ADVERTISEMENT,
        }
    }

    fn needed(&self, bytes: &[u8]) -> Result<usize, CapsuleError> {
        match self {
            Self::Assigned(_) | Self::Requested(_) => address::needed(self.kind(), bytes),
            Self::Ranges(_) => route::needed(bytes),
        }
    }

    fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), CapsuleError> {
        let (len, most) = match self {
            Self::Assigned(list) => (list.len(), limits.addresses),
            Self::Requested(list) => (list.len(), limits.addresses),
            Self::Ranges(list) => (list.len(), limits.routes),
        };
        if len == most {
            return Err(CapsuleError::TooMany { kind: self.kind(), most });
        }
        match self {
            Self::Assigned(list) => list.push(address::read(ADDRESS_ASSIGN, bytes)?),
            Self::Requested(list) => list.push(address::read_request(bytes)?),
            Self::Ranges(list) => {
                let range = route::read(bytes)?;
                route::follows(list.last(), &range, list.len()).map_err(CapsuleError::Routes)?;
                list.push(range);
            }
        }
        Ok(())
    }
}
