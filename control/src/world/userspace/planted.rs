//! Trouble that is made on purpose: one packet lost, one doubled, one overtaken by the next.

/// What is done to the packets of a flow.
pub(super) struct Planted {
    wanted: bool,
    number: u64,
    held: Option<Vec<u8>>,
}

impl Planted {
    const LOST: u64 = 100;
    const DOUBLED: u64 = 200;
    const OVERTAKEN: u64 = 300;

    /// Trouble when it is `wanted`.
    pub(super) fn when(wanted: bool) -> Self {
        Self { wanted, number: 0, held: None }
    }

    /// Sends a packet by `send`, or does with it what is planned. False when it was not taken.
    pub(super) fn send(&mut self, packet: Vec<u8>, send: impl Fn(Vec<u8>) -> bool) -> bool {
        if !self.wanted {
            return send(packet);
        }
        self.number += 1;
        match self.number {
            Self::LOST => true,
            Self::DOUBLED => send(packet.clone()) && send(packet),
            Self::OVERTAKEN => {
                self.held = Some(packet);
                true
            }
            _ => send(packet) && self.held.take().is_none_or(send),
        }
    }
}
