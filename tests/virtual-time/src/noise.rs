//! Hostile datagrams: garbage, truncated and changed copies, replays.

use crate::{Random, generations::End, sim::Sim};
use std::{net::SocketAddr, time::Duration};

impl Sim {
    /// Throws noise at every end: none of it may be delivered, and it must disturb nothing.
    pub fn noise(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let stranger: SocketAddr = ([192, 0, 2, 66], 666).into();
        for end in std::iter::once(End::Gateway).chain((0..self.devices.len()).map(End::Device)) {
            let mut batch = Vec::new();
            for _ in 0..20 {
                let mut bytes: Vec<u8> = match self.wire.recent.get(random.index(self.wire.recent.len())) {
                    Some((to, bytes)) if *to == end && random.chance(700) => bytes.clone(),
                    _ => (0..random.below(200)).map(|_| random.bits() as u8).collect(),
                };
                match random.below(4) {
                    0 => bytes.truncate(random.index(bytes.len() + 1)),
                    1 if !bytes.is_empty() => {
                        let at = random.index(bytes.len());
                        bytes[at] ^= 1 << random.below(8);
                    }
                    2 if !bytes.is_empty() => bytes[0] = 1 + (random.bits() % 5) as u8,
                    // An exact copy: a replay.
                    _ => {}
                }
                // An exact copy from a stranger's address must not move the endpoint either.
                batch.push((stranger, bytes));
            }
            self.hand_in(end, &batch);
        }
        self.run(Duration::from_millis(50));
    }
}
