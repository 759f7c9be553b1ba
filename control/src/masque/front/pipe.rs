//! Bytes from a task to the stack's thread, or back, one way, bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes held: with the stack's own buffers they bound what a connection costs.
const ROOM: usize = 64 << 10;

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    ended: bool,
    broken: bool,
}

/// One way. One end is a task that may wait, the other a thread that never does.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    /// For the task.
    changed: Notify,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread gives what there is room for; how much that was.
    pub(super) fn give(&self, bytes: &[u8]) -> usize {
        let mut state = self.state();
        let taken = bytes.len().min(ROOM - state.bytes.len());
        state.bytes.extend(&bytes[..taken]);
        drop(state);
        if taken > 0 {
            self.changed.notify_one();
        }
        taken
    }

    /// True when nothing more can be given now.
    pub(super) fn is_full(&self) -> bool {
        self.state().bytes.len() >= ROOM
    }

    /// The thread takes what fits into `room`.
    pub(super) fn take(&self, room: &mut [u8]) -> usize {
        let mut state = self.state();
        let taken = take(&mut state.bytes, room);
        drop(state);
        if taken > 0 {
            self.changed.notify_one();
        }
        taken
    }

    /// True when there is nothing to take now.
    pub(super) fn is_empty(&self) -> bool {
        self.state().bytes.is_empty()
    }

    /// Nothing more will be given.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }

    /// Nothing more will move, and what is held is lost.
    pub(super) fn break_off(&self) {
        self.state().broken = true;
        self.changed.notify_one();
    }

    /// True when all was taken, and nothing will follow.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.ended && state.bytes.is_empty()
    }

    /// True when one end has given up.
    pub(super) fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// The task takes bytes, waiting for the first; 0 at the end.
    pub(super) async fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            {
                let mut state = self.state();
                if state.broken {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                let taken = take(&mut state.bytes, room);
                if taken > 0 || state.ended {
                    return Ok(taken);
                }
            }
            self.changed.notified().await;
        }
    }

    /// The task gives bytes, waiting for room; how many were given.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            {
                let mut state = self.state();
                if state.broken {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                let taken = bytes.len().min(ROOM - state.bytes.len());
                if taken > 0 || bytes.is_empty() {
                    state.bytes.extend(&bytes[..taken]);
                    return Ok(taken);
                }
            }
            self.changed.notified().await;
        }
    }
}

fn take(bytes: &mut VecDeque<u8>, room: &mut [u8]) -> usize {
    let taken = bytes.len().min(room.len());
    for (place, byte) in room.iter_mut().zip(bytes.drain(..taken)) {
        *place = byte;
    }
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn all_bytes_pass_in_order_and_no_more_than_agreed_wait() {
        let pipe = std::sync::Arc::new(Pipe::default());
        let sent: Vec<u8> = (0..3 * ROOM + 7).map(|n| (n % 251) as u8).collect();
        assert_eq!(pipe.give(&sent), ROOM);
        assert!(pipe.is_full());
        let (reader, mut rest) = (pipe.clone(), sent[ROOM..].to_vec());
        let reading = tokio::spawn(async move {
            let (mut got, mut room) = (Vec::new(), vec![0; 1000]);
            while let taken @ 1.. = reader.read(&mut room).await.unwrap() {
                got.extend_from_slice(&room[..taken]);
            }
            got
        });
        while !rest.is_empty() {
            rest.drain(..pipe.give(&rest));
            tokio::task::yield_now().await;
        }
        pipe.end();
        assert_eq!(reading.await.unwrap(), sent);
        assert!(pipe.is_over());
    }

    #[tokio::test]
    async fn a_writer_waits_for_room_and_a_break_frees_it() {
        let pipe = std::sync::Arc::new(Pipe::default());
        assert_eq!(pipe.write(&vec![1; 2 * ROOM]).await.unwrap(), ROOM);
        let writer = pipe.clone();
        let waiting = tokio::spawn(async move { writer.write(&[2]).await });
        tokio::task::yield_now().await;
        pipe.break_off();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(pipe.read(&mut [0]).await.is_err());
    }
}
