//! Cables, addresses and routes by netlink.

use super::{SandboxError, host};
use crate::sandbox::{End, Namespace};
use nix::net::if_::if_nametoindex;
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of a cable's far end until it is plugged in.
const UNPLUGGED: &str = "unplugged0";

/// Runs netlink requests inside `namespace`.
fn netlink<F>(namespace: &host::Namespace, step: &'static str, requests: F) -> Result<(), SandboxError>
where
    F: AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error> + Send + 'static,
{
    let work = move || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let (connection, handle, _) = new_connection().map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            requests(handle).await.map_err(|e| e.to_string())
        })
    };
    let name = namespace.name().to_owned();
    match namespace.spawn(work)?.recv() {
        Ok(result) => result.map_err(|cause| SandboxError::Netlink { step, namespace: name, cause }),
        Err(_) => Err(SandboxError::Lost { namespace: name }),
    }
}

/// The index of an interface in the calling thread's namespace.
fn index(interface: &str) -> Result<u32, rtnetlink::Error> {
    if_nametoindex(interface)
        .map_err(|error| rtnetlink::Error::NamespaceError(format!("no interface `{interface}`: {error}")))
}

pub(super) fn loopback(namespace: &host::Namespace) -> Result<(), SandboxError> {
    netlink(namespace, "bring up the loopback", async |handle| {
        handle.link().set(LinkUnspec::new_with_index(1).up().build()).execute().await
    })
}

pub(in crate::sandbox) fn cable(a: &End<'_>, b: &End<'_>) -> Result<(), SandboxError> {
    let (near, far) = (a.interface.to_owned(), b.interface.to_owned());
    let there = b.namespace.0.raw_handle();
    netlink(&a.namespace.0, "make a virtual cable", async move |handle| {
        // Both ends are born here; the far one takes its name when it moves, for here the name may be taken.
        handle.link().add(LinkVeth::new(&near, UNPLUGGED).build()).execute().await?;
        let moved = LinkUnspec::new_with_index(index(UNPLUGGED)?).name(far).setns_by_fd(there).build();
        handle.link().set(moved).execute().await
    })?;
    plug(a, b)?;
    plug(b, a)
}

/// Gives an end its addresses and brings it up. It knows the other end's hardware address for ever: a host that is
/// too busy to answer an ARP request in time must not look like a network that loses packets.
fn plug(end: &End<'_>, other: &End<'_>) -> Result<(), SandboxError> {
    let interface = end.interface.to_owned();
    let addresses = end.addresses.to_vec();
    let neighbours: Vec<_> = other.addresses.iter().map(|(address, _)| *address).collect();
    let (own, theirs) = (hardware_address(end), hardware_address(other));
    netlink(&end.namespace.0, "give an interface its addresses", async move |handle| {
        let index = index(&interface)?;
        handle.link().set(LinkUnspec::new_with_index(index).address(own.to_vec()).up().build()).execute().await?;
        for (address, prefix) in addresses {
            handle.address().add(index, address, prefix).execute().await?;
        }
        for neighbour in neighbours {
            handle.neighbours().add(index, neighbour).link_layer_address(&theirs).execute().await?;
        }
        Ok(())
    })
}

/// A locally administered address made of the end's first IP address.
fn hardware_address(end: &End<'_>) -> [u8; 6] {
    let last = match end.addresses.first() {
        Some((IpAddr::V4(address), _)) => address.octets(),
        Some((IpAddr::V6(address), _)) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
        None => [0; 4],
    };
    [0x02, 0, last[0], last[1], last[2], last[3]]
}

pub(in crate::sandbox) fn mislead(end: &End<'_>, other: &End<'_>, astray: bool) -> Result<(), SandboxError> {
    let interface = end.interface.to_owned();
    let neighbours: Vec<_> = other.addresses.iter().map(|(address, _)| *address).collect();
    let mut theirs = hardware_address(other);
    if astray {
        // Still a locally administered one, and nobody's.
        theirs[1] ^= 0xff;
    }
    netlink(&end.namespace.0, "tell an interface its neighbour", async move |handle| {
        let index = index(&interface)?;
        for neighbour in neighbours {
            handle.neighbours().add(index, neighbour).link_layer_address(&theirs).replace().execute().await?;
        }
        Ok(())
    })
}

pub(in crate::sandbox) fn readdress(
    namespace: &Namespace,
    interface: &str,
    old: (IpAddr, u8),
    new: (IpAddr, u8),
) -> Result<(), SandboxError> {
    let interface = interface.to_owned();
    netlink(&namespace.0, "move an interface to another address", async move |handle| {
        // Without this, the kernel takes the new one away with the old one, as its secondary.
        let promote = std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "1");
        promote.map_err(|error| rtnetlink::Error::NamespaceError(format!("promote_secondaries: {error}")))?;
        let index = index(&interface)?;
        handle.address().add(index, new.0, new.1).execute().await?;
        let gone = match old {
            (IpAddr::V4(address), prefix) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build()
            }
            (IpAddr::V6(address), prefix) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix).build()
            }
        };
        handle.address().del(gone).execute().await
    })
}

pub(in crate::sandbox) fn route(
    namespace: &Namespace,
    destination: IpAddr,
    prefix: u8,
    gateway: IpAddr,
) -> Result<(), SandboxError> {
    netlink(&namespace.0, "add a route", async move |handle| match (destination, gateway) {
        (IpAddr::V4(destination), IpAddr::V4(gateway)) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new();
            let route = route.destination_prefix(destination, prefix).gateway(gateway).build();
            handle.route().add(route).execute().await
        }
        (IpAddr::V6(destination), IpAddr::V6(gateway)) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new();
            let route = route.destination_prefix(destination, prefix).gateway(gateway).build();
            handle.route().add(route).execute().await
        }
        _ => Err(rtnetlink::Error::RequestFailed),
    })
}
