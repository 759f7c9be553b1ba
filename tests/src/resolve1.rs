//! A stand-in for systemd-resolved (`org.freedesktop.resolve1`) on a bus of the test's own: it keeps what it is told of
//! links, and refuses what a test says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::bus::Bus;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use zbus::{connection, fdo};

/// What it was told of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Suffixes; true for one that says who is asked and completes no names.
    pub domains: Vec<(String, bool)>,
    /// Whether it is asked for names of no link's suffixes; by itself a link with servers is.
    pub default_route: Option<bool>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<i32, Link>,
    global: Vec<IpAddr>,
    refused: Option<&'static str>,
    flushed: usize,
    /// A link was asked for everything for a while.
    open: bool,
}

#[derive(Clone, Debug, Default)]
struct Manager(Arc<Mutex<State>>);

impl Manager {
    fn told(&self, what: &'static str, index: i32, change: impl FnOnce(&mut Link)) -> fdo::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.refused == Some(what) {
            return Err(fdo::Error::Failed("refused by the test".into()));
        }
        let link = state.links.entry(index).or_default();
        change(link);
        let open = !link.servers.is_empty() && link.default_route != Some(false);
        state.open |= open;
        Ok(())
    }
}

fn address(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => v4.into(),
        Err(_) => <[u8; 16]>::try_from(bytes).unwrap().into(),
    }
}

fn wire(index: i32, server: &IpAddr) -> (i32, i32, Vec<u8>) {
    match server {
        IpAddr::V4(v4) => (index, 2, v4.octets().to_vec()),
        IpAddr::V6(v6) => (index, 10, v6.octets().to_vec()),
    }
}

#[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
impl Manager {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) -> fdo::Result<()> {
        let servers = servers.iter().map(|(_, bytes)| address(bytes)).collect();
        self.told("SetLinkDNS", index, |link| link.servers = servers)
    }
    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) -> fdo::Result<()> {
        self.told("SetLinkDomains", index, |link| link.domains = domains)
    }
    fn set_link_default_route(&self, index: i32, enable: bool) -> fdo::Result<()> {
        self.told("SetLinkDefaultRoute", index, |link| link.default_route = Some(enable))
    }
    fn revert_link(&self, index: i32) {
        self.0.lock().unwrap().links.remove(&index);
    }
    fn flush_caches(&self) {
        self.0.lock().unwrap().flushed += 1;
    }
    #[zbus(property, name = "DNS")]
    fn dns(&self) -> Vec<(i32, i32, Vec<u8>)> {
        let state = self.0.lock().unwrap();
        let links = state.links.iter().flat_map(|(index, link)| link.servers.iter().map(|server| wire(*index, server)));
        state.global.iter().map(|server| wire(0, server)).chain(links).collect()
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct Resolve1 {
    _runtime: tokio::runtime::Runtime,
    _connection: zbus::Connection,
    manager: Manager,
}

impl Resolve1 {
    /// One that asks `global`, as the system's own configuration says.
    ///
    /// # Panics
    /// When the bus is not there.
    #[must_use]
    pub fn start(bus: &Bus, global: &[IpAddr]) -> Self {
        let manager = Manager::default();
        manager.0.lock().unwrap().global = global.to_vec();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let builder = connection::Builder::address(bus.address.as_str()).unwrap();
            let builder = builder.serve_at("/org/freedesktop/resolve1", manager.clone()).unwrap();
            builder.name("org.freedesktop.resolve1").unwrap().build().await.unwrap()
        });
        Self { _runtime: runtime, _connection: connection, manager }
    }

    /// The links that it was told something of.
    #[must_use]
    pub fn links(&self) -> BTreeMap<i32, Link> {
        self.manager.0.lock().unwrap().links.clone()
    }

    /// The kernel took a link away.
    pub fn gone(&self, index: i32) {
        self.manager.0.lock().unwrap().links.remove(&index);
    }

    /// Refuses this method from now on.
    pub fn refuse(&self, method: Option<&'static str>) {
        self.manager.0.lock().unwrap().refused = method;
    }

    /// How often its caches were flushed.
    #[must_use]
    pub fn flushed(&self) -> usize {
        self.manager.0.lock().unwrap().flushed
    }

    /// Whether a link with servers was ever the one to ask for everything.
    #[must_use]
    pub fn was_open(&self) -> bool {
        self.manager.0.lock().unwrap().open
    }
}
