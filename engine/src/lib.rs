//! The Vestibule data plane: packets, flows, policy, WireGuard and the lossless identity swap.
//!
//! Sans-IO: bytes and `now` go in, bytes, events and deadlines come out. The crate opens no socket, starts no
//! thread, and reads no file. Read [`core::Engine`] first; the packet's two walks are
//! `core/outbound.rs` and `core/inbound.rs`.

pub mod classify;
pub mod core;
pub mod generation;
pub mod packet;
pub mod policy;
pub mod wireguard;
