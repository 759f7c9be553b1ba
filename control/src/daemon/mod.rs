//! The device's daemon, `vestibule service run`: it owns the registration machine and carries out what it decides.

mod certificate;
mod configuration;
pub mod device_key;
mod dns;
mod driver;
mod emergency;
pub mod enrol;
mod held;
mod host;
pub mod ipc;
mod journal;
mod lockdown;
pub mod login;
mod moves;
mod options;
pub(crate) mod order;
mod poll;
mod posture;
pub mod remote;
mod retry;
mod sessions;
pub mod settings;
mod start;
pub mod store;
mod tunnel;
#[cfg(test)]
mod twin;
mod wall;
mod ways;

pub use options::{DataPlane, Facts, HttpVersions, Options, SessionsFrom, StartError};
pub use start::run;
