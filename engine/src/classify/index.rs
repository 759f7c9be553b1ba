//! From hash to slot: buckets that become more one at a time, by linear hashing (W. Litwin, *Linear hashing: a new tool for
//! file and table addressing*, VLDB 1980).
//!
//! All room is reserved at once and nothing is ever moved at large; but what has not held a flow has never been touched, and
//! few flows stay in few pages, however many have come and gone.

/// Buckets that there are from the beginning: a page of them. In tests fewer, so that few slots split them.
const FIRST: usize = if cfg!(test) { 4 } else { 512 };

/// Slot numbers by hash. A cell holds 32 bits of hash above a slot number plus one; zero is none.
#[derive(Debug)]
pub(super) struct Index {
    /// The first cell of each bucket. Those from `level + split` on are not in use.
    heads: Vec<u64>,
    /// By slot: the cell after it in its bucket.
    links: Vec<u64>,
    /// A power of two: buckets below `split` have been split in two, the other half is as far above this.
    level: usize,
    split: usize,
    len: usize,
}

impl Index {
    /// Room for slots below `capacity` in twice as many buckets. The zeroed cells cost no memory until used.
    pub(super) fn new(capacity: usize) -> Self {
        let buckets = (capacity.max(4) * 2).next_power_of_two();
        Self { heads: vec![0; buckets], links: vec![0; capacity.max(4)], level: FIRST.min(buckets), split: 0, len: 0 }
    }

    fn bucket(&self, hash: u32) -> usize {
        let bucket = hash as usize & (self.level - 1);
        if bucket < self.split { hash as usize & (self.level * 2 - 1) } else { bucket }
    }

    /// The slot with this hash that `matches`.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut matches: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut cell = self.heads[self.bucket(hash)];
        while cell != 0 {
            if hash_of(cell) == hash && matches(slot_of(cell)) {
                return Some(slot_of(cell));
            }
            cell = self.links[slot_of(cell) as usize];
        }
        None
    }

    /// Adds a slot that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        self.len += 1;
        // Two buckets for a slot, so it takes no more than two splits.
        while self.level + self.split < (self.len * 2).min(self.heads.len()) {
            self.split_one();
        }
        self.push(self.bucket(hash), u64::from(hash) << 32 | (u64::from(slot) + 1));
    }

    /// Removes a slot, if it is there.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let bucket = self.bucket(hash);
        let wanted = u64::from(hash) << 32 | (u64::from(slot) + 1);
        let mut before = None;
        let mut cell = self.heads[bucket];
        while cell != wanted {
            if cell == 0 {
                return;
            }
            before = Some(slot_of(cell) as usize);
            cell = self.links[slot_of(cell) as usize];
        }
        let after = self.links[slot as usize];
        match before {
            Some(before) => self.links[before] = after,
            None => self.heads[bucket] = after,
        }
        self.len -= 1;
    }

    fn push(&mut self, bucket: usize, cell: u64) {
        self.links[slot_of(cell) as usize] = self.heads[bucket];
        self.heads[bucket] = cell;
    }

    /// Splits the next bucket between itself and a new one, for which there must be room.
    fn split_one(&mut self) {
        let new = self.level + self.split;
        let mut cell = std::mem::take(&mut self.heads[self.split]);
        while cell != 0 {
            let next = self.links[slot_of(cell) as usize];
            let moves = hash_of(cell) as usize & self.level != 0;
            self.push(if moves { new } else { self.split }, cell);
            cell = next;
        }
        self.split += 1;
        if self.split == self.level {
            (self.level, self.split) = (self.level * 2, 0);
        }
    }
}

fn hash_of(cell: u64) -> u32 {
    (cell >> 32) as u32
}

fn slot_of(cell: u64) -> u32 {
    (cell as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::hash::siphash;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u32..24, 0usize..6, any::<bool>()), 1..120)) {
            // Few hash values, many collisions, some of which end as buckets are split; each slot keeps the hash it was
            // inserted with.
            const HASHES: [u32; 6] = [0, 1, 5, 16, 21, u32::MAX];
            let mut index = Index::new(24);
            let mut model = BTreeMap::new();
            for (slot, hash, add) in steps {
                let hash = HASHES[hash];
                if add && !model.contains_key(&slot) {
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                } else if let Some(hash) = model.remove(&slot) {
                    index.remove(hash, slot);
                }
                for slot in 0..24 {
                    for hash in HASHES {
                        let found = index.find(hash, |candidate| candidate == slot);
                        prop_assert_eq!(found.is_some(), model.get(&slot) == Some(&hash));
                    }
                }
            }
        }
    }

    fn hash(number: u32) -> u32 {
        siphash([1, 2], &[u64::from(number)]) as u32
    }

    #[test]
    fn all_are_found_while_it_grows_to_its_capacity_and_empties() {
        const MANY: u32 = 5000;
        let mut index = Index::new(MANY as usize);
        for slot in 0..MANY {
            index.insert(hash(slot), slot);
            for asked in [0, slot / 3, slot / 2, slot] {
                assert_eq!(index.find(hash(asked), |found| found == asked), Some(asked), "{slot}");
            }
            assert_eq!(index.find(hash(slot + 1), |found| found == slot + 1), None);
        }
        let length = |head: &u64| {
            let next = |cell: &u64| Some(index.links[slot_of(*cell) as usize]).filter(|cell| *cell != 0);
            std::iter::successors(Some(*head).filter(|cell| *cell != 0), next).count()
        };
        let lengths: Vec<usize> = index.heads.iter().map(length).collect();
        assert!(lengths.iter().all(|length| *length < 8) && lengths.iter().sum::<usize>() == MANY as usize);
        assert_eq!(index.level + index.split, MANY as usize * 2);
        for slot in 0..MANY {
            index.remove(hash(slot), slot);
            assert_eq!(index.find(hash(slot), |found| found == slot), None);
            let last = MANY - 1;
            assert_eq!(index.find(hash(last), |found| found == last).is_some(), slot < last);
        }
        assert!(index.heads.iter().all(|head| *head == 0));
    }

    #[test]
    fn a_few_at_a_time_stay_in_few_buckets_however_many_come_and_go() {
        let mut index = Index::new(1 << 20);
        for number in 0..100_000 {
            index.insert(hash(number), number % 64);
            if number >= 63 {
                index.remove(hash(number - 63), (number - 63) % 64);
            }
        }
        assert_eq!(index.level + index.split, 128, "two for each of the 64 that lived at a time");
        assert!(index.heads[128..].iter().all(|head| *head == 0));
        assert!(index.links[64..].iter().all(|link| *link == 0));
    }
}
