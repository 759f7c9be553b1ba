//! From hash to slot: open addressing with linear probing, never growing.

/// Slot numbers by hash. A cell holds 32 bits of hash above a slot number plus one; zero is empty.
#[derive(Debug)]
pub(super) struct Index {
    cells: Vec<u64>,
}

impl Index {
    /// Room for `capacity` slots at a load of at most one half. The zeroed cells cost no memory until used.
    pub(super) fn new(capacity: usize) -> Self {
        Self { cells: vec![0; (capacity.max(4) * 2).next_power_of_two()] }
    }

    fn mask(&self) -> usize {
        self.cells.len() - 1
    }

    /// The slot with this hash that `matches`.
    pub(super) fn find(&self, hash: u32, mut matches: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask();
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return None;
            }
            if (cell >> 32) as u32 == hash && matches(slot(cell)) {
                return Some(slot(cell));
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Adds a slot that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        let mut at = hash as usize & self.mask();
        while self.cells[at] != 0 {
            at = (at + 1) & self.mask();
        }
        self.cells[at] = u64::from(hash) << 32 | (u64::from(slot) + 1);
    }

    /// Removes a slot and closes the gap, so that no tombstones pile up.
    pub(super) fn remove(&mut self, hash: u32, slot_number: u32) {
        let mask = self.mask();
        let wanted = u64::from(hash) << 32 | (u64::from(slot_number) + 1);
        let mut gap = hash as usize & mask;
        while self.cells[gap] != wanted {
            if self.cells[gap] == 0 {
                return;
            }
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let cell = self.cells[at];
            if cell == 0 {
                break;
            }
            // A cell may move back to the gap unless its home lies behind the gap.
            let home = (cell >> 32) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.cells[gap] = cell;
                gap = at;
            }
        }
        self.cells[gap] = 0;
    }
}

fn slot(cell: u64) -> u32 {
    (cell as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u32..24, 0u32..6, any::<bool>()), 1..60)) {
            // Few hash values, many collisions: each slot keeps the hash it was inserted with.
            let mut index = Index::new(24);
            let mut model = BTreeMap::new();
            for (slot, hash, add) in steps {
                if add && !model.contains_key(&slot) {
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                } else if let Some(hash) = model.remove(&slot) {
                    index.remove(hash, slot);
                }
                for slot in 0..24 {
                    for hash in 0..6 {
                        let found = index.find(hash, |candidate| candidate == slot);
                        prop_assert_eq!(found.is_some(), model.get(&slot) == Some(&hash));
                    }
                }
            }
        }
    }
}
