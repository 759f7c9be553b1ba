//! systemd-resolved: servers and suffixes of one link, over the system's D-Bus (org.freedesktop.resolve1(5)).

use crate::{
    dns::{DnsError, ResolverConfig, Undo},
    netcfg::interface_index,
};
use std::{net::IpAddr, thread};
use zbus::{Connection, Proxy, connection};

/// `AF_INET` and `AF_INET6`, as the interface wants them.
const FAMILIES: [i32; 2] = [nix::libc::AF_INET, nix::libc::AF_INET6];
/// Where systemd-resolved's stub listens: who names it as the only server has left DNS to systemd-resolved.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

/// Whether a `resolv.conf` of this text asks systemd-resolved.
pub(super) fn keeps(text: &str) -> bool {
    let servers = super::text::servers(text);
    !servers.is_empty() && servers.iter().all(|server| STUBS.contains(&server.to_string().as_str()))
}

/// The bus that systemd-resolved is on: the system's (`DBUS_SYSTEM_BUS_ADDRESS`, or the usual place) unless an address
/// says another.
#[derive(Clone, Debug, Default)]
pub(super) struct Bus(pub(super) Option<String>);

/// The servers of all links and of the system.
pub(super) fn servers(bus: &Bus) -> Result<Vec<IpAddr>, DnsError> {
    run(bus, "tell its servers", |manager| async move {
        let all: Vec<(i32, i32, Vec<u8>)> = manager.get_property("DNS").await?;
        Ok(all.into_iter().filter_map(|(_, _, bytes)| address(&bytes)).collect())
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn wire(address: &IpAddr) -> (i32, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (FAMILIES[0], address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILIES[1], address.octets().to_vec()),
    }
}

/// The tunnel's link as systemd-resolved has it. It forgets everything when the link goes, so that nothing of it
/// outlives a crash.
#[derive(Debug)]
pub(super) struct Link {
    bus: Bus,
    index: i32,
    config: ResolverConfig,
}

impl Link {
    pub(super) fn set(bus: &Bus, config: &ResolverConfig) -> Result<Self, DnsError> {
        let name = &config.interface;
        let index = index_of(name).ok_or_else(|| DnsError::NoInterface { name: name.clone() })?;
        let mut link = Self { bus: bus.clone(), index, config: config.clone() };
        match link.tell(config) {
            Ok(()) => Ok(link),
            Err(error) => {
                // It may have taken the half of it.
                let _ = link.undo();
                Err(error)
            }
        }
    }

    fn tell(&self, config: &ResolverConfig) -> Result<(), DnsError> {
        let index = self.index;
        let servers: Vec<(i32, Vec<u8>)> = config.servers.iter().map(wire).collect();
        // A suffix that short names are completed with, or (true) one that only says who is asked.
        let search = config.search.iter().map(|suffix| (suffix.clone(), false));
        let domains: Vec<(String, bool)> =
            search.chain(config.domains.iter().map(|suffix| (suffix.clone(), true))).collect();
        run(&self.bus, "take the tunnel's servers", move |manager| async move {
            // The servers last: they are at no moment those for every name.
            manager.call::<_, _, ()>("SetLinkDefaultRoute", &(index, false)).await?;
            manager.call::<_, _, ()>("SetLinkDomains", &(index, domains)).await?;
            manager.call::<_, _, ()>("SetLinkDNS", &(index, servers)).await?;
            // What was not found without the tunnel may be found now.
            manager.call::<_, _, ()>("FlushCaches", &()).await
        })
    }
}

fn index_of(interface: &str) -> Option<i32> {
    interface_index(interface).and_then(|index| i32::try_from(index).ok())
}

impl Undo for Link {
    fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError> {
        if let Err(error) = self.tell(config) {
            let _ = self.tell(&self.config);
            return Err(error);
        }
        self.config = config.clone();
        Ok(())
    }

    fn in_place(&self) -> bool {
        index_of(&self.config.interface) == Some(self.index)
    }

    fn undo(&mut self) -> Result<(), DnsError> {
        if !self.in_place() {
            return Ok(());
        }
        let index = self.index;
        run(&self.bus, "forget the tunnel's servers", move |manager| async move {
            manager.call::<_, _, ()>("RevertLink", &(index,)).await?;
            manager.call::<_, _, ()>("FlushCaches", &()).await
        })
    }
}

/// Asks systemd-resolved, on a thread and a runtime of their own: the caller may be on any.
fn run<T: Send, F>(bus: &Bus, step: &'static str, ask: impl FnOnce(Proxy<'static>) -> F + Send) -> Result<T, DnsError>
where
    F: Future<Output = zbus::Result<T>>,
{
    let refused = |cause: String| DnsError::Resolved { step, cause };
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(async {
                let asked = async {
                    let bus = match &bus.0 {
                        Some(address) => connection::Builder::address(address.as_str())?.build().await?,
                        None => Connection::system().await?,
                    };
                    let name = "org.freedesktop.resolve1";
                    let manager =
                        Proxy::new(&bus, name, "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager");
                    ask(manager.await?).await
                };
                asked.await.map_err(|error| error.to_string())
            })
        });
        asking.join().map_err(|_| "the thread that asks it ended".to_owned())
    });
    answer.and_then(|answer| answer).map_err(refused)
}

#[cfg(test)]
mod tests;
