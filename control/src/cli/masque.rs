//! `vestibule masque`.

use super::failure;
use crate::masque::{
    ClientProof, ConnectOptions, IdentityError, ListenOptions, MasqueError, Reporter, Scheme, SecretsError, Trusted,
    connect, from_environment, listen, parse_key_id, read_identity, read_secrets, self_made,
};
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use vestibule_engine::generation::MasqueAsks;
use vestibule_engine::masque::request::{Credentials, Target, UriTemplate};

const CONNECT_EXAMPLES: &str = "Examples:
  sudo vestibule masque connect https://proxy.example --bearer-file token
  sudo vestibule masque connect 'https://proxy.example/masque/ip?t={target}&i={ipproto}' --ca ca.pem --basic-file login
  sudo vestibule masque connect https://192.0.2.7:4433 --pin SHA256 --route 10.0.0.0/8
  sudo vestibule masque connect https://proxy.example --target 10.20.0.0/16 --ipproto 6
  vestibule masque connect https://proxy.example --socks 127.0.0.1:1080 --dns 9.9.9.9       no root, no interface
    then: curl --proxy socks5h://127.0.0.1:1080 https://example.com

URL is an RFC 9484 template; without a path it is the well-known one. Routes are what the peer advertises, or --route.
Where they cover the peer itself, routing rules keep the tunnel's own packets outside. A tunnel that is lost is made anew;
interface, addresses and routes stay meanwhile. One that the peer refuses ends the verb. Ctrl-C takes everything back.

Secrets are read from files or from VESTIBULE_MASQUE_BEARER and VESTIBULE_MASQUE_BASIC (user:password).
Peers that fail at requests for addresses (connect-ip-go of 2025) want --address-request off --no-grease.
Exit codes: 0 it was ended, 1 it failed or was refused, 2 the command line is wrong. RUST_LOG=debug says more.";

const LISTEN_EXAMPLES: &str = "Examples:
  sudo vestibule masque listen --bearer-file tokens              one client per line, self-made certificate
  sudo vestibule masque listen --certificate chain.pem --key key.pem --basic-file users --addresses 10.9.0.0/24
  sudo vestibule masque listen --client-key SHA256 --routes 10.20.0.0/16 --forward
  sudo vestibule masque listen --no-auth 4 --listen 127.0.0.1:4433

Every client is known beforehand by a token, a user, or the key of its certificate, and has addresses of its own: the first
host of --addresses is this host's, clients get the next ones, tokens first, then users, then keys, then guests, each in
the order given. A second connection by the same proof takes the first one's place. Packets to anywhere else than this
host need --forward, and a way back: a route to --addresses, or your own NAT.

Exit codes: 0 it was ended, 1 it failed, 2 the command line is wrong. RUST_LOG=debug says more.";

/// Tunnels to any RFC 9484 peer.
#[derive(Debug, Subcommand)]
pub(crate) enum MasqueVerb {
    /// Opens an IP tunnel to an RFC 9484 proxy and keeps it open
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(Box<ConnectArguments>),
    /// Is an RFC 9484 proxy for clients that are known beforehand
    #[command(after_help = LISTEN_EXAMPLES)]
    Listen(Box<ListenArguments>),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    Auto,
    Off,
}

/// What both verbs have.
#[derive(Debug, Args)]
struct Common {
    /// Certificate chain (PEM) that we show
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Send no reserved settings, frames and capsules, which exercise a peer's tolerance
    #[arg(long)]
    no_grease: bool,
    /// Name of the network interface to make
    #[arg(long, value_name = "NAME", default_value = "masque0")]
    interface: String,
    /// Its MTU in bytes; what does not fit the path is answered with Packet Too Big
    #[arg(long, value_name = "BYTES", default_value_t = 1280, value_parser = clap::value_parser!(u16).range(576..=1500))]
    mtu: u16,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

/// `masque connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// Template or address of the proxy, https only
    #[arg(value_name = "URL", value_parser = template)]
    url: UriTemplate,
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
    common: Common,
}

