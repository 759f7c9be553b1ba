//! rtnetlink and `/proc/sys`: no tool of the host is run.

mod messages;
mod netlink;
mod state;
mod sysctl;
#[cfg(test)]
pub(crate) mod testing;
mod watch;

use super::{Applied, Desired, NetConfig, NetConfigError, Routing, Undo};
use netlink::Netlink;
use nix::{errno::Errno, net::if_::if_nametoindex};
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::RouteNetlinkMessage,
};
use state::{MAIN_TABLE, Rule, State};
use std::io;
use sysctl::Switch;

pub(super) use watch::watch;

/// The host's network, in the network namespace of the calling thread. Needs `CAP_NET_ADMIN`.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl NetConfig for System {
    fn apply(&self, desired: &Desired) -> Result<Applied, NetConfigError> {
        let netlink = Netlink::open().map_err(step("open a netlink socket"))?;
        let mut tunnel = Tunnel { netlink, desired: desired.clone(), switches: Vec::new() };
        match tunnel.change(desired) {
            Ok(()) => Ok(Applied::new(tunnel)),
            Err(error) => {
                // The first error is the one to tell.
                let _ = tunnel.undo();
                Err(error)
            }
        }
    }
}

pub(super) fn interface_index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// The settings of one tunnel. The netlink socket stays in the namespace it was opened in.
struct Tunnel {
    netlink: Netlink,
    desired: Desired,
    switches: Vec<Switch>,
}

impl Undo for Tunnel {
    fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        let name = &desired.interface;
        let index = if_nametoindex(name.as_str()).map_err(|_| NetConfigError::NoInterface { name: name.clone() })?;
        let ipv6 = carries_ipv6(desired);
        if let Err(error) = sysctl::set_ipv6(name, ipv6) {
            // A container with a read-only /proc/sys: the kernel's own packets are dropped by the engine instead.
            tracing::debug!(%error, name, ipv6, "IPv6 was not switched on the interface");
        }
        self.netlink.change(messages::link_up(index), 0).map_err(step("set the interface up"))?;
        self.turn_on(desired)?;
        let previous = std::mem::replace(&mut self.desired, desired.clone());
        let mut found = self.find(&previous.routing, index)?;
        if previous.routing != desired.routing {
            let more = self.find(&desired.routing, index)?;
            found.routes.extend(more.routes);
            found.rules.extend(more.rules);
        }
        let wanted = State::wanted(desired, index);
        // First what is new, then what is old: at no moment is a wanted route or rule missing.
        self.add(&found.missing(&wanted), index)?;
        self.remove(&wanted.missing(&found), index)
    }

    fn undo(&mut self) -> Result<(), NetConfigError> {
        let index = if_nametoindex(self.desired.interface.as_str()).unwrap_or(0);
        let routing = self.desired.routing.clone();
        let found = self.find(&routing, index)?;
        let removed = self.remove(&found, index);
        let mut restored = Ok(());
        for switch in self.switches.drain(..) {
            restored = restored.and(switch.restore().map_err(step("restore a switch under /proc/sys/net")));
        }
        removed.and(restored)
    }
}

