//! Effects for the Vestibule engine: adapters, sockets, routes, sessions, secrets, clock, and the worker that joins them.
//!
//! A service that embeds the data plane; with `adapter::Tun` and `socket::Udp` in place of the twins it is a real one:
//!
//! ```
//! use std::{net::SocketAddr, sync::Arc, time::{Duration, Instant, SystemTime}};
//! use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind};
//! use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
//! use vestibule_engine::policy::{Action, Policy};
//! use vestibule_engine::random::Seed;
//! use vestibule_platform::{adapter::memory::pair, clock, runtime::Worker, socket::memory::Hub};
//!
//! fn key() -> PrivateKey {
//!     let mut bytes = [0; 32];
//!     clock::entropy(&mut bytes).expect("the system has entropy");
//!     PrivateKey::new(bytes)
//! }
//! let peer = PeerId(1);
//! let engine = |key: &PrivateKey, kind, owns: &str| {
//!     let config = EngineConfig::new(key.clone(), Seed::new(*key.expose()), SystemTime::now());
//!     let mut engine = Engine::new(config, Instant::now());
//!     engine.set_peer(peer, kind, vec![owns.parse().expect("a network")]);
//!     engine
//! };
//! let generation = |own: &PrivateKey, other: &PrivateKey, endpoint| GenerationConfig {
//!     id: GenerationId(1),
//!     swap_seq: 1,
//!     identity: "anna@example.com".into(),
//!     private_key: own.clone(),
//!     peer_public_key: other.public(),
//!     preshared_key: None,
//!     endpoint,
//!     persistent_keepalive: None,
//!     policy: Arc::new(Policy::compile(vec![], Action::Allow)),
//!     last_handshake: [0; 12],
//!     index: 7,
//! };
//! // Two ends: each an engine, an adapter and a socket on a thread of their own.
//! let (at_device, at_gateway) = (key(), key());
//! let (network, address) = (Hub::new(), SocketAddr::from(([192, 0, 2, 1], 51820)));
//! let (adapter, intranet) = pair(64, 1420);
//! let socket = network.bind(address)?;
//! let (gateway, _) =
//!     Worker::spawn(engine(&at_gateway, PeerKind::Device, "100.96.0.2/32"), adapter, socket, "gateway")?;
//! let (adapter, desktop) = pair(64, 1420);
//! let socket = network.bind("198.51.100.7:0".parse()?)?;
//! let (device, events) = Worker::spawn(engine(&at_device, PeerKind::Gateway, "0.0.0.0/0"), adapter, socket, "device")?;
//! // One identity: prepared at both ends, ready by its handshake, committed at once.
//! let there = generation(&at_gateway, &at_device, None);
//! gateway.with(move |engine, now| engine.prepare(peer, there, now))??;
//! let here = generation(&at_device, &at_gateway, Some(address));
//! device.with(move |engine, now| engine.prepare(peer, here, now))??;
//! while !matches!(events.recv()?, Event::Ready { .. }) {}
//! device.with(move |engine, now| engine.commit(peer, GenerationId(1), now))??;
//! // A ping from the desktop leaves the other end as it was.
//! let ping = b"\x45\0\0\x1c\0\0\0\0\x40\x01\x0c\x1c\x64\x60\0\x02\x0a\x14\0\x50\x08\0\xf7\xff\0\0\0\0";
//! assert!(desktop.send(*ping));
//! assert_eq!(intranet.receive(Duration::from_secs(10)).expect("the ping").bytes, ping);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each folder holds one trait-shaped signature, one file per operating system chosen in its `mod.rs`, and one
//! in-memory twin that works everywhere. `cfg` on the operating system appears in this crate and nowhere else.
//!
//! - [`adapter`]: frames from and to the host, a batch at a time;
//! - [`socket`]: datagrams from and to the network, a batch at a time;
//! - [`carrier`]: tunnels' capsules over HTTP/2, where UDP does not get through;
//! - [`runtime`]: one worker thread per end, run to completion;
//! - [`wait`]: what the worker sleeps on;
//! - [`netcfg`]: addresses, routes, and the rules against loops;
//! - [`session`]: who is logged on; [`desktop`]: how to show them a page in their browser;
//! - [`lockdown`]: nothing leaves the host but through the tunnel;
//! - [`dns`]: which resolvers the system asks;
//! - [`secrets`], [`files`]: what rests on the disk; [`signing`]: keys that do not;
//! - [`clock`]: time that counts sleep, entropy;
//! - [`pages`]: how large the pages of memory are;
//! - [`facts`]: what the system says of itself; [`rights`]: what this process may do; [`service`], [`eventlog`]: its service manager and its log;
//! - [`local`]: the daemon's control socket;
//! - [`sandbox`]: hosts and cables that the kernel takes away with their first process;
//! - [`measure`], [`capture`]: what checks a tunnel from outside, without the engine.

pub mod adapter;
pub mod capture;
pub mod carrier;
pub mod clock;
pub mod desktop;
pub mod dns;
pub mod eventlog;
pub mod facts;
pub mod files;
#[cfg(windows)]
mod late;
pub mod local;
pub mod lockdown;
pub mod measure;
pub mod netcfg;
pub mod pages;
pub mod rights;
pub mod runtime;
pub mod sandbox;
pub mod secrets;
pub mod service;
pub mod session;
pub mod signing;
pub mod socket;
mod sync;
#[cfg(all(test, target_os = "linux"))]
mod testing;
mod unsupported;
pub mod wait;
#[cfg(windows)]
mod win32;

pub use unsupported::Unsupported;
