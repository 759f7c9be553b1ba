//! One request, one answer over a blocking rtnetlink socket.

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use std::io;

/// Attempts at a listing that changes while the kernel writes it.
const ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// A socket in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Changes something; `flags` are those beyond request and acknowledgement.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
    }

    /// Lists everything of the message's kind.
    pub(crate) fn list(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)? {
                return Ok(found);
            }
        }
        Err(io::Error::other("the kernel's listing changed with every attempt to read it"))
    }

    /// All answers; `None` for a listing that was interrupted by a change.
    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let mut rest = &answer[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                // Messages are padded to four bytes.
                let len = (message.header.length as usize).next_multiple_of(4).max(4).min(rest.len());
                rest = &rest[len..];
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(found)),
                    NetlinkPayload::Error(error) => {
                        // Without a code it is the acknowledgement.
                        return if error.code.is_none() { Ok(Some(found)) } else { Err(error.to_io()) };
                    }
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    _ => {}
                }
            }
        }
    }
}
