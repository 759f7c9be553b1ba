//! `vestibule gateway`.

use super::failure;
use crate::gateway::{DataPlaneKind, Options, PlainPeer, run};
use clap::Args;
use ipnet::{IpNet, Ipv4Net};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use tracing_subscriber::EnvFilter;

pub(crate) const EXAMPLES: &str = "Examples:
  sudo vestibule gateway --data /var/lib/vestibule-gateway --organization mycompany --route 10.20.0.0/24
  sudo vestibule gateway --data DIR --advertise 203.0.113.7:51820 --certificate fullchain.pem --key privkey.pem
  sudo vestibule gateway --data DIR --plain-peer 'PUBLICKEY=,100.96.255.9/32'

The first start makes everything and prints the pin that devices need. Then, with the token in DIR/admin-token:
  curl -k -H \"Authorization: Bearer $(cat DIR/admin-token)\" \\
    https://127.0.0.1:8443/client/v4/accounts/ACCOUNT/vestibule/status
RUST_LOG=debug says more.";

/// Options of the verb.
#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    /// Directory of the database, keys and certificate; made on first start
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Team name; fixed on first start
    #[arg(long, value_name = "NAME", default_value = "mycompany", value_parser = team)]
    organization: String,
    /// Where the API and the login form are served
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8443")]
    https: SocketAddr,
    /// Where tunnels end
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:51820")]
    tunnel: SocketAddr,
    /// Where devices reach the tunnel [default: --tunnel, or where they reached the API]
    #[arg(long, value_name = "IP:PORT")]
    advertise: Option<SocketAddr>,
    /// Inner addresses: the first host is the gateway's, devices get the rest
    #[arg(long, value_name = "PREFIX", default_value = "100.96.0.0/12")]
    addresses: Ipv4Net,
    /// What devices route into the tunnel; may be given several times [default: --addresses]
    #[arg(long = "route", value_name = "PREFIX")]
    routes: Vec<IpNet>,
    /// Name of the tunnel's network device
    #[arg(long, value_name = "NAME", default_value = "vestibule0")]
    interface: String,
    /// Its MTU in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1420, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: u16,
    /// Certificate chain (PEM) to use instead of one made on first start
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Another WireGuard peer: KEY,ADDR/LEN[,ENDPOINT]; may be given several times
    #[arg(long = "plain-peer", value_name = "PEER")]
    plain_peers: Vec<PlainPeer>,
    /// Print the facts of the running gateway as JSON
    #[arg(long)]
    json: bool,
}

/// A team name becomes part of host names.
fn team(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(fine) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 63 letters, digits and hyphens".to_owned())
    }
}

pub(crate) fn run_verb(options: GatewayOptions) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // An error means that somebody logs already.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
    let json = options.json;
    let options = Options {
        data: options.data,
        organization: options.organization,
        https: options.https,
        tunnel: options.tunnel,
        advertise: options.advertise,
        addresses: options.addresses,
        routes: options.routes,
        interface: options.interface,
        mtu: options.mtu,
        certificate: options.certificate.zip(options.key),
        plain_peers: options.plain_peers,
        json,
        data_plane: DataPlaneKind::Kernel,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error, "runtime", json),
    };
    let result = runtime.block_on(run(options));
    // Calls that still wait are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, "gateway", json),
    }
}