impl Tunnel {
    /// Everything on the host that is this tunnel's, whoever put it there: all addresses of its interface, the rules
    /// in its priorities, the routes in its table (in the main table: those to its interface).
    fn find(&mut self, routing: &Routing, index: u32) -> Result<State, NetConfigError> {
        let listing =
            |cause| NetConfigError::Step { step: "list the host's addresses, routes and rules".into(), cause };
        let mut state = State::default();
        for message in self.netlink.list(&messages::all_addresses()).map_err(listing)? {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                state.addresses.extend(messages::address_of(&message, index));
            }
        }
        let table = state::table(routing);
        for v6 in [false, true] {
            for message in self.netlink.list(&messages::all_routes(v6)).map_err(listing)? {
                if let RouteNetlinkMessage::NewRoute(message) = message {
                    let ours = messages::route_of(&message)
                        .filter(|route| route.table == table && (table != MAIN_TABLE || route.interface == index));
                    state.routes.extend(ours);
                }
            }
            let Routing::Policy(policy) = routing else { continue };
            let priorities = policy.priority..=policy.priority + 2;
            let ours = |rule: &Rule| rule.table == table || priorities.contains(&rule.priority);
            for message in self.netlink.list(&messages::all_rules(v6)).map_err(listing)? {
                if let RouteNetlinkMessage::NewRule(message) = message {
                    state.rules.extend(messages::rule_of(&message).filter(ours));
                }
            }
        }
        Ok(state)
    }

    fn add(&mut self, state: &State, index: u32) -> Result<(), NetConfigError> {
        let create = NLM_F_CREATE | NLM_F_EXCL;
        for net in &state.addresses {
            let message = RouteNetlinkMessage::NewAddress(messages::address(index, *net));
            let added = self.netlink.change(message, NLM_F_CREATE | NLM_F_REPLACE);
            added.map_err(step(&format!("add the address {net}")))?;
        }
        for route in &state.routes {
            let message = RouteNetlinkMessage::NewRoute(messages::route(route));
            // The main table is everybody's: nobody else's route to there gives way.
            let flags = if route.table == MAIN_TABLE { create } else { NLM_F_CREATE | NLM_F_REPLACE };
            self.netlink.change(message, flags).map_err(step(&format!("add the route to {}", route.destination)))?;
        }
        for rule in &state.rules {
            let message = RouteNetlinkMessage::NewRule(messages::rule(rule));
            unless(self.netlink.change(message, create), &[Errno::EEXIST])
                .map_err(step(&format!("add the routing rule of priority {}", rule.priority)))?;
        }
        Ok(())
    }

    /// Removes the rules first: from then on nothing looks at the routes.
    fn remove(&mut self, state: &State, index: u32) -> Result<(), NetConfigError> {
        const GONE: &[Errno] = &[Errno::ENOENT, Errno::ESRCH, Errno::ENODEV, Errno::EADDRNOTAVAIL];
        for rule in &state.rules {
            let message = RouteNetlinkMessage::DelRule(messages::rule(rule));
            unless(self.netlink.change(message, 0), GONE)
                .map_err(step(&format!("remove the routing rule of priority {}", rule.priority)))?;
        }
        for route in &state.routes {
            let message = RouteNetlinkMessage::DelRoute(messages::route(route));
            unless(self.netlink.change(message, 0), GONE)
                .map_err(step(&format!("remove the route to {}", route.destination)))?;
        }
        for net in &state.addresses {
            let message = RouteNetlinkMessage::DelAddress(messages::address(index, *net));
            unless(self.netlink.change(message, 0), GONE).map_err(step(&format!("remove the address {net}")))?;
        }
        Ok(())
    }

    /// The switches that `desired` needs. They stay on until the settings are taken back.
    fn turn_on(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        let mut names = Vec::new();
        if desired.forwarding {
            names.push("net/ipv4/ip_forward");
            if carries_ipv6(desired) {
                names.push("net/ipv6/conf/all/forwarding");
            }
        }
        for name in names {
            let switch = Switch::on(name).map_err(step(&format!("turn on {name}")))?;
            self.switches.extend(switch);
        }
        if matches!(desired.routing, Routing::Policy(_)) {
            // The reverse-path filter looks up answers to marked packets with their mark.
            match Switch::on("net/ipv4/conf/all/src_valid_mark") {
                Ok(switch) => self.switches.extend(switch),
                // Matters only where the filter is strict and the gateway's address is not in `bypass`.
                Err(error) => tracing::warn!(%error, "src_valid_mark was not turned on"),
            }
        }
        Ok(())
    }
}

fn carries_ipv6(desired: &Desired) -> bool {
    desired.routes.iter().chain(&desired.addresses).any(|net| net.addr().is_ipv6())
}

fn step(step: &str) -> impl FnOnce(io::Error) -> NetConfigError + use<> {
    let step = step.to_owned();
    move |cause| NetConfigError::Step { step, cause }
}

/// As `result`, but these errors are none.
fn unless(result: io::Result<()>, fine: &[Errno]) -> io::Result<()> {
    match result {
        Err(error) if fine.iter().any(|fine| error.raw_os_error() == Some(*fine as i32)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
