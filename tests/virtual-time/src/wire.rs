//! The judge on the wire: which generation sealed a datagram, and whether it may have.

use crate::generations::{End, Generations, Life};
use std::collections::{BTreeSet, VecDeque};

/// What a datagram is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Handshake initiation with the sender's index.
    Initiation(u32),
    /// Handshake response: sender's and receiver's index.
    Response(u32, u32),
    /// Cookie reply.
    Cookie,
    /// Transport data: receiver's index and counter.
    Data(u32, u64),
    /// Anything else.
    Unknown,
}

/// Reads a datagram's kind.
#[must_use]
pub fn kind(bytes: &[u8]) -> Kind {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let long = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    match (word(0), bytes.len()) {
        (1, 148) => Kind::Initiation(word(4)),
        (2, 92) => Kind::Response(word(4), word(8)),
        (3, 64) => Kind::Cookie,
        (4, 32..) => Kind::Data(word(4), long(8)),
        _ => Kind::Unknown,
    }
}

/// Length of a keepalive datagram.
pub const KEEPALIVE: usize = 32;

/// Everything seen on the wire.
#[derive(Debug, Default)]
pub struct Wire {
    nonces: BTreeSet<(u32, u64)>,
    /// The last datagrams that arrived, and where.
    pub recent: VecDeque<(End, Vec<u8>)>,
    /// Handshake initiations sent: label and bytes.
    pub initiations: Vec<(u64, Vec<u8>)>,
    /// Data datagrams seen (keepalives included).
    pub data: u64,
}

impl Wire {
    /// Judges one call's datagrams, in order. `before` is the sender's active generation of each device before the
    /// call: what it sealed ahead of the first datagram of a new one is in order.
    pub fn judge(
        &mut self,
        from: End,
        datagrams: &[Vec<u8>],
        before: &[Option<u64>],
        generations: &Generations,
        complaints: &mut Vec<String>,
    ) {
        let mut new_seen = vec![false; before.len()];
        for bytes in datagrams {
            match kind(bytes) {
                Kind::Initiation(sender) => {
                    let label = generations.owner(sender).map_or(0, |(_, label)| label);
                    self.initiations.push((label, bytes.clone()));
                    if from == End::Gateway {
                        complaints.push("the gateway sent a handshake initiation towards a device".into());
                    }
                    self.handshake(from, sender, generations, complaints);
                }
                Kind::Response(sender, _) => self.handshake(from, sender, generations, complaints),
                Kind::Cookie => {}
                Kind::Data(receiver, counter) => {
                    self.data += 1;
                    if !self.nonces.insert((receiver, counter)) {
                        complaints.push(format!("{from:?} used counter {counter} of session {receiver:#x} twice"));
                    }
                    let Some((owner, label)) = generations.owner(receiver) else {
                        complaints.push(format!("{from:?} sealed for the unknown session {receiver:#x}"));
                        continue;
                    };
                    let Some(generation) = generations.all.get(&label) else { continue };
                    if owner == from {
                        complaints.push(format!("{from:?} sealed for its own session {receiver:#x}"));
                    }
                    let device = generation.device;
                    match generation.half(from).life {
                        Life::Active => new_seen[device] |= before[device] != Some(label),
                        Life::Preparing | Life::Ready if bytes.len() == KEEPALIVE => {}
                        Life::Draining(_) | Life::Gone if before[device] == Some(label) && !new_seen[device] => {}
                        life => complaints.push(format!(
                            "{from:?} sealed {} bytes under generation {label}, which is {life:?} there",
                            bytes.len()
                        )),
                    }
                }
                Kind::Unknown => complaints.push(format!("{from:?} sent {} bytes that are no message", bytes.len())),
            }
        }
    }

    /// Remembers a datagram that has arrived.
    pub fn remember(&mut self, at: End, bytes: &[u8]) {
        if self.recent.len() >= 64 {
            self.recent.pop_front();
        }
        self.recent.push_back((at, bytes.to_vec()));
    }

    fn handshake(&self, from: End, sender: u32, generations: &Generations, complaints: &mut Vec<String>) {
        let Some((owner, label)) = generations.owner(sender) else {
            complaints.push(format!("{from:?} shook hands with the unknown index {sender:#x}"));
            return;
        };
        let life = generations.all.get(&label).map_or(Life::Absent, |generation| generation.half(from).life);
        if owner != from || !(life.waits() || life == Life::Active) {
            complaints.push(format!("{from:?} shook hands under generation {label}, which is {life:?} there"));
        }
    }
}
