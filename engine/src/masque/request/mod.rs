//! Opening a tunnel: the request and its answer (RFC 9484 sections 3 and 4) for either end, in terms that all HTTP
//! versions share.

mod answer;
mod credentials;
mod dialect;
mod head;
mod incoming;
mod target;
mod template;
mod template_match;
#[cfg(test)]
mod tests;

pub use answer::{Accepted, Answer, ResponseError};
pub use credentials::Credentials;
pub(crate) use dialect::DRAFT_H3_DATAGRAM;
pub use dialect::Dialect;
pub use head::{Field, Head, HttpVersion, Outgoing};
pub use incoming::{Incoming, Rejection};
pub use target::{Target, TargetError};
pub use template::{TemplateError, UriTemplate};

/// The upgrade token of IP proxying.
pub const CONNECT_IP: &str = "connect-ip";
/// The field that tells capsules follow (RFC 9297 section 3.4).
const CAPSULE_PROTOCOL: &str = "capsule-protocol";
