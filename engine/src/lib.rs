//! The Vestibule data plane: packets, flows, policy, WireGuard and the lossless identity swap.
//!
//! Sans-IO: bytes and `now` go in, bytes, events and deadlines come out. The crate opens no socket, starts no
//! thread, and reads no file. Read [`core::Engine`] first; the packet's two walks are
//! `core/outbound.rs` and `core/inbound.rs`, the swap is `core/swap.rs`.
//!
//! A device and a gateway in one process, from the first handshake to a packet:
//!
//! ```
//! use std::{net::SocketAddr, sync::Arc, time::{Instant, SystemTime}};
//! use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind};
//! use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
//! use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, Offload};
//! use vestibule_engine::policy::{Action, Policy};
//! use vestibule_engine::random::Seed;
//!
//! /// What a socket or an adapter would lend: buffers, the size of their segments, and where they came from.
//! struct Lent(Vec<(Vec<u8>, usize)>, Vec<u8>, SocketAddr);
//! impl Datagrams for Lent {
//!     fn next_datagram(&mut self) -> Option<Datagram<'_>> {
//!         let (bytes, stride) = self.0.pop()?;
//!         self.1 = bytes;
//!         Some(Datagram { stride, bytes: &mut self.1, source: self.2, ecn: Ecn::NotEct })
//!     }
//! }
//! impl Frames for Lent {
//!     fn next_frame(&mut self) -> Option<Frame<'_>> {
//!         self.1 = self.0.pop()?.0;
//!         Some(Frame { bytes: &mut self.1, offload: Offload::default() })
//!     }
//! }
//! /// Carries what `from` wants to send to `to`.
//! fn carry(from: &mut Engine, source: SocketAddr, to: &mut Engine, now: Instant) {
//!     let sent = from.transmits().batches().rev().map(|batch| (batch.bytes().to_vec(), batch.segment)).collect();
//!     from.transmits().release(usize::MAX);
//!     to.handle_datagrams(&mut Lent(sent, Vec::new(), source), now);
//! }
//!
//! let now = Instant::now();
//! let (device_key, gateway_key) = (PrivateKey::new([1; 32]), PrivateKey::new([2; 32]));
//! let (at_device, at_gateway) = ("192.0.2.2:51820".parse()?, "192.0.2.1:51820".parse()?);
//! let engine = |key: &PrivateKey| Engine::new(EngineConfig::new(key.clone(), Seed::new(*key.expose()), SystemTime::now()), now);
//! let (mut device, mut gateway) = (engine(&device_key), engine(&gateway_key));
//! device.set_peer(PeerId(1), PeerKind::Gateway, vec!["0.0.0.0/0".parse()?]);
//! gateway.set_peer(PeerId(1), PeerKind::Device, vec!["100.96.0.2/32".parse()?]);
//!
//! let generation = |private_key: &PrivateKey, peer: &PrivateKey, endpoint| GenerationConfig {
//!     id: GenerationId(1), swap_seq: 1, identity: "user@example.com".into(), private_key: private_key.clone(),
//!     peer_public_key: peer.public(), preshared_key: None, endpoint, persistent_keepalive: Some(25),
//!     policy: Arc::new(Policy::compile(Vec::new(), Action::Allow)), last_handshake: [0; 12], index: 77,
//! };
//! gateway.prepare(PeerId(1), generation(&gateway_key, &device_key, None), now)?;
//! device.prepare(PeerId(1), generation(&device_key, &gateway_key, Some(at_gateway)), now)?;
//! carry(&mut device, at_device, &mut gateway, now); // handshake initiation
//! carry(&mut gateway, at_gateway, &mut device, now); // response
//! assert!(matches!(device.poll_event(), Some(Event::Ready { .. })));
//! device.commit(PeerId(1), GenerationId(1), now)?;
//!
//! let ping = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 100, 96, 0, 2, 10, 0, 0, 1, 8, 0, 0, 0, 0, 1, 0, 1];
//! device.handle_frames(&mut Lent(vec![(ping.to_vec(), 0)], Vec::new(), at_device), now);
//! carry(&mut device, at_device, &mut gateway, now); // marker and ping
//! let frame: Vec<u8> = gateway.deliveries().frames().next().ok_or("no ping")?.pieces().flatten().copied().collect();
//! assert_eq!(frame, ping);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod classify;
pub mod core;
pub mod generation;
pub mod masque;
pub mod packet;
pub mod policy;
pub mod random;
pub mod wireguard;
