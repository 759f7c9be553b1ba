//! IP Helper: interfaces, addresses, routes. The functions that change something are looked up by name: a system without
//! them (Wine) answers that it has none, where a program that names them at link time would not start or would crash.
#![allow(unsafe_code, reason = "IP Helper's tables and rows")]

use super::super::routes::{Link, Route};
use crate::socket::control;
use ipnet::IpNet;
use std::{
    ffi::CStr,
    io,
    net::{IpAddr, SocketAddr},
    ptr::{addr_of, from_mut, null, null_mut},
    slice,
};
use windows_sys::{
    Win32::{
        Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_SUCCESS},
        NetworkManagement::{
            IpHelper::{
                FreeMibTable, GAA_FLAG_INCLUDE_ALL_INTERFACES, GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER,
                GAA_FLAG_SKIP_MULTICAST, GAA_FLAG_SKIP_UNICAST, GET_ADAPTERS_ADDRESSES_FLAGS, GetAdaptersAddresses,
                GetIpForwardTable2, GetUnicastIpAddressTable, IP_ADAPTER_ADDRESSES_LH, MIB_IPFORWARD_ROW2,
                MIB_IPFORWARD_TABLE2, MIB_IPINTERFACE_ROW, MIB_UNICASTIPADDRESS_ROW, MIB_UNICASTIPADDRESS_TABLE,
            },
            Ndis::{IfOperStatusUp, NET_LUID_LH},
        },
        Networking::WinSock::{
            AF_INET, AF_INET6, AF_UNSPEC, IpDadStatePreferred, IpPrefixOriginManual, IpSuffixOriginManual,
            RouteProtocolNetMgmt, RouterDiscoveryDisabled, SOCKADDR_INET,
        },
    },
    core::GUID,
};

/// `IF_TYPE_SOFTWARE_LOOPBACK`.
const LOOPBACK: u32 = 24;

/// An interface with what the resolver wants to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(in crate::netcfg) link: Link,
    /// Its GUID as text with braces, as the registry has it.
    pub(crate) guid: String,
    /// Servers of names, in its order.
    pub(crate) servers: Vec<IpAddr>,
}

impl Adapter {
    /// What users call it.
    pub(crate) fn name(&self) -> &str {
        &self.link.name
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.up
    }

    /// The smaller, the sooner it is asked.
    pub(crate) fn metric(&self) -> u32 {
        let [v4, v6] = self.link.metric;
        v4.min(v6)
    }
}

/// All interfaces.
pub(crate) fn adapters() -> io::Result<Vec<Adapter>> {
    read_adapters(0)
}

/// All interfaces as routes see them. The servers of names, which take the system longest, are not asked for: the packet
/// path asks after each change of network.
pub(super) fn links() -> io::Result<Vec<Link>> {
    Ok(read_adapters(GAA_FLAG_SKIP_DNS_SERVER)?.into_iter().map(|adapter| adapter.link).collect())
}

