//! An `AF_PACKET` socket with a classic BPF filter, so that load costs it nothing.

#![expect(unsafe_code, reason = "packet sockets and their filters have no safe wrapper")]

use super::{INITIATION, INITIATION_TYPE};
use nix::{
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    mem::size_of,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Tap {
    socket: File,
    missed: u64,
    buffer: Vec<u8>,
}

impl Tap {
    pub(super) fn open(interface: &str, port: u16) -> io::Result<Self> {
        // Protocol 0 receives nothing until `bind` names one: no unfiltered packet slips in before the filter.
        // SAFETY: no pointers; the descriptor, when not negative, is new and owned by nobody else.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0);
            if socket < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(socket)
        };
        let mut filter = filter(port);
        let program = libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_mut_ptr() };
        // SAFETY: `program` and the instructions it points to outlive the call, which copies them.
        let attached = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if attached != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: plain integers, for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
        address.sll_ifindex = i32::try_from(if_nametoindex(interface)?).unwrap_or(0);
        // SAFETY: `address` is a whole `sockaddr_ll` and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket: File::from(socket), missed: 0, buffer: vec![0; 65_536] })
    }

    pub(super) fn receive(&mut self, patience: Duration, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, timeout)?;
        let mut any = false;
        loop {
            match self.socket.read(&mut self.buffer) {
                Ok(count) => take(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            any = true;
        }
    }

    pub(super) fn missed(&mut self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: `statistics` has `length` bytes of room and outlives the call.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if got != 0 {
            return Err(io::Error::last_os_error());
        }
        // Reading resets the kernel's counters.
        self.missed += u64::from(statistics.tp_drops);
        Ok(self.missed)
    }
}

/// The first word of a QUIC Initial: a long header's first byte, and three bytes of version 1.
const QUIC_INITIAL: u32 = 0xc000_0000;
const QUIC_INITIAL_MASK: u32 = 0xf0ff_ffff;

/// Passes IPv4 UDP to `port` whose payload begins like a QUIC Initial, or it or its last 148 bytes like an initiation.
fn filter(port: u16) -> Vec<libc::sock_filter> {
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_IND;
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H;
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const EQUALS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    vec![
        instruction(LOAD_BYTE, 0, 0, 9), // protocol
        instruction(EQUALS, 0, 16, u32::from(libc::IPPROTO_UDP as u8)),
        instruction(LOAD_HALF | libc::BPF_ABS, 0, 0, 6), // fragment offset
        instruction(ANY_SET, 14, 0, 0x1fff),
        instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0), // X = IPv4 header's length
        instruction(LOAD_HALF | libc::BPF_IND, 0, 0, 2),                   // destination port
        instruction(EQUALS, 0, 11, u32::from(port)),
        instruction(LOAD_WORD, 0, 0, 8), // first bytes of the payload
        instruction(EQUALS, 8, 0, INITIATION_TYPE),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, QUIC_INITIAL_MASK),
        instruction(EQUALS, 6, 0, QUIC_INITIAL),
        instruction(LOAD_HALF | libc::BPF_IND, 0, 0, 4), // UDP length
        instruction(libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K, 0, 0, INITIATION as u32),
        instruction(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0, 0, 0),
        instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        instruction(LOAD_WORD, 0, 0, 0), // first bytes of the last 148
        instruction(EQUALS, 0, 1, INITIATION_TYPE),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}
