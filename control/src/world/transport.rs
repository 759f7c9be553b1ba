//! What tunnels travel over.

use crate::daemon::HttpVersions;
use serde::{Deserialize, Serialize};

/// What tunnels travel over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// WireGuard.
    #[default]
    Wireguard,
    /// MASQUE: CONNECT-IP over HTTP/3.
    Masque,
    /// The same over HTTP/2.
    H2,
}

impl Transport {
    /// As the command line calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard",
            Self::Masque => "masque",
            Self::H2 => "h2",
        }
    }

    /// As profiles call it.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard",
            Self::Masque | Self::H2 => "masque",
        }
    }

    /// True when tunnels travel in datagrams.
    pub(crate) fn uses_udp(self) -> bool {
        self != Self::H2
    }

    /// Which versions of HTTP the device may use.
    pub(crate) fn http(self) -> HttpVersions {
        match self {
            Self::Wireguard => HttpVersions::Auto,
            Self::Masque => HttpVersions::Three,
            Self::H2 => HttpVersions::Two,
        }
    }
}
