//! `vestibule masque connect`.

use super::values::{DialectName, Protocol, Switch, protocol, target, template};
use super::{Common, Failure};
use crate::daemon::HttpVersions;
use crate::masque::{
    ConnectOptions, FreshIdentity, Reporter, Scheme, Shown, Trusted, connect, from_environment, parse_key_id,
    read_identity, read_key, read_secrets,
};
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use vestibule_engine::generation::MasqueAsks;
use vestibule_engine::masque::request::{Credentials, Dialect, Target, UriTemplate};

pub(super) const EXAMPLES: &str = "Examples:
  sudo vestibule masque connect https://proxy.example --bearer-file token
  sudo vestibule masque connect 'https://proxy.example/masque/ip?t={target}&i={ipproto}' --ca ca.pem --basic-file login
  sudo vestibule masque connect https://192.0.2.7:4433 --pin SHA256 --route 10.0.0.0/8
  sudo vestibule masque connect https://proxy.example --target 10.20.0.0/16 --ipproto 6
  sudo vestibule masque connect https://proxy.example --http 2                              over TCP alone
  vestibule masque connect https://proxy.example --socks 127.0.0.1:1080 --dns 9.9.9.9       no root, no interface
    then: curl --proxy socks5h://127.0.0.1:1080 https://example.com

URL is an RFC 9484 template; without a path it is the well-known one. Routes are what the peer advertises, or --route.
Where they cover the peer itself, routing rules keep the tunnel's own packets outside. A tunnel that is lost is made anew;
interface, addresses and routes stay meanwhile. One that the peer refuses ends the verb. Ctrl-C takes everything back.

Without --http, HTTP/3 over UDP is tried first, and HTTP/2 over TCP at the same port 250 ms later; a tunnel over HTTP/3 that
falls silent is replaced by one over HTTP/2, and goes back when UDP works again.

Experimental, against Cloudflare WARP's edge as it was seen in 2025:
  sudo vestibule masque connect https://162.159.198.1 --dialect warp --http2-at 162.159.198.2:443 \\
       --key device.key --pin SHA256 --address 172.16.0.2/32 --address 2606:4700:110:8a36::1/128
The key (P-256) must be registered there beforehand, the addresses and the edge's key come with the registration.

Secrets are read from files or from VESTIBULE_MASQUE_BEARER and VESTIBULE_MASQUE_BASIC (user:password).
Peers that fail at requests for addresses (connect-ip-go of 2025) want --address-request off --no-grease.
Exit codes: 0 it was ended, 1 it failed or was refused, 2 the command line is wrong. RUST_LOG=debug says more.";

/// What WARP's edge does not tell.
const WARP_WANTS: [(&str, &str); 2] = [("warp", "addresses"), ("warp", "pins")];