fn read_adapters(skipped: GET_ADAPTERS_ADDRESSES_FLAGS) -> io::Result<Vec<Adapter>> {
    let flags = skipped
        | GAA_FLAG_SKIP_UNICAST
        | GAA_FLAG_SKIP_ANYCAST
        | GAA_FLAG_SKIP_MULTICAST
        | GAA_FLAG_INCLUDE_ALL_INTERFACES;
    let mut room: Vec<u64> = vec![0; 4096];
    // An interface may appear between two calls.
    for _ in 0..5 {
        let mut len = u32::try_from(room.len() * size_of::<u64>()).unwrap_or(u32::MAX);
        let first = room.as_mut_ptr().cast::<IP_ADAPTER_ADDRESSES_LH>();
        // SAFETY: `first` points to `len` bytes, aligned to 8 as the structure wants; the reserved pointer is null.
        match unsafe { GetAdaptersAddresses(u32::from(AF_UNSPEC), flags, null(), first, &mut len) } {
            ERROR_SUCCESS => {}
            ERROR_BUFFER_OVERFLOW => {
                room = vec![0; (len as usize).div_ceil(size_of::<u64>()) + 512];
                continue;
            }
            // ERROR_NO_DATA: no interface at all.
            232 => return Ok(Vec::new()),
            code => return Err(error(code)),
        }
        let mut all = Vec::new();
        let mut next = first.cast_const();
        while !next.is_null() {
            // SAFETY: the call has succeeded: the list starts at `first`, every entry and what it points to lies in
            // `room`, which lives, and the last entry's `Next` is null. No other reference to it exists.
            let (entry, servers) = unsafe { (&*next, servers(&*next)) };
            // SAFETY: as above; both are strings that end with a zero, and the unions hold plain numbers.
            let (name, guid, luid, index) = unsafe {
                (
                    wide(entry.FriendlyName),
                    CStr::from_ptr(entry.AdapterName.cast()).to_string_lossy().into_owned(),
                    entry.Luid.Value,
                    entry.Anonymous1.Anonymous.IfIndex,
                )
            };
            let link = Link {
                luid,
                name,
                index: [index, entry.Ipv6IfIndex],
                metric: [entry.Ipv4Metric, entry.Ipv6Metric],
                up: entry.OperStatus == IfOperStatusUp,
                loopback: entry.IfType == LOOPBACK,
            };
            all.push(Adapter { link, guid, servers });
            next = entry.Next;
        }
        return Ok(all);
    }
    Err(error(ERROR_BUFFER_OVERFLOW))
}

/// # Safety
/// `entry` was filled by `GetAdaptersAddresses`, whose memory is alive.
unsafe fn servers(entry: &IP_ADAPTER_ADDRESSES_LH) -> Vec<IpAddr> {
    let (mut all, mut next) = (Vec::new(), entry.FirstDnsServerAddress.cast_const());
    while !next.is_null() {
        // SAFETY: an entry of the list, by the caller's word.
        let server = unsafe { &*next };
        let len = usize::try_from(server.Address.iSockaddrLength).unwrap_or(0).min(control::NAME);
        let mut bytes = [0; control::NAME];
        if !server.Address.lpSockaddr.is_null() {
            // SAFETY: the system says that an address of so many bytes is there; no more of them are read.
            let given = unsafe { slice::from_raw_parts(server.Address.lpSockaddr.cast::<u8>(), len) };
            bytes[..len].copy_from_slice(given);
        }
        all.extend(control::address(&bytes).map(|address| address.ip()));
        next = server.Next;
    }
    all
}

/// # Safety
/// `text` is null or points to UTF-16 that ends with a zero.
unsafe fn wide(text: *const u16) -> String {
    let (mut units, mut at) = (Vec::new(), text);
    // SAFETY: by the caller's word; the zero ends the loop.
    while !at.is_null() && unsafe { *at } != 0 {
        // SAFETY: as above, and the next unit exists, since this one was not the zero.
        unsafe {
            units.push(*at);
            at = at.add(1);
        }
    }
    String::from_utf16_lossy(&units)
}

/// All routes that an administrator or a program has made, or that came with an address or by the network. Those that
/// the system makes for itself (multicast, broadcast) are among them.
pub(super) fn routes() -> io::Result<Vec<Route>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = null_mut();
    // SAFETY: the call writes the address of a table, which is ours to free.
    succeeded(unsafe { GetIpForwardTable2(AF_UNSPEC, &mut table) })?;
    let mut all = Vec::new();
    // SAFETY: the table holds `NumEntries` rows from `Table` on, and is freed below.
    let rows = unsafe { rows(addr_of!((*table).Table).cast::<MIB_IPFORWARD_ROW2>(), (*table).NumEntries) };
    for row in rows {
        // SAFETY: `row` points into the table. Its numbers and addresses are read one by one.
        let (prefix, length, hop, interface, metric) = unsafe {
            (
                ip(addr_of!((*row).DestinationPrefix.Prefix)),
                (*row).DestinationPrefix.PrefixLength,
                ip(addr_of!((*row).NextHop)),
                (*row).InterfaceLuid.Value,
                (*row).Metric,
            )
        };
        let Some(destination) = prefix.and_then(|prefix| IpNet::new(prefix, length).ok()) else { continue };
        all.push(Route { destination, next_hop: hop.filter(|hop| !hop.is_unspecified()), interface, metric });
    }
    // SAFETY: the table came from the call above, and nothing points into it any longer.
    unsafe { FreeMibTable(table.cast_const().cast()) };
    Ok(all)
}

