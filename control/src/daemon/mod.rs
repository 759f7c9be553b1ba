//! The device's daemon, `vestibule service run`: it owns the registration machine and carries out what it decides.

pub mod device_key;
pub mod enrol;
pub mod ipc;
pub mod login;
pub mod remote;
