//! Bytes between a socket and its pipes.

use crate::masque::front::dial::Pipes;
use smoltcp::socket::tcp;

/// Moves what can move between a socket and its pipes.
pub(super) fn exchange(socket: &mut tcp::Socket<'_>, pipes: &Pipes, closed: &mut bool) -> bool {
    if pipes.up.is_broken() {
        if socket.state() != tcp::State::Closed {
            socket.abort();
            return true;
        }
        return false;
    }
    let mut moved = false;
    while socket.can_recv() && !pipes.down.is_full() {
        let taken = socket.recv(|bytes| {
            let taken = pipes.down.give(bytes);
            (taken, taken)
        });
        match taken {
            Ok(1..) => moved = true,
            _ => break,
        }
    }
    if !socket.may_recv() {
        match socket.recv(|_| (0, ())) {
            Err(tcp::RecvError::InvalidState) if socket.state() == tcp::State::Closed && !pipes.down.is_over() => {
                pipes.down.break_off();
            }
            _ => pipes.down.end(),
        }
    }
    while socket.can_send() && !pipes.up.is_empty() {
        let given = socket.send(|room| {
            let given = pipes.up.take(room);
            (given, given)
        });
        match given {
            Ok(1..) => moved = true,
            _ => break,
        }
    }
    if pipes.up.is_over() && !std::mem::replace(closed, true) {
        socket.close();
        moved = true;
    }
    moved
}
