//! `vestibule masque`: an IP tunnel to any RFC 9484 peer, without a gateway, a registration or rules.
//!
//! The packets take the product's own path: the same engine, flow table and counters. By file: `options` (what is asked
//! for), `secrets` and `identity` (files), `clients` (who may come, and with which addresses), `routes` (what goes where on
//! the host), `host` (adapter, socket and worker), `report` (what is told), `front` (proxies), `peer` (names and
//! where they are), `connect` and `listen`.

mod clients;
mod connect;
mod front;
mod host;
mod identity;
mod listen;
mod options;
mod peer;
mod report;
mod routes;
mod secrets;

pub use clients::{Admission, ClientProof, PoolError};
pub use connect::{ConnectOptions, FreshIdentity, Shown, connect};
pub use front::FrontError;
pub use host::HostError;
pub use identity::{IdentityError, Trusted, key_id, parse_key_id, read_identity, read_key, self_made, trust};
pub use listen::{ListenOptions, listen};
pub use options::MasqueError;
pub use report::Reporter;
pub use secrets::{Scheme, SecretsError, from_environment, read_secrets};
