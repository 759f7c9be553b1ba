//! Identity, registration, policy documents, the gateway, the device daemon and the command line of Vestibule.

pub mod api;
pub mod causes;
pub mod cli;
#[cfg(test)]
mod compatibility;
pub mod crypto;
pub mod daemon;
pub mod demo;
pub mod gateway;
pub mod masque;
pub mod mdm;
pub mod registration;
pub mod rules;
pub mod secret;
pub mod soak;
mod splitmix;
mod wire;
pub mod wireguard;
mod world;
