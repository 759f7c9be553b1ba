//! `vestibule wireguard`: one WireGuard interface, configured by `wg` and `wg-quick` through the userspace protocol.
//!
//! The packets take the product's own path: the same engine, flow table, policy and counters.

mod background;
mod device;
mod engine;
mod host;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use background::{detach, is_detached};
pub use host::{End, Options, Ready, StartError, run};
