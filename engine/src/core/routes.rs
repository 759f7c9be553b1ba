//! Cryptokey routing: which peer owns an inner address.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;

/// Longest prefix first: one hash look-up per prefix length in use, however many peers there are.
///
/// A prefix has one owner. Giving it to a slot takes it from the former one, as WireGuard does.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    v4: Family<u32>,
    v6: Family<u128>,
}

impl Routes {
    /// Gives `new` to `slot`, and takes away what of `old`, its addresses until now, is not among them.
    pub(crate) fn set(&mut self, slot: usize, old: &[IpNet], new: &[IpNet]) {
        self.remove(slot, old);
        for net in new {
            match net {
                IpNet::V4(net) => self.v4.insert(v4(net), slot),
                IpNet::V6(net) => self.v6.insert(v6(net), slot),
            }
        }
    }

    /// Takes `old` from `slot`; what another slot has got since stays there.
    pub(crate) fn remove(&mut self, slot: usize, old: &[IpNet]) {
        for net in old {
            match net {
                IpNet::V4(net) => self.v4.remove(v4(net), slot),
                IpNet::V6(net) => self.v6.remove(v6(net), slot),
            }
        }
    }

    /// The slot with the longest prefix that holds `address`.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => self.v4.owner(|mask| address.to_bits() & mask),
            IpAddr::V6(address) => self.v6.owner(|mask| address.to_bits() & mask),
        }
    }
}

/// Length, mask and network of a prefix.
type Prefix<Bits> = (u8, Bits, Bits);

fn v4(net: &Ipv4Net) -> Prefix<u32> {
    (net.prefix_len(), net.netmask().to_bits(), net.network().to_bits())
}

fn v6(net: &Ipv6Net) -> Prefix<u128> {
    (net.prefix_len(), net.netmask().to_bits(), net.network().to_bits())
}

/// All prefixes of one length.
#[derive(Debug)]
struct Length<Bits> {
    length: u8,
    mask: Bits,
    networks: HashMap<Bits, usize, BuildHasherDefault<Fold>>,
}

/// The prefixes of one address family.
#[derive(Debug)]
struct Family<Bits> {
    /// Longest first; none is empty.
    lengths: Vec<Length<Bits>>,
    /// The owner of everything else.
    default: Option<usize>,
}

impl<Bits> Default for Family<Bits> {
    fn default() -> Self {
        Self { lengths: Vec::new(), default: None }
    }
}

impl<Bits: Copy + Eq + Hash> Family<Bits> {
    fn insert(&mut self, (length, mask, network): Prefix<Bits>, slot: usize) {
        if length == 0 {
            self.default = Some(slot);
            return;
        }
        let at = self.lengths.partition_point(|other| other.length > length);
        if self.lengths.get(at).is_none_or(|other| other.length != length) {
            self.lengths.insert(at, Length { length, mask, networks: HashMap::default() });
        }
        self.lengths[at].networks.insert(network, slot);
    }

    fn remove(&mut self, (length, _, network): Prefix<Bits>, slot: usize) {
        if length == 0 {
            self.default.take_if(|owner| *owner == slot);
            return;
        }
        let Some(at) = self.lengths.iter().position(|other| other.length == length) else { return };
        let networks = &mut self.lengths[at].networks;
        if networks.get(&network) == Some(&slot) {
            networks.remove(&network);
        }
        if networks.is_empty() {
            self.lengths.remove(at);
        }
    }

    fn owner(&self, masked: impl Fn(Bits) -> Bits) -> Option<usize> {
        let found = self.lengths.iter().find_map(|length| length.networks.get(&masked(length.mask)));
        found.copied().or(self.default)
    }
}

/// Mixes the bits of a network. Only prefixes that we were told to route are stored, so that no stranger can make them
/// collide.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, bits: u32) {
        self.write_u64(u64::from(bits));
    }

    fn write_u64(&mut self, bits: u64) {
        // The product's high half depends on every bit, its low half only on lower ones: the table uses both ends.
        let product = u128::from(self.0 ^ bits) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u128(&mut self, bits: u128) {
        self.write_u64(bits as u64);
        self.write_u64((bits >> 64) as u64 ^ 0x5851_f42d_4c95_7f2d);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