/// `masque listen`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("admission").required(true).multiple(true))]
pub(crate) struct ListenArguments {
    /// Where to listen (UDP)
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:443")]
    listen: SocketAddr,
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
    client_keys: Vec<[u8; 32]>,
    /// Let in whoever comes, so many at a time
    #[arg(long, value_name = "COUNT", group = "admission", num_args = 0..=1, default_missing_value = "16",
          value_parser = clap::value_parser!(u16).range(1..))]
    no_auth: Option<u16>,
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
    common: Common,
}

/// Why the verb did not begin.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Masque(#[from] MasqueError),
    #[error("cannot wait for events")]
    Runtime(#[source] std::io::Error),
}

fn template(text: &str) -> Result<UriTemplate, String> {
    let authority = text.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).and_then(|_| text.get(8..));
    let bare = authority.map(|authority| authority.strip_suffix('/').unwrap_or(authority));
    let parsed = match bare.filter(|rest| !rest.contains(['/', '?', '#'])) {
        Some(authority) => UriTemplate::well_known(authority),
        None => UriTemplate::parse(text),
    };
    parsed.map_err(|error| error.to_string())
}

/// Only the path counts: by which name it is reached, clients know.
fn path(text: &str) -> Result<UriTemplate, String> {
    let template = if text.starts_with('/') { format!("https://proxy.invalid{text}") } else { text.to_owned() };
    let parsed = UriTemplate::parse(&template).map_err(|error| error.to_string())?;
    parsed.check_for_gateway().map_err(|error| error.to_string())?;
    Ok(parsed)
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|error| error.to_string())
}

/// A number, or all.
#[derive(Clone, Copy, Debug)]
struct Protocol(Option<u8>);

fn protocol(text: &str) -> Result<Protocol, String> {
    let number = Target::parse_protocol(text).map_err(|error| error.to_string())?;
    // What cannot be asked for is told now.
    MasqueAsks::new(Target::Any, number).map_err(|error| error.to_string())?;
    Ok(Protocol(number))
}

pub(crate) fn run_verb(verb: MasqueVerb) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // An error means that somebody logs already.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
    let json = match &verb {
        MasqueVerb::Connect(arguments) => arguments.common.json,
        MasqueVerb::Listen(arguments) => arguments.common.json,
    };
    let done = match verb {
        MasqueVerb::Connect(arguments) => run_connect(*arguments),
        MasqueVerb::Listen(arguments) => run_listen(*arguments),
    };
    done.map_or_else(|error| failure::report(&error, "masque", json), |()| ExitCode::SUCCESS)
}

fn run<T>(work: impl Future<Output = Result<T, MasqueError>>) -> Result<T, Failure> {
    vestibule_platform::pages::small_only();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    Ok(runtime.block_on(work)?)
}

fn run_connect(arguments: ConnectArguments) -> Result<(), Failure> {
    let common = arguments.common;
    let first = |path: &PathBuf, scheme| read_secrets(path, scheme).map(|secrets| secrets.into_iter().next());
    let credentials = match (&arguments.bearer_file, &arguments.basic_file) {
        (Some(path), _) => first(path, Scheme::Bearer)?,
        (None, Some(path)) => first(path, Scheme::Basic)?,
        (None, None) => match from_environment(Scheme::Bearer)? {
            Some(token) => Some(token),
            None => from_environment(Scheme::Basic)?,
        },
    };
    let identity = common.certificate.zip(common.key).map(|(certificate, key)| read_identity(&certificate, &key));
    let options = ConnectOptions {
        template: arguments.url,
        server_name: arguments.server_name,
        trusted: match arguments.ca {
            Some(path) => Trusted::Authorities(path),
            None if arguments.pins.is_empty() => Trusted::System,
            None => Trusted::Keys(arguments.pins),
        },
        identity: identity.transpose()?,
        credentials: credentials.unwrap_or(Credentials::None),
        ask_addresses: matches!(arguments.address_request, Switch::Auto) && arguments.addresses.is_empty(),
        addresses: arguments.addresses,
        // Both were judged when they were read.
        asks: MasqueAsks::new(arguments.target, arguments.ipproto.0).unwrap_or_default(),
        grease: !common.no_grease,
        routes: arguments.routes,
        interface: common.interface,
        mtu: common.mtu.into(),
        socks: arguments.socks,
        http_proxy: arguments.http_proxy,
        dns: arguments.dns,
    };
    run(connect(options, Reporter::new(common.json)))
}

