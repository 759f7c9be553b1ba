//! Effects for the Vestibule engine: adapters, sockets, routes, sessions, secrets, clock, and the worker that joins them.
//!
//! Each folder holds one trait-shaped signature, one file per operating system chosen in its `mod.rs`, and one
//! in-memory twin that works everywhere. `cfg` on the operating system appears in this crate and nowhere else.
//!
//! - [`adapter`]: frames from and to the host, a batch at a time;
//! - [`socket`]: datagrams from and to the network, a batch at a time;
//! - [`runtime`]: one worker thread per end, run to completion;
//! - [`wait`]: what the worker sleeps on;
//! - [`netcfg`]: addresses, routes, and the rules against loops;
//! - [`session`]: who is logged on;
//! - [`secrets`], [`files`]: what rests on the disk;
//! - [`clock`]: time that counts sleep, entropy;
//! - [`local`]: the daemon's control socket;
//! - [`sandbox`]: hosts and cables that the kernel takes away with their first process;
//! - [`measure`], [`capture`]: what checks a tunnel from outside, without the engine.

pub mod adapter;
pub mod capture;
pub mod clock;
pub mod files;
pub mod local;
pub mod measure;
pub mod netcfg;
pub mod runtime;
pub mod sandbox;
pub mod secrets;
pub mod session;
pub mod socket;
#[cfg(all(test, target_os = "linux"))]
mod testing;
mod unsupported;
pub mod wait;

pub use unsupported::Unsupported;
