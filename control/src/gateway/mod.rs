//! The gateway: one process with the organisation's memory, its HTTPS API, and the far end of every tunnel.
//!
//! ```text
//! administrator -- /client/v4/accounts/{id}/...  --+
//! device ---------- /vestibule/v1/...            --+--> App --> Store (SQLite)
//! browser --------- /warp ...                    --+     |
//!                                                        +----> DataPlane --> the worker that owns the engine
//! device ========== WireGuard ====================================^
//! ```
//!
//! Writes reach the disk before they are answered and before the engine hears of them.

mod access;
mod admin;
mod app;
mod book;
mod clock;
mod dataplane;
mod device;
pub(crate) mod duration;
mod error;
mod events;
mod expiring;
mod facts;
mod files;
mod host;
mod hub;
mod inactivity;
mod known;
mod login;
mod options;
mod posture;
mod profiles;
mod revocation;
mod secret;
mod server;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

pub use error::GatewayError;
pub use facts::Facts;
pub use options::{DataPlaneKind, Options, PlainPeer, PlainPeerError, StartWorker};
pub use server::{Gateway, run};