fn run_listen(arguments: ListenArguments) -> Result<(), Failure> {
    let common = arguments.common;
    let mut clients = Vec::new();
    for (path, scheme) in [(&arguments.bearer_file, Scheme::Bearer), (&arguments.basic_file, Scheme::Basic)] {
        if let Some(path) = path {
            clients.extend(read_secrets(path, scheme)?.into_iter().map(ClientProof::Secret));
        }
    }
    clients.extend(arguments.client_keys.into_iter().map(ClientProof::Key));
    clients.extend((0..arguments.no_auth.unwrap_or(0)).map(|_| ClientProof::Nothing));
    let identity = match common.certificate.zip(common.key) {
        Some((certificate, key)) => read_identity(&certificate, &key)?,
        None => self_made(vec!["localhost".to_owned(), arguments.listen.ip().to_string()])?,
    };
    let templates = if arguments.templates.is_empty() {
        path("/.well-known/masque/ip/{target}/{ipproto}/").into_iter().collect()
    } else {
        arguments.templates
    };
    let options = ListenOptions {
        listen: arguments.listen,
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
    run(listen(options, Reporter::new(common.json)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        verb: MasqueVerb,
    }

    fn parse(words: &str) -> Result<MasqueVerb, String> {
        let words = std::iter::once("masque").chain(words.split(' '));
        Line::try_parse_from(words).map(|line| line.verb).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_without_a_path_is_the_well_known_template() {
        let known = UriTemplate::well_known("proxy.example:4433").unwrap();
        for url in ["https://proxy.example:4433", "HTTPS://proxy.example:4433/"] {
            assert_eq!(template(url).unwrap(), known, "{url}");
        }
        let own = template("https://proxy.example/ip?t={target}").unwrap();
        assert_eq!(own, UriTemplate::parse("https://proxy.example/ip?t={target}").unwrap());
        for wrong in ["http://proxy.example", "proxy.example", "https://", "https://a b", "https://proxy.example/{+x}"]
        {
            assert!(template(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_may_come_must_be_said() {
        assert!(parse("listen").unwrap_err().contains("--no-auth"));
        for words in ["listen --no-auth", "listen --no-auth 4", "listen --bearer-file a --basic-file b"] {
            assert!(matches!(parse(words), Ok(MasqueVerb::Listen(_))), "{words}");
        }
        let key = "0".repeat(64);
        let Ok(MasqueVerb::Listen(arguments)) = parse(&format!("listen --client-key {key} --client-key {key}")) else {
            panic!("keys are taken")
        };
        assert_eq!((arguments.client_keys.len(), arguments.no_auth), (2, None));
        for wrong in
            ["listen --client-key beef", "listen --no-auth 0", "listen --no-auth --template no", "listen --key k"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn contradictions_are_told_before_anything_begins() {
        let url = "https://proxy.example";
        assert!(matches!(parse(&format!("connect {url} --ipproto 6 --target 10.0.0.0/8")), Ok(MasqueVerb::Connect(_))));
        let pin = "0".repeat(64);
        for wrong in [
            "--ipproto 256".to_owned(),
            "--ipproto 43".to_owned(),
            "--target 10.0.0.1/8".to_owned(),
            format!("--ca a.pem --pin {pin}"),
            "--bearer-file a --basic-file b".to_owned(),
            "--certificate a".to_owned(),
            "--mtu 100".to_owned(),
        ] {
            assert!(parse(&format!("connect {url} {wrong}")).is_err(), "{wrong}");
        }
    }
}
