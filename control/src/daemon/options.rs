//! What the command line tells the daemon, and why it may not start.

use super::{remote::GatewayAddressError, store::StoreError};
use crate::{
    api::pin::{Pin, PinError},
    crypto::RandomError,
    gateway::StartWorker,
};
use serde::Serialize;
use std::{fmt, io, net::IpAddr, path::PathBuf, time::Duration};
use vestibule_engine::generation::HttpChoice;
use vestibule_platform::{
    adapter::AdapterError, local::LocalError, lockdown::LockdownError, netcfg::NetConfig, rights, runtime::Stopped,
    secrets::SecretError, session::SessionError,
};

/// What moves the device's packets.
pub enum DataPlane {
    /// This host's kernel: a TUN device, a UDP socket, addresses and routes. Needs the rights for them.
    Kernel,
    /// A worker of the caller's making, on memory twins for instance.
    Worker {
        /// Starts it.
        start: StartWorker,
        /// The host's network settings, or their twin.
        network: Box<dyn NetConfig>,
    },
}

impl fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "Kernel",
            Self::Worker { .. } => "Worker",
        })
    }
}

/// Who tells who is logged on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsFrom {
    /// The system: systemd-logind over D-Bus, or Windows' terminal services.
    System,
    /// Lines on a local socket.
    Socket(PathBuf),
}

impl From<std::ffi::OsString> for SessionsFrom {
    /// The word `system` (or `logind`, its name on Linux), or a path.
    fn from(text: std::ffi::OsString) -> Self {
        if text == "system" || text == "logind" { Self::System } else { Self::Socket(text.into()) }
    }
}

/// Which versions of HTTP tunnels over MASQUE may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum HttpVersions {
    /// HTTP/3, and HTTP/2 where no UDP gets through.
    #[default]
    Auto,
    /// HTTP/3, over UDP.
    #[value(name = "3")]
    Three,
    /// HTTP/2, over TCP.
    #[value(name = "2")]
    Two,
}

impl From<HttpVersions> for HttpChoice {
    fn from(versions: HttpVersions) -> Self {
        match versions {
            HttpVersions::Auto => Self::Http3First,
            HttpVersions::Three => Self::Http3Only,
            HttpVersions::Two => Self::Http2Only,
        }
    }
}

impl HttpVersions {
    /// True when `version` is one of them.
    #[must_use]
    pub(crate) fn has(self, version: Self) -> bool {
        self == Self::Auto || self == version
    }

    /// As the command line calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Three => "3",
            Self::Two => "2",
        }
    }
}

/// Options of `vestibule service run`.
#[derive(Debug)]
pub struct Options {
    /// The MDM file. Beside it lies the file of emergencies.
    pub mdm: PathBuf,
    /// Another one, which goes before it while it is there.
    pub own_mdm: Option<PathBuf>,
    /// Directory of keys, secrets and state.
    pub state: PathBuf,
    /// `https://HOST[:PORT]`; the one of the last start when absent.
    pub gateway: Option<String>,
    /// Its certificate's SHA-256; the one of the last start when absent.
    pub pin: Option<Pin>,
    /// The client certificate and its key, in PEM; `client.pem` in the state directory when absent.
    pub client_certificate: Option<PathBuf>,
    /// The control socket.
    pub control: PathBuf,
    /// Who tells who is logged on; the system where it does, when absent.
    pub sessions: Option<SessionsFrom>,
    /// Name of the adapter.
    pub interface: String,
    /// Its MTU.
    pub mtu: u16,
    /// Which versions of HTTP MASQUE may use.
    pub http: HttpVersions,
    /// Where the resolver of the fallback domains listens; one that is free when absent.
    pub resolver: Option<IpAddr>,
    /// Opens a login's address for the user; without it, their own browser on their desktop does.
    pub browser: Option<String>,
    /// How long a login may take.
    pub login_timeout: Option<Duration>,
    /// The host's network is closed but for the tunnel. With [`DataPlane::Kernel`] only.
    pub lockdown: bool,
    /// What moves the packets.
    pub data_plane: DataPlane,
}

/// Where a running daemon is.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// SHA-256 of the device key, hex.
    pub device_id: String,
    /// The gateway.
    pub gateway: String,
    /// The control socket.
    pub control: PathBuf,
    /// Name of the adapter.
    pub interface: String,
    /// The process.
    pub pid: u32,
}

/// Why the daemon did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This process may not change the machine's network.
    #[error("the daemon may not make its network adapter")]
    NotAllowed(#[from] rights::Missing),
    /// The state directory.
    #[error("the state directory cannot be used")]
    State(#[from] SecretError),
    /// Another daemon uses it.
    #[error(
        "another `vestibule service run` uses the state directory {}: stop that one first, or give this one a \
         directory of its own by --state", path.display()
    )]
    SecondInstance {
        /// The state directory.
        path: PathBuf,
    },
    /// Something in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody said which gateway.
    #[error("no gateway is known: start once with `--gateway URL --pin SHA256HEX`, as `vestibule gateway` prints them")]
    NoGateway,
    /// Nobody said how to recognise it.
    #[error("the gateway's pin is missing: give `--pin SHA256HEX` with `--gateway`, as `vestibule gateway` prints it")]
    NoPin,
    /// Not a gateway's address.
    #[error(transparent)]
    Gateway(#[from] GatewayAddressError),
    /// Not a pin.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// No adapter.
    #[error("no virtual network adapter")]
    Adapter(#[from] AdapterError),
    /// A directory below the state directory.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// No UDP socket.
    #[error("cannot open the tunnel's UDP socket: it needs CAP_NET_ADMIN for its mark")]
    Socket(#[source] io::Error),
    /// No worker thread.
    #[error("cannot start the packet worker")]
    Worker(#[source] io::Error),
    /// It stopped.
    #[error("the daemon cannot go on")]
    WorkerStopped(#[source] Stopped),
    /// The host's network was not closed.
    #[error("no lockdown")]
    Lockdown(#[from] LockdownError),
    /// No control socket.
    #[error("no control socket")]
    Control(#[source] LocalError),
    /// No session events.
    #[error("no session events")]
    Sessions(#[from] SessionError),
    /// No boot id.
    #[error("the system does not tell which start of it this is")]
    BootId(#[source] io::Error),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}
