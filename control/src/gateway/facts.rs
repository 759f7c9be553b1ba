//! What scripts need to know of a running gateway: `DIR/gateway.json`. No secrets.

use crate::api::pin::Pin;
use ipnet::IpNet;
use serde::Serialize;
use std::{fmt, net::SocketAddr, path::PathBuf};

/// Facts of a running gateway.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Team name.
    pub organization: String,
    /// Of the admin API's paths.
    pub account_id: String,
    /// Where the API is served.
    pub https: SocketAddr,
    /// Base address for devices and administrators on this host.
    pub url: String,
    /// SHA-256 of the certificate.
    #[serde(serialize_with = "pin")]
    pub certificate_sha256: Pin,
    /// Where devices send datagrams.
    pub endpoint: SocketAddr,
    /// The tunnel's public key, base64.
    pub tunnel_public_key: String,
    /// The gateway's inner address.
    pub address: IpNet,
    /// File with the admin API's bearer token.
    pub admin_token_file: PathBuf,
    /// Process id.
    pub pid: u32,
}

fn pin<S: serde::Serializer>(pin: &Pin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(pin)
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vestibule gateway of {}: API {} · tunnel {} · pin {} · account {} · admin token in {}",
            self.organization,
            self.url,
            self.endpoint,
            self.certificate_sha256,
            self.account_id,
            self.admin_token_file.display()
        )
    }
}
