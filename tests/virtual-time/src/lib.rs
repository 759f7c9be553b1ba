//! Both ends of the engine in one thread, under virtual time, over a seeded network.
//!
//! [`Sim`] holds devices, the gateway, the network between them and stand-ins for the control channel. A run is a
//! function of its seed (the key bytes that boringtun draws itself do not steer anything). Three judges watch it:
//! [`wire`] sees every datagram, [`model`] knows what was sent and what each identity allows, and [`node`] checks
//! that deadlines make progress.
//!
//! `cargo test` runs a few hundred random histories, `VESTIBULE_SIM_RUNS=10000 cargo test --test properties` the nightly
//! number; a failure prints the shortest history that still fails and the seed that replays it.
//!
//! The mock clock is thread-local: one simulation per thread at a time; [`Clock::start`] resets it.

pub mod clock;
pub mod control;
pub mod deaf;
pub mod generations;
pub mod judge;
pub mod model;
pub mod network;
pub mod node;
pub mod noise;
pub mod packet;
pub mod policy;
pub mod random;
pub mod sim;
pub mod steer;
pub mod steps;
pub mod traffic;
pub mod tunn;
pub mod wire;

pub use clock::Clock;
pub use random::Random;
pub use sim::{Settings, Sim};
