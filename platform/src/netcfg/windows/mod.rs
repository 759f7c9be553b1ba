//! IP Helper: no tool of the host is run.

mod news;
pub(crate) mod sys;

pub(super) use news::watch;
pub(crate) use news::{changes, wakes, woke};

use super::{
    Applied, Desired, NetConfig, NetConfigError, Undo,
    routes::{self, Link, Route, State},
};
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NOT_FOUND, ERROR_OBJECT_ALREADY_EXISTS};

/// Interfaces of this process's tunnels, by LUID: no packet that carries a tunnel leaves through them.
static TUNNELS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn tunnels() -> MutexGuard<'static, Vec<u64>> {
    TUNNELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host's network. Needs an administrator's rights.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "stand-in", allow(unreachable_pub, reason = "behind that of tests"))]
pub struct System;

impl NetConfig for System {
    fn apply(&self, desired: &Desired) -> Result<Applied, NetConfigError> {
        let mut tunnel = Tunnel { desired: desired.clone(), luid: None, unset: [true; 2], forwarding: Vec::new() };
        if let Err(error) = tunnel.change(desired) {
            // The first error is the one to tell.
            let _ = tunnel.undo();
            return Err(error);
        }
        let shared = Shared(Arc::new(Mutex::new(tunnel)));
        shared.follow_network();
        Ok(Applied::new(shared))
    }
}

pub(super) fn interface_index(name: &str) -> Option<u32> {
    let links = sys::links().ok()?;
    links.iter().find(|link| link.name == name)?.index.into_iter().find(|index| *index != 0)
}

/// The LUID of the interface called `name`.
pub(crate) fn interface_luid(name: &str) -> Option<u64> {
    sys::links().ok()?.into_iter().find(|link| link.name == name).map(|link| link.luid)
}

/// The interface that leads to `to` when our own tunnels are left out, by its index; `None` while there is no tunnel. An
/// error is no such answer: what is bound already stays bound, or it would leave by the tunnel.
pub(crate) fn interface_around_tunnels(to: IpAddr) -> io::Result<Option<u32>> {
    let tunnels = tunnels().clone();
    if tunnels.is_empty() {
        return Ok(None);
    }
    Ok(routes::interface_around(&sys::routes()?, &sys::links()?, to, &tunnels))
}

/// The settings of one tunnel, which its watch looks at, too.
struct Shared(Arc<Mutex<Tunnel>>);

impl Shared {
    /// Host routes past the tunnel name a next hop, which another network has not.
    fn follow_network(&self) {
        let tunnel = Arc::downgrade(&self.0);
        let watched = watch(move || {
            let Some(tunnel) = tunnel.upgrade() else { return false };
            let mut tunnel = tunnel.lock().unwrap_or_else(PoisonError::into_inner);
            let desired = tunnel.desired.clone();
            if tunnel.luid.is_some()
                && let Err(error) = tunnel.change(&desired)
            {
                tracing::debug!(%error, "the routes past the tunnel did not follow the network");
            }
            true
        });
        if let Err(error) = watched {
            tracing::warn!(%error, "the routes past the tunnel do not follow the network");
        }
    }

    fn tunnel(&self) -> MutexGuard<'_, Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Undo for Shared {
    fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        self.tunnel().change(desired)
    }

    fn undo(&mut self) -> Result<(), NetConfigError> {
        self.tunnel().undo()
    }
}

struct Tunnel {
    desired: Desired,
    /// The interface; `None` before the first change and after the end.
    luid: Option<u64>,
    /// Interfaces that were made to forward, with their families.
    forwarding: Vec<(u64, bool)>,
    /// What its IPv4 and its IPv6 shall be, they are not yet: a family attaches to an interface by itself, also late.
    unset: [bool; 2],
}

