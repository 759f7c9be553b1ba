//! `vestibule service run`.

use crate::{
    api::pin::Pin,
    cli::{client::default_control, failure, log, print},
    daemon::{DataPlane, Facts, HttpVersions, Options, SessionsFrom, StartError, run},
    mdm,
};
use clap::{Args, ValueEnum as _, builder::TypedValueParser as _};
use std::{
    ffi::OsString,
    io,
    net::IpAddr,
    path::{Path, PathBuf, absolute},
    process::ExitCode,
    time::Duration,
};
use vestibule_platform::{adapter::AdapterError, service};

pub(super) const EXAMPLES: &str = "Examples:
  sudo vestibule service run --gateway https://192.0.2.1:8443 --pin 8f2c...   first start
  sudo vestibule service run                                                 later starts
  vestibule service run                                      the same on Windows, as administrator
  RUST_LOG=vestibule_control=debug vestibule service run                     says more

`vestibule gateway` prints its address and pin. SIGTERM and Ctrl-C stop the daemon and tidy up. `vestibule service
install` lets the system start it.";

const INTERFACE: &str = "vestibule0";
const MTU: u16 = 1420;
const LOGIN_TIMEOUT: u64 = 600;

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The MDM file [default: mdm.xml in the state directory while it is there, else the vendor's place]
    #[arg(long, value_name = "FILE")]
    mdm: Option<PathBuf>,
    /// Directory of the device key, registrations and state
    #[arg(long, value_name = "DIR", default_value = service::STATE)]
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
    /// Who tells who is logged on: `system` (logind on Linux), or a socket to listen on for lines (boot, logon USER
    /// SESSION, ...) [default: the system; on Linux where systemd runs it]
    #[arg(long, value_name = "system|SOCKET", value_parser = clap::builder::OsStringValueParser::new().map(SessionsFrom::from))]
    sessions: Option<SessionsFrom>,
    /// Name of the tunnel's network device
    #[arg(long, value_name = "NAME", default_value = INTERFACE)]
    interface: String,
    /// Its MTU in bytes; the gateway's must not be smaller
    #[arg(long, value_name = "BYTES", default_value_t = MTU, value_parser = clap::value_parser!(u16).range(1280..))]
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
    #[arg(long, value_name = "SECONDS", default_value_t = LOGIN_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    login_timeout: u64,
    /// Close the host's network but for the tunnel and what it needs: from now on, also while the daemon is not there,
    /// until `vestibule lockdown lift` or a start without this (Windows)
    #[arg(long)]
    lockdown: bool,
    /// Write the log to files in this directory, too: daemon.log and four older ones of at most 10 MiB each [default on
    /// Windows, as a service: log in the state directory]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Print what was done, or the facts of the running daemon, as one JSON line on stdout; the log stays on stderr
    #[arg(long)]
    pub(super) json: bool,
    /// Given by the service manager
    #[arg(long, hide = true)]
    managed: bool,
}

impl RunOptions {
    /// The command line that means the same wherever it is run: paths are absolute, and what is by default is left out.
    pub(super) fn words(&self) -> io::Result<Vec<OsString>> {
        let mut words = Vec::new();
        let mut word = |name: &str, value: Option<OsString>| {
            words.extend(value.into_iter().flat_map(|value| [OsString::from(name), value]));
        };
        let path = |path: &Path| absolute(path).map(OsString::from);
        let other = |path: &Path, default: &Path| if path == default { Ok(None) } else { absolute(path).map(Some) };
        word("--mdm", self.mdm.as_deref().map(path).transpose()?);
        word("--state", other(&self.state, Path::new(service::STATE))?.map(Into::into));
        word("--gateway", self.gateway.as_ref().map(Into::into));
        word("--pin", self.pin.as_ref().map(|pin| pin.to_string().into()));
        word("--client-certificate", self.client_certificate.as_deref().map(path).transpose()?);
        // What the environment says here, the service's does not.
        word("--control", other(&self.control, Path::new(vestibule_platform::local::CONTROL))?.map(Into::into));
        word(
            "--sessions",
            match &self.sessions {
                None => None,
                Some(SessionsFrom::System) => Some("system".into()),
                Some(SessionsFrom::Socket(socket)) => Some(path(socket)?),
            },
        );
        word("--interface", (self.interface != INTERFACE).then(|| (&self.interface).into()));
        word("--mtu", (self.mtu != MTU).then(|| self.mtu.to_string().into()));
        let http = self.http.to_possible_value().map(|value| value.get_name().into());
        word("--http", http.filter(|_| self.http != HttpVersions::default()));
        word("--resolver", self.resolver.map(|resolver| resolver.to_string().into()));
        word("--browser", self.browser.as_ref().map(Into::into));
        let timeout = (self.login_timeout != LOGIN_TIMEOUT).then(|| self.login_timeout.to_string().into());
        word("--login-timeout", timeout);
        word("--log", self.log.as_deref().map(path).transpose()?);
        words.extend(self.lockdown.then(|| OsString::from("--lockdown")));
        Ok(words)
    }

