//! `vestibule masque`.
//!
//! By file: `connect` and `listen` (options, and what comes of them), `values` (what options may hold).

mod connect;
mod listen;
mod values;

use super::failure;
use crate::masque::{IdentityError, MasqueError, SecretsError};
use clap::{Args, Subcommand};
use connect::ConnectArguments;
use listen::ListenArguments;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Tunnels to any RFC 9484 peer.
#[derive(Debug, Subcommand)]
pub(crate) enum MasqueVerb {
    /// Opens an IP tunnel to an RFC 9484 proxy and keeps it open
    #[command(after_help = connect::EXAMPLES)]
    Connect(Box<ConnectArguments>),
    /// Is an RFC 9484 proxy for clients that are known beforehand
    #[command(after_help = listen::EXAMPLES)]
    Listen(Box<ListenArguments>),
}

/// What both verbs have.
#[derive(Debug, Args)]
struct Common {
    /// Certificate chain (PEM) that we show
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
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

/// Why the verb did not begin.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Found out too late for the parser.
    #[error("{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Masque(#[from] MasqueError),
    #[error("cannot wait for events")]
    Runtime(#[source] std::io::Error),
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
        MasqueVerb::Connect(arguments) => connect::run(*arguments),
        MasqueVerb::Listen(arguments) => listen::run(*arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Failure::Usage(_)) => {
            failure::report(&error, "usage", json);
            ExitCode::from(2)
        }
        Err(error) => failure::report(&error, "masque", json),
    }
}

fn run<T>(work: impl Future<Output = Result<T, MasqueError>>) -> Result<T, Failure> {
    vestibule_platform::pages::small_only();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    Ok(runtime.block_on(work)?)
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
        for wrong in ["listen --client-key beef", "listen --no-auth 0", "listen --no-auth --template no"] {
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
            "--dialect warp --address 10.0.0.2/32".to_owned(),
            format!("--dialect warp --pin {pin}"),
            "--http 1".to_owned(),
            "--mtu 100".to_owned(),
        ] {
            assert!(parse(&format!("connect {url} {wrong}")).is_err(), "{wrong}");
        }
    }
}