/// The addresses of an interface, without those it gives itself on its link.
pub(super) fn addresses(interface: u64) -> io::Result<Vec<IpNet>> {
    let mut table: *mut MIB_UNICASTIPADDRESS_TABLE = null_mut();
    // SAFETY: the call writes the address of a table, which is ours to free.
    succeeded(unsafe { GetUnicastIpAddressTable(AF_UNSPEC, &mut table) })?;
    let mut all = Vec::new();
    // SAFETY: the table holds `NumEntries` rows from `Table` on, and is freed below.
    let rows = unsafe { rows(addr_of!((*table).Table).cast::<MIB_UNICASTIPADDRESS_ROW>(), (*table).NumEntries) };
    for row in rows {
        // SAFETY: `row` points into the table. Its numbers and its address are read one by one.
        let (address, length, luid) =
            unsafe { (ip(addr_of!((*row).Address)), (*row).OnLinkPrefixLength, (*row).InterfaceLuid.Value) };
        let net = address.filter(|address| luid == interface && !is_link_local(*address));
        all.extend(net.and_then(|address| IpNet::new(address, length).ok()));
    }
    // SAFETY: the table came from the call above, and nothing points into it any longer.
    unsafe { FreeMibTable(table.cast_const().cast()) };
    Ok(all)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The rows of a table, as pointers: not all their bytes need be what the types of Rust promise.
fn rows<T>(first: *const T, count: u32) -> impl Iterator<Item = *const T> {
    (0..count as usize).map(move |number| first.wrapping_add(number))
}

/// # Safety
/// `address` points to a whole `SOCKADDR_INET`.
unsafe fn ip(address: *const SOCKADDR_INET) -> Option<IpAddr> {
    // SAFETY: by the caller's word; the union is 28 plain bytes.
    control::address(&unsafe { address.cast::<[u8; control::NAME]>().read_unaligned() }).map(|address| address.ip())
}

fn set_ip(address: &mut SOCKADDR_INET, ip: IpAddr) {
    let (bytes, _) = control::name(SocketAddr::new(ip, 0));
    // SAFETY: the union is 28 plain bytes, borrowed mutably; every value of them is valid.
    unsafe { from_mut(address).cast::<[u8; control::NAME]>().write_unaligned(bytes) };
}

const _: () = assert!(size_of::<SOCKADDR_INET>() == control::NAME);

/// Adds an address that is good at once: the tunnel is a wire with one other end.
pub(super) fn add_address(interface: u64, net: IpNet) -> io::Result<()> {
    succeeded(entries::CreateUnicastIpAddressEntry(&address_row(interface, net)))
}

pub(super) fn remove_address(interface: u64, net: IpNet) -> io::Result<()> {
    succeeded(entries::DeleteUnicastIpAddressEntry(&address_row(interface, net)))
}

fn address_row(interface: u64, net: IpNet) -> MIB_UNICASTIPADDRESS_ROW {
    let mut row = MIB_UNICASTIPADDRESS_ROW {
        InterfaceLuid: NET_LUID_LH { Value: interface },
        PrefixOrigin: IpPrefixOriginManual,
        SuffixOrigin: IpSuffixOriginManual,
        ValidLifetime: u32::MAX,
        PreferredLifetime: u32::MAX,
        OnLinkPrefixLength: net.prefix_len(),
        // What the system sends into the tunnel has this source.
        SkipAsSource: false,
        // Otherwise it is tentative for a second, and nothing can be bound to it.
        DadState: IpDadStatePreferred,
        ..MIB_UNICASTIPADDRESS_ROW::default()
    };
    set_ip(&mut row.Address, net.addr());
    row
}

pub(super) fn add_route(route: &Route) -> io::Result<()> {
    succeeded(entries::CreateIpForwardEntry2(&route_row(route)))
}

pub(super) fn remove_route(route: &Route) -> io::Result<()> {
    succeeded(entries::DeleteIpForwardEntry2(&route_row(route)))
}

fn route_row(route: &Route) -> MIB_IPFORWARD_ROW2 {
    let unspecified = if route.destination.addr().is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let mut row = MIB_IPFORWARD_ROW2 {
        InterfaceLuid: NET_LUID_LH { Value: route.interface },
        ValidLifetime: u32::MAX,
        PreferredLifetime: u32::MAX,
        Metric: route.metric,
        Protocol: RouteProtocolNetMgmt,
        Immortal: true,
        ..MIB_IPFORWARD_ROW2::default()
    };
    set_ip(&mut row.DestinationPrefix.Prefix, route.destination.network());
    row.DestinationPrefix.PrefixLength = route.destination.prefix_len();
    set_ip(&mut row.NextHop, route.next_hop.unwrap_or(unspecified));
    row
}

/// What a tunnel's interface shall be in one family: the best metric, no discovery of neighbours and routers.
pub(super) fn set_interface(interface: u64, v6: bool) -> io::Result<()> {
    change_interface(interface, v6, |row| {
        row.UseAutomaticMetric = false;
        row.Metric = 0;
        row.DadTransmits = 0;
        row.RouterDiscoveryBehavior = RouterDiscoveryDisabled;
        row.ManagedAddressConfigurationSupported = false;
        row.OtherStatefulConfigurationSupported = false;
    })
}

/// Whether an interface's packets in one family may leave by another; whether that was a change.
pub(super) fn set_forwarding(interface: u64, v6: bool, forwards: bool) -> io::Result<bool> {
    let mut changed = false;
    change_interface(interface, v6, |row| {
        changed = row.ForwardingEnabled != forwards;
        row.ForwardingEnabled = forwards;
    })?;
    Ok(changed)
}

/// Changes what an interface is in one family. `ERROR_NOT_FOUND` as long as the family has not attached to it.
pub(crate) fn change_interface(
    interface: u64,
    v6: bool,
    change: impl FnOnce(&mut MIB_IPINTERFACE_ROW),
) -> io::Result<()> {
    let mut row = MIB_IPINTERFACE_ROW {
        Family: if v6 { AF_INET6 } else { AF_INET },
        InterfaceLuid: NET_LUID_LH { Value: interface },
        ..MIB_IPINTERFACE_ROW::default()
    };
    succeeded(entries::GetIpInterfaceEntry(&mut row))?;
    // Read as 64 for IPv6, and refused when it is written back for IPv4.
    row.SitePrefixLength = 0;
    change(&mut row);
    succeeded(entries::SetIpInterfaceEntry(&mut row))
}

/// Reads a GUID in the form of the registry, with braces.
pub(crate) fn guid(text: &str) -> Option<GUID> {
    let digits: String = text.trim_matches(['{', '}']).chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32).map(GUID::from_u128)
}

pub(super) fn succeeded(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(error(code)) }
}

fn error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code as i32)
}

/// Functions looked up at their first use.
#[allow(non_snake_case, reason = "the system's names")]
mod entries {
    use super::*;

    crate::late::late! { c"iphlpapi.dll":
        CreateUnicastIpAddressEntry(row: &MIB_UNICASTIPADDRESS_ROW);
        DeleteUnicastIpAddressEntry(row: &MIB_UNICASTIPADDRESS_ROW);
        CreateIpForwardEntry2(row: &MIB_IPFORWARD_ROW2);
        DeleteIpForwardEntry2(row: &MIB_IPFORWARD_ROW2);
        GetIpInterfaceEntry(row: &mut MIB_IPINTERFACE_ROW);
        SetIpInterfaceEntry(row: &mut MIB_IPINTERFACE_ROW);
    }
}
