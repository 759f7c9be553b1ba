//! Flows that await their first bytes.

use super::first_bytes::{BUFFER_BYTES, Gather, Looked};
use super::{Direction, FirstBytes, FlowId, FlowTable, Standing};
use crate::packet::header::Headers;

/// Most buffers for first bytes that came in parts, 64 MiB of them: flows that find no room are of unknown protocol.
const MAX_BUFFERS: usize = (64 << 20) / BUFFER_BYTES;

impl FlowTable {
    /// Makes a flow wait for its first bytes.
    pub(crate) fn await_first_bytes(&mut self, id: FlowId) {
        if let Some(entry) = self.get_mut(id) {
            entry.standing = Standing::Pending;
            entry.first_bytes = Some(Box::new(FirstBytes::Awaited(Gather::default())));
        }
    }

    /// Shows a packet's payload to a flow that waits for its first bytes. True when they are known now.
    pub(crate) fn show(&mut self, id: FlowId, direction: Direction, headers: &Headers, payload: &[u8]) -> bool {
        let room = self.buffers < MAX_BUFFERS;
        let Some(entry) = self.get_mut(id) else { return false };
        let before = entry.buffers();
        let sides = match direction {
            Direction::Forward => (&entry.forward, &entry.reverse),
            Direction::Reverse => (&entry.reverse, &entry.forward),
        };
        let Some(first_bytes) = entry.first_bytes.as_deref_mut() else { return false };
        if let FirstBytes::Awaited(gather) = first_bytes
            && let Looked::Known(extracted) = gather.look(direction, headers, payload, sides, room)
        {
            *first_bytes = FirstBytes::Known(extracted);
        }
        let known = matches!(first_bytes, FirstBytes::Known(_));
        let after = entry.buffers();
        self.buffers = self.buffers + after - before;
        known
    }
}
