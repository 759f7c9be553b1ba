//! Packets in batches: what an adapter or socket lends, and what the engine hands back.

mod delivery;
mod lend;
mod transmit;

pub use delivery::{Delivery, DeliveryQueue};
pub use lend::{Datagram, Datagrams, Frame, Frames, Gso, Offload};
pub use transmit::{Transmit, TransmitQueue};
