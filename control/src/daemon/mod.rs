//! The device's daemon, `vestibule service run`: it owns the registration machine and carries out what it decides.

pub mod ipc;
