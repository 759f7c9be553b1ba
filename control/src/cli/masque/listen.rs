//! `vestibule masque listen`.

use super::values::path;
use super::{Common, Failure};
use crate::daemon::HttpVersions;
use crate::masque::{
    ClientProof, ListenOptions, Reporter, Scheme, listen, parse_key_id, read_identity, read_secrets, self_made,
};
use clap::Args;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use vestibule_engine::masque::request::UriTemplate;

pub(super) const EXAMPLES: &str = "Examples:
  sudo vestibule masque listen --bearer-file tokens              one client per line, self-made certificate
  sudo vestibule masque listen --certificate chain.pem --key key.pem --basic-file users --addresses 10.9.0.0/24
  sudo vestibule masque listen --client-key SHA256 --routes 10.20.0.0/16 --forward
  sudo vestibule masque listen --no-auth 4 --listen 127.0.0.1:4433

Every client is known beforehand by a token, a user, or the key of its certificate, and has addresses of its own: the first
host of --addresses is this host's, clients get the next ones, tokens first, then users, then keys, then guests, each in
the order given. A second connection by the same proof takes the first one's place. Packets to anywhere else than this
host need --forward, and a way back: a route to --addresses, or your own NAT.

A target that is a name is resolved by this host. Clients over UDP and TCP come to the same port.

Exit codes: 0 it was ended, 1 it failed, 2 the command line is wrong. RUST_LOG=debug says more.";

/// `masque listen`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("admission").required(true).multiple(true))]
pub(crate) struct ListenArguments {
    /// Where to listen, UDP and TCP
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:443")]
    listen: SocketAddr,
    /// Versions of HTTP that are served: 3 (at UDP), 2 (at TCP), or both
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = HttpVersions::Auto)]
    http: HttpVersions,
    /// Path of tunnels, with {target} and {ipproto}; may be given several times [default: the well-known one]
    #[arg(long = "template", value_name = "PATH", value_parser = path)]
    templates: Vec<UriTemplate>,
    /// Let in whoever shows a token of this file, one a line
    #[arg(long, value_name = "FILE", group = "admission")]
    bearer_file: Option<PathBuf>,
    /// Let in the users of this file, user:password a line
    #[arg(long, value_name = "FILE", group = "admission")]
    basic_file: Option<PathBuf>,
    /// Let in who has a certificate with this key: SHA-256 of the public key; may be given several times
    #[arg(long = "client-key", value_name = "SHA256", group = "admission", value_parser = parse_key_id)]
    pub(super) client_keys: Vec<[u8; 32]>,
    /// Let in whoever comes, so many at a time
    #[arg(long, value_name = "COUNT", group = "admission", num_args = 0..=1, default_missing_value = "16",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) no_auth: Option<u16>,
    /// Inner addresses, one prefix of each IP version
    #[arg(long, value_name = "PREFIX", default_value = "10.89.0.0/24")]
    addresses: Vec<IpNet>,
    /// What clients may reach; may be given several times [default: whatever they ask for]
    #[arg(long, value_name = "PREFIX")]
    routes: Vec<IpNet>,
    /// Turn on this host's forwarding while it runs
    #[arg(long)]
    forward: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(arguments: ListenArguments) -> Result<(), Failure> {
    let common = arguments.common;
    let mut clients = Vec::new();
    for (path, scheme) in [(&arguments.bearer_file, Scheme::Bearer), (&arguments.basic_file, Scheme::Basic)] {
        if let Some(path) = path {
            clients.extend(read_secrets(path, scheme)?.into_iter().map(ClientProof::Secret));
        }
    }
    clients.extend(arguments.client_keys.into_iter().map(ClientProof::Key));
    clients.extend((0..arguments.no_auth.unwrap_or(0)).map(|_| ClientProof::Nothing));
    let identity = match (common.certificate, common.key) {
        (Some(certificate), Some(key)) => read_identity(&certificate, &key)?,
        (_, Some(_)) | (Some(_), _) => return Err(Failure::Usage("--key and --certificate belong together")),
        (None, None) => self_made(vec!["localhost".to_owned(), arguments.listen.ip().to_string()])?,
    };
    let templates = if arguments.templates.is_empty() {
        path("/.well-known/masque/ip/{target}/{ipproto}/").into_iter().collect()
    } else {
        arguments.templates
    };
    let options = ListenOptions {
        listen: arguments.listen,
        http: arguments.http,
        templates,
        identity,
        clients,
        addresses: arguments.addresses,
        routes: Some(arguments.routes).filter(|routes| !routes.is_empty()),
        forward: arguments.forward,
        grease: !common.no_grease,
        interface: common.interface,
        mtu: common.mtu.into(),
    };
    super::run(listen(options, Reporter::new(common.json)))
}
