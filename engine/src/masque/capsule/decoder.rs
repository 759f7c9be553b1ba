//! Capsules out of a byte stream that is cut anywhere.

use super::address::{AssignedAddress, RequestedAddress};
use super::list::{List, Part, entries};
use super::route::{IpAddressRange, Routes};
use super::{ADDRESS_ASSIGN, ADDRESS_REQUEST, Capsule, CapsuleError, DATAGRAM, ROUTE_ADVERTISEMENT};
use crate::masque::varint;

/// Bytes of a finished datagram's buffer that are kept for the next: two packets of an Ethernet.
const KEPT: usize = 3072;

/// What one peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest DATAGRAM value; longer ones are skipped (RFC 9297 section 3.5).
    pub datagram: usize,
    /// Most entries of an ADDRESS_ASSIGN or ADDRESS_REQUEST.
    pub addresses: usize,
    /// Most ranges of a ROUTE_ADVERTISEMENT.
    pub routes: usize,
    /// Nothing but datagrams means anything.
    pub datagrams_alone: bool,
}

impl Default for Limits {
    fn default() -> Self {
        // The largest IP packet behind the longest Context ID.
        Self { datagram: 65_535 + varint::MAX_LEN, addresses: 256, routes: 4096, datagrams_alone: false }
    }
}

/// Reads capsules. It acts on every entry as soon as it is there and never holds more than one datagram or list.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    /// A datagram that comes in pieces.
    datagram: Vec<u8>,
    /// The part of a header or an entry that has come.
    part: Part,
    failed: Option<CapsuleError>,
    skipped: u64,
    oversize: u64,
}

#[derive(Debug)]
enum State {
    /// Inside type and length.
    Header,
    /// Inside a value that means nothing to us.
    Skip { left: u64 },
    /// Inside a datagram.
    Datagram { left: usize },
    /// Inside a list.
    List { list: List, left: u64 },
}

/// What a step of the decoder ended with.
enum Step<'a> {
    Starved,
    Again,
    Borrowed(&'a [u8]),
    Collected,
    List(List),
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            datagram: Vec::new(),
            part: Part::default(),
            failed: None,
            skipped: 0,
            oversize: 0,
        }
    }

    /// Takes bytes off the front of `input` until a capsule is complete. `None`: all was taken and more is needed.
    /// A datagram that lies in `input` as a whole is borrowed from it.
    ///
    /// # Errors
    /// What is malformed; from then on nothing else is returned.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Capsule<'s>>, CapsuleError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let step = loop {
            match self.step(input) {
                Ok(Step::Again) => {}
                Ok(step) => break step,
                Err(error) => {
                    self.failed = Some(error);
                    return Err(error);
                }
            }
        };
        Ok(match step {
            Step::Starved | Step::Again => None,
            Step::Borrowed(payload) => Some(Capsule::Datagram(payload)),
            Step::Collected => Some(Capsule::Datagram(&self.datagram)),
            Step::List(List::Assigned(list)) => Some(Capsule::AddressAssign(list)),
            Step::List(List::Requested(list)) => Some(Capsule::AddressRequest(list)),
            Step::List(List::Ranges(list)) => match Routes::new(list) {
                Ok(routes) => Some(Capsule::RouteAdvertisement(routes)),
                Err(error) => {
                    let error = CapsuleError::Routes(error);
                    self.failed = Some(error);
                    return Err(error);
                }
            },
        })
    }

    /// Tells that the stream ended.
    ///
    /// # Errors
    /// It ended inside a capsule.
    pub fn finish(&self) -> Result<(), CapsuleError> {
        match &self.state {
            _ if self.failed.is_some() => self.failed.map_or(Ok(()), Err),
            State::Header if self.part.len == 0 => Ok(()),
            State::Header => Err(CapsuleError::StreamEnded { missing: 0 }),
            State::Skip { left } | State::List { left, .. } => Err(CapsuleError::StreamEnded { missing: *left }),
            State::Datagram { left } => Err(CapsuleError::StreamEnded { missing: *left as u64 }),
        }
    }

    /// Capsules of unknown type that were skipped so far.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Datagrams that were skipped because no packet is so long.
    #[must_use]
    pub fn oversize(&self) -> u64 {
        self.oversize
    }

    /// Bytes of memory behind what has come and is not complete.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let list = match &self.state {
            State::List { list: List::Assigned(list), .. } => list.capacity() * size_of::<AssignedAddress>(),
            State::List { list: List::Requested(list), .. } => list.capacity() * size_of::<RequestedAddress>(),
            State::List { list: List::Ranges(list), .. } => list.capacity() * size_of::<IpAddressRange>(),
            _ => 0,
        };
        self.datagram.capacity() + list
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Step<'a>, CapsuleError> {
        match &mut self.state {
            State::Header => Ok(self.header(input)),
            State::Skip { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *input = input.split_at(taken).1;
                *left -= taken as u64;
                if *left > 0 {
                    return Ok(Step::Starved);
                }
                self.state = State::Header;
                Ok(Step::Again)
            }
            State::Datagram { left } => {
                let whole = self.datagram.is_empty() && input.len() >= *left;
                let (head, tail) = input.split_at((*left).min(input.len()));
                *input = tail;
                if whole {
                    self.state = State::Header;
                    return Ok(Step::Borrowed(head));
                }
                self.datagram.extend_from_slice(head);
                *left -= head.len();
                if *left > 0 {
                    return Ok(Step::Starved);
                }
                self.state = State::Header;
                Ok(Step::Collected)
            }
            State::List { list, left } => {
                let read = entries(list, left, &mut self.part, &self.limits, input)?;
                if !read {
                    return Ok(Step::Starved);
                }
                match std::mem::replace(&mut self.state, State::Header) {
                    State::List { list: List::Requested(list), .. } if list.is_empty() => {
                        Err(CapsuleError::NothingRequested)
                    }
                    State::List { list, .. } => Ok(Step::List(list)),
                    _ => Ok(Step::Again),
                }
            }
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Step<'static> {
        let (kind, len) = loop {
            let bytes = self.part.bytes();
            let type_len = bytes.first().map_or(1, |first| varint::len_from_first(*first));
            let needed = type_len + bytes.get(type_len).map_or(1, |first| varint::len_from_first(*first));
            if bytes.len() == needed
                && let Some((kind, _)) = varint::decode(bytes)
                && let Some((len, _)) = bytes.get(type_len..).and_then(varint::decode)
            {
                break (kind, len);
            }
            if self.part.fill(input, needed, u64::MAX) == 0 {
                return Step::Starved;
            }
        };
        self.part.len = 0;
        if self.datagram.capacity() > KEPT {
            self.datagram = Vec::new();
        }
        self.datagram.clear();
        self.state = match (kind, usize::try_from(len)) {
            (DATAGRAM, Ok(left)) if left <= self.limits.datagram => State::Datagram { left },
            (ADDRESS_ASSIGN | ADDRESS_REQUEST | ROUTE_ADVERTISEMENT, _) if self.limits.datagrams_alone => {
                self.skipped += 1;
                State::Skip { left: len }
            }
            (ADDRESS_ASSIGN, _) => State::List { list: List::Assigned(Vec::new()), left: len },
            (ADDRESS_REQUEST, _) => State::List { list: List::Requested(Vec::new()), left: len },
            (ROUTE_ADVERTISEMENT, _) => State::List { list: List::Ranges(Vec::new()), left: len },
            _ => {
                *(if kind == DATAGRAM { &mut self.oversize } else { &mut self.skipped }) += 1;
                State::Skip { left: len }
            }
        };
        Step::Again
    }
}
