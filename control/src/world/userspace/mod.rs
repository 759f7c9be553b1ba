//! Both ends in one process (`--userspace`).
//!
//! Gateway and daemon run in this process with everything that is theirs (store, HTTPS on the loopback, registration
//! machine, engine, worker threads), and the network between them is memory. Everything else is memory, too, so that it runs
//! without root, on any system: packets are made and checked by hand, which shows the walk and the swap, not the speed of a
//! kernel's path. Or the device has a real adapter, and its programs use the system's kernel (`adapter`).

mod adapter;
mod datagrams;
mod ends;
mod load;
mod memory;
mod packet;
mod planted;
mod room;
mod scene;
mod stack;
mod tap;
mod tcp;
#[cfg(test)]
mod testing;
mod trouble;

pub(crate) use room::Room;
pub(crate) use scene::Userspace;

use super::intranet::Intranet;

/// A real adapter for the device, and the intranet behind its tunnel.
#[derive(Clone, Debug)]
pub(crate) struct RealAdapter {
    /// The adapter's name on this system.
    pub name: String,
    /// No other tunnel of this system leads there.
    pub intranet: Intranet,
}
