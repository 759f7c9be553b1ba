//! Waiting with `ppoll`: three descriptors, nanosecond timeouts, no state in the kernel between waits.

use super::{Interest, Ready};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        time::TimeSpec,
    },
};
use std::{io, os::fd::AsFd, time::Duration};

#[derive(Debug)]
pub(super) struct Bell(EventFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    pub(super) fn ring(&self) {
        // The only failure is EAGAIN at a full counter, and a full counter rings already.
        let _ = self.0.write(1);
    }

    pub(super) fn wait(&self, interest: &Interest<'_>, timeout: Option<Duration>) -> io::Result<Ready> {
        let bell = self.0.as_fd();
        let mut socket_flags = PollFlags::empty();
        socket_flags.set(PollFlags::POLLIN, interest.readable);
        socket_flags.set(PollFlags::POLLOUT, interest.writable);
        let mut fds = [
            PollFd::new(bell, PollFlags::POLLIN),
            PollFd::new(interest.adapter.unwrap_or(bell), PollFlags::POLLIN),
            PollFd::new(interest.socket.unwrap_or(bell), socket_flags),
        ];
        match ppoll(&mut fds, timeout.map(TimeSpec::from), None) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Ready::default()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // Errors and hang-ups count as input: the next read tells what it is.
        let found = |index: usize| fds[index].revents().unwrap_or(PollFlags::empty());
        let ready = Ready {
            bell: !found(0).is_empty(),
            adapter: interest.adapter.is_some() && !found(1).is_empty(),
            socket: interest.socket.is_some() && !(found(2) - PollFlags::POLLOUT).is_empty(),
            writable: interest.socket.is_some() && found(2).contains(PollFlags::POLLOUT),
        };
        if ready.bell {
            // Fails only when another wait has silenced it already.
            let _ = self.0.read();
        }
        Ok(ready)
    }
}
