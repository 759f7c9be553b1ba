//! One named test per row of the specification, and the invariants under random events.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod decisions;
mod decisions_time;
mod device;
mod guards;
mod multi_user;
mod oracle;
mod properties;
mod rows;
mod single_user;
mod vendor;
mod world;
