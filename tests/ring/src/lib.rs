//! Wintun's rings as a model. It keeps to what the signed driver, 0.14.1, does: its layout, its answers, its order, and
//! its faults.
//!
//! A session has two rings in memory that the program and the driver share. Each has one end that writes packets and
//! moves `tail`, and one that reads them and moves `head`; a packet is a size and its bytes, aligned to four bytes, and
//! never wraps (behind the capacity there is room for one more packet).
//!
//! | ring | writes | reads |
//! |---|---|---|
//! | outbound, what the host sends into the tunnel | [`Sender`], in the driver | [`Consumer`], in `wintun.dll` |
//! | inbound, what the tunnel brings for the host | [`Producer`], in `wintun.dll` | [`Receiver`], in the driver |
//!
//! The four are what `loom` explores (`tests/run` says how). [`Device`] joins them to an adapter with a host behind it,
//! into which a test reaches: it sends and takes packets and injects faults. The stand-in `wintun.dll` is that device
//! behind the real one's functions.

mod client;
#[cfg(not(loom))]
mod device;
mod driver;
mod layout;
mod memory;
mod ring;
mod sync;

pub use client::{Consumer, Producer, Refused};
#[cfg(not(loom))]
pub use device::{Counts, Device, Lost, Session, StartError};
pub use driver::{ChainDropped, Indicated, Receiver, Sender, Taken};
pub use layout::{ALIGNMENT, CapacityError, ENDED, MAX_CAPACITY, MAX_PACKET, MIN_CAPACITY, check_capacity, stored};
pub use ring::{Fences, Ring, Slot};
pub use sync::Arc;