/// `masque connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// Template or address of the proxy, https only
    #[arg(value_name = "URL", value_parser = template)]
    url: UriTemplate,
    /// Versions of HTTP: 3 (over UDP), 2 (over TCP), or 3 with 2 where no UDP gets through
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = HttpVersions::Auto)]
    http: HttpVersions,
    /// Where HTTP/2 is served, if not at the URL's host and port
    #[arg(long, value_name = "IP:PORT")]
    http2_at: Vec<SocketAddr>,
    /// Whose rules the peer keeps to; warp is experimental
    #[arg(long, value_name = "NAME", value_enum, default_value = "rfc9484", requires_ifs = WARP_WANTS)]
    dialect: DialectName,
    /// Name to tell in TLS and to check the certificate for, if not the URL's host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Believe these authorities (PEM) instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "pins")]
    ca: Option<PathBuf>,
    /// Believe who has this key, whatever its certificate says: SHA-256 of the public key; may be given several times
    #[arg(long = "pin", value_name = "SHA256", value_parser = parse_key_id)]
    pins: Vec<[u8; 32]>,
    /// Show the token in the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "basic_file")]
    bearer_file: Option<PathBuf>,
    /// Show the user:password in the first line of this file
    #[arg(long, value_name = "FILE")]
    basic_file: Option<PathBuf>,
    /// Ask for addresses, or wait for those that the peer assigns by itself
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    address_request: Switch,
    /// An inner address of ours that was agreed on elsewhere; may be given several times
    #[arg(long = "address", value_name = "ADDR/LEN")]
    addresses: Vec<IpNet>,
    /// What goes into the tunnel, instead of what the peer advertises; may be given several times
    #[arg(long = "route", value_name = "PREFIX")]
    routes: Vec<IpNet>,
    /// Ask for this part of the network: an address, a prefix, a name or *
    #[arg(long, value_name = "TARGET", default_value = "*", value_parser = target)]
    target: Target,
    /// Ask for this protocol: a number or *
    #[arg(long, value_name = "NUMBER", default_value = "*", value_parser = protocol)]
    ipproto: Protocol,
    /// Be a SOCKS5 proxy at this loopback address, in place of an interface; needs no privilege
    #[arg(long, value_name = "IP:PORT", conflicts_with = "routes")]
    socks: Option<SocketAddr>,
    /// Be a proxy for HTTP CONNECT at this loopback address, in place of an interface; needs no privilege
    #[arg(long, value_name = "IP:PORT", conflicts_with = "routes")]
    http_proxy: Option<SocketAddr>,
    /// Resolve the proxies' names by this server, inside the tunnel; without it they take addresses only
    #[arg(long, value_name = "IP")]
    dns: Option<IpAddr>,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(arguments: ConnectArguments) -> Result<(), Failure> {
    let common = arguments.common;
    let first = |path: &PathBuf, scheme| read_secrets(path, scheme).map(|secrets| secrets.into_iter().next());
    let warp = arguments.dialect == DialectName::Warp;
    let credentials = match (&arguments.bearer_file, &arguments.basic_file) {
        (Some(path), _) => first(path, Scheme::Bearer)?,
        (None, Some(path)) => first(path, Scheme::Basic)?,
        (None, None) if warp => None,
        (None, None) => match from_environment(Scheme::Bearer)? {
            Some(token) => Some(token),
            None => from_environment(Scheme::Basic)?,
        },
    };
    let identity = match (common.certificate, common.key) {
        (Some(certificate), Some(key)) => Shown::Certificate(read_identity(&certificate, &key)?),
        (None, Some(key)) if warp => Shown::Key(Box::new(FreshIdentity::new(read_key(&key)?)?)),
        (None, None) => Shown::Nothing,
        _ => {
            return Err(Failure::Usage("--key and --certificate belong together (--dialect warp needs the key alone)"));
        }
    };
    // Both were judged when they were read.
    let asks = MasqueAsks::new(arguments.target, arguments.ipproto.0).unwrap_or_default();
    let has_path = UriTemplate::well_known(arguments.url.authority()).as_ref() != Ok(&arguments.url);
    if warp && (credentials.is_some() || has_path || asks.is_narrow()) {
        let why = "--dialect warp knows certificates alone, and asks at its own place for everything: \
                   no path, --bearer-file, --basic-file, --target or --ipproto";
        return Err(Failure::Usage(why));
    }
    let options = ConnectOptions {
        template: arguments.url,
        dialect: if warp { Dialect::Warp } else { Dialect::Rfc9484 },
        http: arguments.http.into(),
        http2_at: arguments.http2_at,
        server_name: arguments.server_name,
        trusted: match arguments.ca {
            Some(path) => Trusted::Authorities(path),
            None if arguments.pins.is_empty() => Trusted::System,
            None => Trusted::Keys(arguments.pins),
        },
        identity,
        credentials: credentials.unwrap_or(Credentials::None),
        ask_addresses: matches!(arguments.address_request, Switch::Auto) && arguments.addresses.is_empty(),
        addresses: arguments.addresses,
        asks,
        grease: !common.no_grease,
        routes: arguments.routes,
        interface: common.interface,
        mtu: common.mtu.into(),
        socks: arguments.socks,
        http_proxy: arguments.http_proxy,
        dns: arguments.dns,
    };
    super::run(connect(options, Reporter::new(common.json)))
}
