//! Ranges over a line of numbers, and which of them hold a point: a segment tree without its empty nodes.
//!
//! A range costs as many entries as the tree needs nodes to cover it: one or two for a prefix with little inside it, at
//! most twice the tree's height for any. A look-up is a binary search and a walk over the nodes around the point that
//! hold something, each of which lists its ranges' values in ascending order.

/// A number on the line.
pub(super) trait Point: Copy + Ord {
    /// The least.
    const MIN: Self;
    /// The next one, if there is.
    fn after(self) -> Option<Self>;
    /// The one before, if there is.
    fn before(self) -> Option<Self>;
    /// Its upper 16 bits.
    fn upper(self) -> u16;
}

macro_rules! point {
    ($($number:ty),*) => {$(
        impl Point for $number {
            const MIN: Self = 0;
            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }
            fn upper(self) -> u16 {
                (self >> (<$number>::BITS - 16)) as u16
            }
        }
    )*};
}
point!(u16, u32, u128);

const NONE: u32 = u32::MAX;
/// Intervals from which on a search begins at the upper bits; their table takes 256 KiB.
const MANY: usize = 1 << 15;

/// Values by range.
#[derive(Debug)]
pub(super) struct Stab<K> {
    /// Where an elementary interval begins; it ends where the next one does.
    starts: Vec<K>,
    /// Of many: how many begin below each number of upper bits, so that a search reads a few lines of memory, not twenty.
    below: Vec<u32>,
    /// Per interval: the innermost node around it that holds something.
    innermost: Vec<u32>,
    nodes: Vec<Node>,
    values: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    /// The next node outwards that holds something.
    outer: u32,
    /// Its place in [`Stab::values`].
    from: u32,
    to: u32,
}

impl<K: Point> Stab<K> {
    /// Builds from (first, last, value). Behind a value that `ends` its list no larger one is kept: whoever asks for
    /// the least value needs none.
    pub(super) fn new(ranges: &[(K, K, u32)], ends: impl Fn(u32) -> bool) -> Self {
        let mut starts: Vec<K> =
            ranges.iter().flat_map(|range| std::iter::once(range.0).chain(range.1.after())).collect();
        starts.sort_unstable();
        starts.dedup();
        let count = starts.len();
        let place = |point: Option<K>| point.map_or(count, |point| starts.partition_point(|start| *start < point));
        // Nodes as in a heap: 1 is the root, `count + i` is the leaf of interval `i`.
        let mut entries: Vec<u64> = Vec::with_capacity(ranges.len() * 2);
        for &(first, last, value) in ranges {
            let (mut left, mut right) = (place(Some(first)) + count, place(last.after()) + count);
            while left < right {
                if left & 1 == 1 {
                    entries.push((left as u64) << 32 | u64::from(value));
                    left += 1;
                }
                if right & 1 == 1 {
                    right -= 1;
                    entries.push((right as u64) << 32 | u64::from(value));
                }
                left >>= 1;
                right >>= 1;
            }
        }
        entries.sort_unstable();
        entries.dedup();
        let (mut nodes, mut values) = (Vec::new(), Vec::with_capacity(entries.len()));
        let mut innermost = vec![NONE; count * 2];
        let mut entries = entries.into_iter().peekable();
        for heap in 1..count * 2 {
            let outer = innermost[heap / 2];
            innermost[heap] = outer;
            let (from, mut ended) = (values.len() as u32, false);
            while let Some(entry) = entries.next_if(|entry| (entry >> 32) as usize == heap) {
                if !ended {
                    values.push(entry as u32);
                    ended = ends(entry as u32);
                }
            }
            let to = values.len() as u32;
            if from < to {
                innermost[heap] = nodes.len() as u32;
                nodes.push(Node { outer, from, to });
            }
        }
        innermost.drain(..count);
        values.shrink_to_fit();
        let mut below = Vec::new();
        if count > MANY {
            below.resize((1 << 16) + 1, 0_u32);
            for start in &starts {
                below[usize::from(start.upper()) + 1] += 1;
            }
            for at in 1..below.len() {
                below[at] += below[at - 1];
            }
        }
        Self { starts, below, innermost, nodes, values }
    }

    /// The values of the ranges around `point`: lists in ascending order, a value at most once in all of them unless its
    /// ranges overlap.
    #[inline]
    pub(super) fn around(&self, point: K) -> impl Iterator<Item = &[u32]> {
        let upper = usize::from(point.upper());
        let behind = match self.below.get(upper..upper + 2) {
            Some(&[from, to]) => {
                from as usize + self.starts[from as usize..to as usize].partition_point(|start| *start <= point)
            }
            _ => self.starts.partition_point(|start| *start <= point),
        };
        let mut next = behind.checked_sub(1).and_then(|at| self.innermost.get(at)).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let node = self.nodes.get(next as usize)?;
            next = node.outer;
            Some(&self.values[node.from as usize..node.to as usize])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_ranges_are_found_by_their_upper_bits() {
        let range = |value: u32| (value.wrapping_mul(0x9e37_79b9) & !0xff, value);
        let mut ranges: Vec<(u32, u32, u32)> =
            (0..40_000).map(range).map(|(first, value)| (first, first | 0xff, value)).collect();
        ranges.push((0, u32::MAX, 40_000));
        let stab = Stab::new(&ranges, |_| false);
        assert!(!stab.below.is_empty());
        for &(first, last, value) in &ranges {
            for point in [first, last] {
                assert!(stab.around(point).flatten().any(|found| *found == value), "{point:x}");
                assert!(stab.around(point).flatten().any(|found| *found == 40_000));
            }
        }
    }

    proptest! {
        #[test]
        fn equals_asking_every_range(
            ranges in prop::collection::vec((0u16..40, 0u16..12, any::<bool>()), 0..20),
            end in any::<bool>(),
        ) {
            let ranges: Vec<(u16, u16, u32)> = (0..).zip(&ranges).map(|(value, &(first, len, high))| {
                if high { (65_535 - first, 65_535 - first.saturating_sub(len), value) } else { (first, first + len, value) }
            }).collect();
            let stab = Stab::new(&ranges, |value| end && value % 2 == 0);
            for point in (0..60).chain(65_480..=65_535) {
                let wanted: Vec<u32> =
                    ranges.iter().filter(|range| (range.0..=range.1).contains(&point)).map(|range| range.2).collect();
                let mut found: Vec<u32> = stab.around(point).flatten().copied().collect();
                found.sort_unstable();
                if end {
                    // Nothing is lost up to the first value that ends a list.
                    let until = wanted.iter().position(|value| value % 2 == 0).map_or(wanted.len(), |at| at + 1);
                    prop_assert!(wanted[..until].iter().all(|value| found.contains(value)));
                    prop_assert!(found.iter().all(|value| wanted.contains(value)));
                } else {
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }
}
