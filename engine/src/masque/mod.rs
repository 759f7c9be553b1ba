//! MASQUE: IP packets over HTTP (RFC 9484, CONNECT-IP, on RFC 9297, capsules and HTTP datagrams).
//!
//! Bottom-up: `varint` and `capsule` are the wire's letters, `datagram` the frame around one packet, `ip` decides what
//! may travel, `request` opens and answers a tunnel in any HTTP version, `tunnel` is one open tunnel whatever carries it.
//! `session` is all of it over HTTP/3, `stream` a tunnel inside a byte stream, as HTTP/2 gives one.
//! `docs/masque.md` says which rule of the standards is kept where.

pub mod addresses;
pub mod capsule;
pub mod datagram;
pub mod ip;
pub mod request;
#[cfg(test)]
mod rows_tests;
pub mod session;
pub mod stream;
mod tunnel;
pub mod varint;