impl Tunnel {
    fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        let links = sys::links().map_err(step("list the host's interfaces"))?;
        let name = &desired.interface;
        let link = links.iter().find(|link| link.name == *name);
        let luid = link.map(|link| link.luid).ok_or_else(|| NetConfigError::NoInterface { name: name.clone() })?;
        self.desired = desired.clone();
        if self.luid != Some(luid) {
            self.enter(luid);
        }
        for (v6, unset) in [false, true].into_iter().zip(&mut self.unset).filter(|(_, unset)| **unset) {
            let set = sys::set_interface(luid, v6);
            *unset = set.is_err();
            if let Err(error) = set {
                tracing::debug!(%error, name, v6, "the interface keeps the system's settings");
            }
        }
        let routes = sys::routes().map_err(step("list the host's routes"))?;
        let found = find(desired, luid, &routes)?;
        let wanted = State::wanted(desired, luid, &routes, &links, &tunnels());
        // First what is new, then what is old: at no moment is a wanted route missing.
        add(&found.missing(&wanted), luid)?;
        remove(&wanted.missing(&found), luid)?;
        if desired.forwarding { self.forward(&links) } else { self.stop_forwarding() }
    }

    /// Lets packets pass between the tunnel and every other interface. What forwards already is left to whoever made it.
    fn forward(&mut self, links: &[Link]) -> Result<(), NetConfigError> {
        for link in links.iter().filter(|link| !link.loopback) {
            for v6 in [false, true].into_iter().filter(|v6| link.index[usize::from(*v6)] != 0) {
                let turned = sys::set_forwarding(link.luid, v6, true);
                if turned.map_err(step(&format!("forward packets of the interface {}", link.name)))? {
                    self.forwarding.push((link.luid, v6));
                }
            }
        }
        Ok(())
    }

    fn stop_forwarding(&mut self) -> Result<(), NetConfigError> {
        let stopped = self.forwarding.drain(..).map(|(luid, v6)| match sys::set_forwarding(luid, v6, false) {
            // The interface is gone, and its settings with it.
            Err(error) if GONE.iter().any(|gone| error.raw_os_error() == Some(*gone as i32)) => Ok(()),
            stopped => stopped.map(drop).map_err(step("stop forwarding packets")),
        });
        stopped.fold(Ok(()), Result::and)
    }

    fn undo(&mut self) -> Result<(), NetConfigError> {
        let Some(luid) = self.luid else { return Ok(()) };
        let routes = sys::routes().map_err(step("list the host's routes"))?;
        let removed = find(&self.desired, luid, &routes).and_then(|found| remove(&found, luid));
        self.leave();
        removed.and(self.stop_forwarding())
    }

    /// From now on what carries tunnels leaves around this interface. Told before it has routes.
    fn enter(&mut self, luid: u64) {
        self.leave();
        tunnels().push(luid);
        self.luid = Some(luid);
        self.unset = [true; 2];
        news::tell();
    }

    fn leave(&mut self) {
        if let Some(luid) = self.luid.take() {
            tunnels().retain(|other| *other != luid);
            news::tell();
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Everything on the host that is the tunnel's, whoever put it there: the addresses of its interface, the routes to it
/// that are not the system's own, and the host routes past it.
fn find(desired: &Desired, luid: u64, routes: &[Route]) -> Result<State, NetConfigError> {
    let addresses = sys::addresses(luid).map_err(step("list the host's addresses"))?;
    let past = |route: &Route| routes::is_bypass(route) && route.metric == routes::bypass_metric(&desired.interface);
    let ours = |route: &&Route| {
        if route.interface == luid { !is_systems(route, &addresses) } else { past(route) }
    };
    Ok(State { routes: routes.iter().filter(ours).copied().collect(), addresses: addresses.iter().copied().collect() })
}

/// Routes that come with an interface or an address, and go with it.
fn is_systems(route: &Route, addresses: &[ipnet::IpNet]) -> bool {
    let destination = route.destination;
    let of_address = |net: &ipnet::IpNet| {
        destination == net.trunc()
            || destination == ipnet::IpNet::from(net.addr())
            || destination == ipnet::IpNet::from(net.broadcast())
    };
    let linked = match destination.addr() {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
    };
    // Ours have a metric of 0; the system's, 256.
    linked || (route.metric != 0 && addresses.iter().any(of_address))
}

fn add(state: &State, luid: u64) -> Result<(), NetConfigError> {
    for net in &state.addresses {
        unless(sys::add_address(luid, *net), &[ERROR_OBJECT_ALREADY_EXISTS])
            .map_err(step(&format!("add the address {net}")))?;
    }
    for route in &state.routes {
        unless(sys::add_route(route), &[ERROR_OBJECT_ALREADY_EXISTS])
            .map_err(step(&format!("add the route to {}", route.destination)))?;
    }
    Ok(())
}

/// What is not there need not be removed.
const GONE: &[u32] = &[ERROR_NOT_FOUND, ERROR_FILE_NOT_FOUND];

/// Removes all that can be; the error is that of the first that could not.
fn remove(state: &State, luid: u64) -> Result<(), NetConfigError> {
    let routes = state.routes.iter().map(|route| {
        unless(sys::remove_route(route), GONE).map_err(step(&format!("remove the route to {}", route.destination)))
    });
    let addresses = state
        .addresses
        .iter()
        .map(|net| unless(sys::remove_address(luid, *net), GONE).map_err(step(&format!("remove the address {net}"))));
    routes.chain(addresses).fold(Ok(()), Result::and)
}

fn step(step: &str) -> impl FnOnce(io::Error) -> NetConfigError + use<> {
    let step = step.to_owned();
    move |cause| NetConfigError::Step { step, cause }
}

/// As `result`, but these errors are none.
fn unless(result: io::Result<()>, fine: &[u32]) -> io::Result<()> {
    match result {
        Err(error) if fine.iter().any(|fine| error.raw_os_error() == Some(*fine as i32)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
