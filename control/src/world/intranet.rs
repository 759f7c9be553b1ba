//! The addresses of an intranet and of the devices that reach it. There are as many intranets as soaks may run on one
//! machine at a time; no two have an address in common.

use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};

/// One of several intranets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intranet(u8);

impl Intranet {
    /// The one of every world that has its networks for itself.
    pub(crate) const FIRST: Self = Self(0);
    /// The largest number.
    pub(crate) const LAST: u8 = 99;

    /// The intranet of a number up to [`Self::LAST`].
    pub(crate) const fn numbered(number: u8) -> Self {
        Self(if number < Self::LAST { number } else { Self::LAST })
    }

    /// The gateway's address in it.
    pub(crate) const fn gateway(self) -> IpAddr {
        IpAddr::V4(self.host(1))
    }

    /// The directory server: reachable before login.
    pub(crate) const fn directory(self) -> IpAddr {
        IpAddr::V4(self.host(10))
    }

    /// The web server: for users.
    pub(crate) const fn web(self) -> IpAddr {
        IpAddr::V4(self.host(80))
    }

    /// All of it.
    pub(crate) const fn network(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.host(0), 24)
    }

    /// The inner addresses of its devices.
    pub(crate) const fn pool(self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(100, 96, self.0, 0), 24)
    }

    const fn host(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20 + self.0, 0, host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_intranets_have_an_address_in_common() {
        let nets = |number| {
            let intranet = Intranet::numbered(number);
            [intranet.network(), intranet.pool()]
        };
        let all: Vec<Ipv4Net> = (0..=Intranet::LAST).flat_map(nets).collect();
        for (at, net) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| !net.contains(other) && !other.contains(net)), "{net}");
        }
    }
}
