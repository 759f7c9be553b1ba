//! `recvmmsg` with `SO_TIMESTAMPNS`, and `sendmmsg`.

use super::{BATCH, LARGEST};
use nix::{
    cmsg_space,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt,
        },
        time::TimeSpec,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

pub(super) const KEEPS_TIME: bool = true;

pub(super) fn prepare(socket: &UdpSocket, buffer: usize) -> io::Result<()> {
    // Beyond the system's limit with CAP_NET_ADMIN, up to it without.
    if setsockopt(socket, sockopt::RcvBufForce, &buffer).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &buffer)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &buffer).is_err() {
        setsockopt(socket, sockopt::SndBuf, &buffer)?;
    }
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

#[derive(Debug)]
pub(super) struct Receiver {
    buffers: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { buffers: vec![0; BATCH * LARGEST] }
    }

    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        patience: Duration,
        mut take: impl FnMut(&[u8], u64),
    ) -> io::Result<usize> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.chunks_mut(LARGEST).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(cmsg_space!(TimeSpec)));
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let received = match received {
            Ok(received) => received,
            Err(nix::errno::Errno::EAGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut count = 0;
        for message in received {
            let mut at = 0;
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmTimestampns(time) = control {
                    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
                    at = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0);
                }
            }
            take(message.iovs().next().unwrap_or_default(), at);
            count += 1;
        }
        Ok(count)
    }
}

pub(super) fn send(socket: &UdpSocket, datagrams: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> = datagrams.iter().take(BATCH).map(|bytes| [IoSlice::new(bytes)]).collect();
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slices.len(), None);
    let addresses = vec![None; slices.len()];
    let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty())?;
    Ok(sent.count())
}
