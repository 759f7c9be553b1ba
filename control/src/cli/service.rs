//! `vestibule service run`.

use super::{client::default_control, failure};
use crate::{
    api::pin::Pin,
    daemon::{DataPlane, Facts, HttpVersions, Options, SessionsFrom, run},
    mdm,
};
use clap::{Args, Subcommand, builder::TypedValueParser as _};
use std::{net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Runs the device's daemon in the foreground
    ///
    /// It reads the MDM file, enrols by service token when nobody is logged in, brings the tunnel up, and switches to a
    /// user's registration when one signs in. It needs the rights to make a network device (root, or CAP_NET_ADMIN).
    /// The gateway's address and pin are remembered in the state directory.
    #[command(after_help = EXAMPLES)]
    Run(Box<RunOptions>),
}

const EXAMPLES: &str = "Examples:
  sudo vestibule service run --gateway https://192.0.2.1:8443 --pin 8f2c...   first start
  sudo vestibule service run                                                 later starts
  RUST_LOG=vestibule_control=debug vestibule service run                     says more

`vestibule gateway` prints its address and pin. SIGTERM and Ctrl-C stop the daemon and tidy up.";

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The MDM file [default: the vendor's place on this system]
    #[arg(long, value_name = "FILE")]
    mdm: Option<PathBuf>,
    /// Directory of the device key, registrations and state
    #[arg(long, value_name = "DIR", default_value = "/var/lib/vestibule")]
    state: PathBuf,
    /// The gateway, https://HOST[:PORT] [default: that of the last start]
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// SHA-256 of the gateway's certificate [default: that of the last start]
    #[arg(long, value_name = "SHA256HEX")]
    pin: Option<Pin>,
    /// Client certificate to present at enrolment: PEM of it, of those between it and its authority, and of its key
    /// [default: client.pem in the state directory, if it is there]
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// The daemon's control socket; VESTIBULE_CONTROL in the environment sets the default
    #[arg(long, value_name = "SOCKET", default_value_os_t = default_control())]
    control: PathBuf,
    /// Who tells who is logged on: `logind`, or a socket to listen on for lines (boot, logon USER SESSION, ...)
    /// [default: logind where systemd runs the system]
    #[arg(long, value_name = "logind|SOCKET", value_parser = clap::builder::OsStringValueParser::new().map(SessionsFrom::from))]
    sessions: Option<SessionsFrom>,
    /// Name of the tunnel's network device
    #[arg(long, value_name = "NAME", default_value = "vestibule0")]
    interface: String,
    /// Its MTU in bytes; the gateway's must not be smaller
    #[arg(long, value_name = "BYTES", default_value_t = 1420, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: u16,
    /// Which versions of HTTP tunnels over MASQUE may use: `auto` is HTTP/3, and HTTP/2 where no UDP gets through
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = HttpVersions::Auto)]
    http: HttpVersions,
    /// Loopback address, port 53, of the resolver for the profile's fallback domains [default: the first free one from
    /// 127.0.2.2 on]
    #[arg(long, value_name = "IP", value_parser = loopback)]
    resolver: Option<IpAddr>,
    /// Opens a sign-in's address, which is added as the last word; without it, the browser of the user at the desktop
    #[arg(long, value_name = "COMMAND")]
    browser: Option<String>,
    /// How long a sign-in may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    login_timeout: u64,
    /// Print the facts of the running daemon as one JSON line on stdout; the log stays on stderr
    #[arg(long)]
    json: bool,
}

/// Others must not ask the device's resolver.
fn loopback(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "expected an IP address".to_owned())?;
    if address.is_loopback() { Ok(address) } else { Err("expected a loopback address, such as 127.0.2.2".to_owned()) }
}

pub(crate) fn run_verb(verb: ServiceVerb) -> ExitCode {
    let ServiceVerb::Run(options) = verb;
    log();
    let json = options.json;
    let options = Options {
        mdm: options.mdm.unwrap_or_else(|| mdm::default_path(std::env::consts::OS).into()),
        state: options.state,
        gateway: options.gateway,
        pin: options.pin,
        client_certificate: options.client_certificate,
        control: options.control,
        sessions: options.sessions,
        interface: options.interface,
        mtu: options.mtu,
        http: options.http,
        resolver: options.resolver,
        browser: options.browser,
        login_timeout: Some(Duration::from_secs(options.login_timeout)),
        data_plane: DataPlane::Kernel,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error, "runtime", json),
    };
    let result = runtime.block_on(run(options, |facts| {
        if json {
            announce(facts);
        }
    }));
    // Tasks that still wait for the network are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, "service", json),
    }
}

/// Logs to stderr; `RUST_LOG` chooses what.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that somebody logs already.
    let _ = builder.try_init();
}

/// Tells scripts where the daemon is.
fn announce(facts: &Facts) {
    super::print::out(&format!("{}\n", serde_json::json!(facts)));
}