    /// Where a service without a terminal logs.
    fn log_directory(&self) -> Option<PathBuf> {
        self.log.clone().or_else(|| service::is_managed().then(|| self.state.join("log")))
    }

    /// The MDM file, and our own place, which goes before the vendor's but not before what was asked for.
    fn mdm_files(&self) -> (PathBuf, Option<PathBuf>) {
        match &self.mdm {
            Some(asked) => (asked.clone(), None),
            None => (mdm::default_path(std::env::consts::OS).into(), Some(self.state.join("mdm.xml"))),
        }
    }
}

/// Others must not ask the device's resolver.
fn loopback(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "expected an IP address".to_owned())?;
    if address.is_loopback() { Ok(address) } else { Err("expected a loopback address, such as 127.0.2.2".to_owned()) }
}

pub(super) fn run_verb(options: RunOptions) -> ExitCode {
    let json = options.json;
    if !options.managed {
        return run_here(options);
    }
    match service::managed(move || run_here(options)) {
        Ok(code) => code,
        Err(error) => failure::report(&error, "service", json),
    }
}

fn run_here(options: RunOptions) -> ExitCode {
    let json = options.json;
    log::begin(options.log_directory().as_deref().map(|log| (options.state.as_path(), log)), service::is_managed());
    let (mdm, own_mdm) = options.mdm_files();
    let options = Options {
        mdm,
        own_mdm,
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
        lockdown: options.lockdown,
        data_plane: DataPlane::Kernel,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, "runtime", json),
    };
    let result = runtime.block_on(run(options, |facts| {
        service::ready();
        tracing::info!(target: log::MILESTONE, pid = facts.pid, device = facts.device_id, "the service runs");
        if json {
            announce(facts);
        }
    }));
    // Tasks that still wait for the network are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => {
            tracing::info!(target: log::MILESTONE, "the service has stopped");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, code(&error), json),
    }
}

fn code(error: &StartError) -> &'static str {
    match error {
        StartError::NotAllowed(_) => "not_allowed",
        StartError::SecondInstance { .. } => "second_instance",
        StartError::Adapter(AdapterError::Taken { .. }) => "adapter_taken",
        StartError::Adapter(AdapterError::Busy { .. }) => "adapter_in_use",
        StartError::Adapter(_) => "adapter",
        StartError::Control(_) => "control_socket",
        _ => "service",
    }
}

/// Reports why the daemon ends: on the error stream, and in the log that outlives it.
fn failed(error: &dyn std::error::Error, code: &str, json: bool) -> ExitCode {
    if log::is_kept() {
        tracing::error!("the service ends: {}", crate::causes::chain(error));
    }
    failure::report(error, code, json)
}

/// Tells scripts where the daemon is.
fn announce(facts: &Facts) {
    print::out(&format!("{}\n", serde_json::json!(facts)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::{Command, FromArgMatches as _};

    fn parse(words: &[&str]) -> RunOptions {
        let command = RunOptions::augment_args(Command::new("run").no_binary_name(true));
        RunOptions::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn the_words_of_a_command_line_mean_the_same_elsewhere() {
        let control = std::env::temp_dir().join("control.sock");
        let control = control.to_str().unwrap();
        let pin = "8f".repeat(32);
        let all = [
            ["--mdm", "a/mdm.xml"],
            ["--state", "b"],
            ["--gateway", "https://192.0.2.1:8443"],
            ["--pin", &pin],
            ["--client-certificate", "c.pem"],
            ["--control", control],
            ["--sessions", "system"],
            ["--interface", "tunnel7"],
            ["--mtu", "1400"],
            ["--http", "2"],
            ["--resolver", "127.0.2.9"],
            ["--browser", "open it"],
            ["--login-timeout", "5"],
            ["--log", "d"],
        ];
        let words = parse(&all.concat()).words().unwrap();
        let here = std::env::current_dir().unwrap();
        let word = |name: &str| {
            let at = words.iter().position(|word| word == name).unwrap_or_else(|| panic!("{name} in {words:?}"));
            words[at + 1].clone()
        };
        assert_eq!(word("--mdm"), here.join("a").join("mdm.xml"));
        assert_eq!((word("--state"), word("--log")), (here.join("b").into(), here.join("d").into()));
        for [name, value] in all.iter().filter(|[_, value]| !["a/mdm.xml", "b", "c.pem", "d"].contains(value)) {
            assert_eq!(word(name), *value);
        }
        let again: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(parse(&again).words().unwrap(), words);
    }

    #[test]
    fn what_is_by_default_is_left_to_the_program_that_runs() {
        let none: [&str; 0] = [];
        assert_eq!(parse(&["--control", vestibule_platform::local::CONTROL, "--json"]).words().unwrap(), none);
    }
}
