//! A gateway with devices that behave and clients that do not, joined by a wire without loss or delay.

#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod h3;
#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod raw;
#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod world;
