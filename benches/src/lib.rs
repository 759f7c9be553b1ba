//! Vestibule.
//! Fixtures for benches and tests of a gateway with many peers.

pub mod crowd;
pub mod masque;
pub mod parcel;
pub mod traffic;
