//! TCP for a path that neither loses nor reorders: no retransmission, no options. What such a path may not do ends the
//! connection with an error, so that nothing can hide behind a repair.

use super::{
    packet::{self, ACK, FIN, RST, SYN, TCP},
    stack::{Flow, Stack},
};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes sent and not acknowledged.
const WINDOW: u32 = 48 * 1024;
/// Payload of a full segment: fits a tunnel of the smallest MTU that IPv6 allows.
const SEGMENT: usize = 1280 - 20 - TCP;

/// What arrives for a connection.
#[derive(Debug)]
pub(super) enum Segment {
    /// A segment.
    Data { seq: u32, ack: u32, flags: u8, payload: Vec<u8> },
    /// The network says no.
    Unreachable,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    stack: Stack,
    flow: Flow,
    inbox: Receiver<Segment>,
    next: u32,
    acknowledged: u32,
    expected: u32,
    arrived: VecDeque<u8>,
    ended: bool,
    finished: bool,
    broken: Option<io::ErrorKind>,
}

impl Connection {
    /// Opens one from `local` to `remote`.
    pub(super) fn open(stack: &Stack, local: Ipv4Addr, remote: SocketAddrV4) -> io::Result<Self> {
        let (flow, inbox) = stack.open(local, remote);
        let mut connection = Self::new(stack.clone(), flow, inbox, 0);
        connection.transmit(SYN, &[]);
        connection.next = 1;
        match connection.inbox.recv_timeout(PATIENCE) {
            Ok(Segment::Data { seq, flags, .. }) if flags & (SYN | ACK | RST) == SYN | ACK => {
                connection.expected = seq.wrapping_add(1);
                connection.acknowledged = 1;
                connection.transmit(ACK, &[]);
                Ok(connection)
            }
            Ok(Segment::Data { .. }) => Err(io::ErrorKind::ConnectionRefused.into()),
            Ok(Segment::Unreachable) => Err(io::ErrorKind::HostUnreachable.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The other end of one whose first segment had the number `seq`.
    pub(super) fn accepted(stack: Stack, flow: Flow, inbox: Receiver<Segment>, seq: u32) -> Self {
        let mut connection = Self::new(stack, flow, inbox, seq.wrapping_add(1));
        connection.transmit(SYN | ACK, &[]);
        connection.next = 1;
        connection
    }

    fn new(stack: Stack, flow: Flow, inbox: Receiver<Segment>, expected: u32) -> Self {
        Self {
            stack,
            flow,
            inbox,
            next: 0,
            acknowledged: 0,
            expected,
            arrived: VecDeque::new(),
            ended: false,
            finished: false,
            broken: None,
        }
    }

    fn transmit(&self, flags: u8, payload: &[u8]) {
        let numbers = (self.next, self.expected, flags);
        self.stack.send(packet::tcp(self.flow.0, self.flow.1, numbers, payload));
    }

    /// Takes in what has arrived, waiting up to `patience` for the first of it.
    pub(super) fn pump(&mut self, patience: Duration) -> io::Result<()> {
        let mut wait = patience;
        loop {
            if let Some(kind) = self.broken {
                return Err(kind.into());
            }
            match self.inbox.recv_timeout(wait) {
                Ok(segment) => self.take(segment),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => self.broken = Some(io::ErrorKind::NotConnected),
            }
            wait = Duration::ZERO;
        }
    }

    /// Takes in what arrives until `done`, or fails when patience ends.
    fn pump_until(&mut self, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.pump(left)?;
        }
        Ok(())
    }

    fn take(&mut self, segment: Segment) {
        let Segment::Data { seq, ack, flags, payload } = segment else {
            self.broken = Some(io::ErrorKind::HostUnreachable);
            return;
        };
        if flags & RST != 0 {
            self.broken = Some(io::ErrorKind::ConnectionReset);
            return;
        }
        if flags & ACK != 0 && ack.wrapping_sub(self.acknowledged) <= self.next.wrapping_sub(self.acknowledged) {
            self.acknowledged = ack;
        }
        if payload.is_empty() && flags & FIN == 0 {
            return;
        }
        if seq != self.expected {
            // Lost, doubled or out of order before this one.
            self.broken = Some(io::ErrorKind::InvalidData);
            return;
        }
        self.expected = self.expected.wrapping_add(payload.len() as u32 + u32::from(flags & FIN));
        self.arrived.extend(payload);
        self.ended |= flags & FIN != 0;
        self.transmit(ACK, &[]);
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.next.wrapping_sub(self.acknowledged)) as usize
    }

    /// Takes what has arrived, without waiting.
    pub(super) fn arrived(&mut self) -> &[u8] {
        self.arrived.make_contiguous()
    }

    /// Lets go of what has arrived.
    pub(super) fn clear(&mut self) {
        self.arrived.clear();
    }

    /// The other end will send no more.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Tells the other end that no more comes.
    pub(super) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.transmit(FIN | ACK, &[]);
            self.next = self.next.wrapping_add(1);
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pump_until(|connection| !connection.arrived.is_empty() || connection.ended)?;
        self.arrived.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pump(Duration::ZERO)?;
        self.pump_until(|connection| connection.room() > 0)?;
        let count = bytes.len().min(SEGMENT).min(self.room());
        self.transmit(ACK, &bytes[..count]);
        self.next = self.next.wrapping_add(count as u32);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.broken.is_none() {
            self.finish();
        }
        self.stack.close(self.flow);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::testing, *};
    use crate::world::host::services::{answer_echo, answer_web};

    const HERE: Ipv4Addr = Ipv4Addr::new(100, 96, 0, 2);
    const THERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 80), 80);

    /// Two hosts whose adapters are joined back to back; `lose` says which packet is lost.
    fn joined(lose: Option<usize>) -> (Stack, Stack) {
        let (near, far) = testing::joined(lose);
        (Stack::start(near, "near").unwrap(), Stack::start(far, "far").unwrap())
    }

    #[test]
    fn bytes_go_there_and_back() {
        let (near, far) = joined(None);
        far.serve(THERE, |connection| drop(answer_echo(connection)));
        let mut connection = Connection::open(&near, HERE, THERE).unwrap();
        let message: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let mut back = Vec::new();
        for piece in message.chunks(10_000) {
            connection.write_all(piece).unwrap();
            let mut buffer = vec![0; piece.len()];
            connection.read_exact(&mut buffer).unwrap();
            back.extend(buffer);
        }
        assert_eq!(message, back);
    }

    #[test]
    fn a_page_ends_and_a_closed_port_refuses() {
        let (near, far) = joined(None);
        far.serve(THERE, |connection| drop(answer_web(connection)));
        let mut connection = Connection::open(&near, HERE, THERE).unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut page = String::new();
        connection.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        let closed = Connection::open(&near, HERE, SocketAddrV4::new(*THERE.ip(), 81));
        assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_lost_segment_is_not_repaired_but_told() {
        let (near, far) = joined(Some(6));
        far.serve(THERE, |connection| drop(answer_echo(connection)));
        let mut connection = Connection::open(&near, HERE, THERE).unwrap();
        let failed = (0..20).any(|_| {
            let mut buffer = [0; 5];
            connection.write_all(b"hello").and_then(|()| connection.read_exact(&mut buffer)).is_err()
        });
        assert!(failed);
    }
}
