//! A stand-in for `wintun.dll` where the driver cannot be: under Wine, and wherever faults are wanted at will.
//!
//! `api` exports the real one's fourteen functions, `host` what a test needs to stand in for the operating system:
//! it sends packets into an adapter, takes what the adapter brought, and injects the driver's faults. What rings do is in
//! `vestibule-ring`; a thread per session plays the driver's.
//!
//! Adapters live in this process alone, and go with it.
#![cfg(windows)]

mod adapter;
mod api;
mod event;
mod host;
