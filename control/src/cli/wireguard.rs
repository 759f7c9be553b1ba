//! `vestibule wireguard`.

use super::{failure, print};
use crate::wireguard::{End, Options, Ready, detach, is_detached, run};
use clap::Args;
use std::{ffi::OsString, process::ExitCode};
use tracing_subscriber::EnvFilter;
use vestibule_platform::service;

pub(crate) const EXAMPLES: &str = "Examples:
  sudo vestibule wireguard wg0                  makes wg0 and goes into the background
  sudo wg set wg0 private-key FILE listen-port 51820 peer KEY allowed-ips 10.0.0.2/32 endpoint 192.0.2.7:51820
  sudo ip address add 10.0.0.1/24 dev wg0 && sudo ip link set wg0 up
  sudo ip link delete wg0                       ends it

  sudo vestibule wireguard -f wg0               the same in the foreground, to measure or to read its log

With wg-quick, which wants one word: a link called vestibule-wireguard is this verb.
  sudo ln -s $(command -v vestibule) /usr/local/bin/vestibule-wireguard
  sudo WG_QUICK_USERSPACE_IMPLEMENTATION=vestibule-wireguard wg-quick up wg0

On Windows, as the system (wg.exe wants the pipe to be the system's), with wintun.dll beside the program:
  vestibule wireguard wg0        \\\\.\\pipe\\ProtectedPrefix\\Administrators\\WireGuard\\wg0; Ctrl-C ends it

Environment: WG_PROCESS_FOREGROUND=1 is -f; LOG_LEVEL is verbose, error or silent; RUST_LOG is finer.";

/// The name under which the program is this verb, for `wg-quick`.
const LINK: &str = "vestibule-wireguard";

/// Options of the verb.
#[derive(Debug, Args)]
pub(crate) struct WireguardOptions {
    /// Stay in the foreground, as it always does on Windows
    #[arg(short, long)]
    foreground: bool,
    /// Name of the interface to make
    #[arg(value_name = "IFACE")]
    interface: String,
    /// Print one JSON line when it is ready, and in the foreground one at its end
    #[arg(long)]
    json: bool,
}

/// What the verb cannot do, and wireguard-go can.
#[derive(Debug, thiserror::Error)]
#[error("{0} is set, but inherited descriptors are not taken: unset it, and let this program open its own")]
struct Inherited(&'static str);

/// The arguments, with the verb added when the program was called by the name of the link.
pub(super) fn by_link(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(std::path::Path::new).and_then(std::path::Path::file_stem);
    if name.is_some_and(|name| name == LINK) {
        arguments.insert(1, "wireguard".into());
    }
    arguments
}

pub(crate) fn run_verb(options: &WireguardOptions) -> ExitCode {
    let json = options.json;
    for variable in ["WG_TUN_FD", "WG_UAPI_FD"] {
        if std::env::var_os(variable).is_some() {
            return failure::report(&Inherited(variable), "inherited", json);
        }
    }
    let detached = is_detached();
    let foreground = options.foreground || std::env::var_os("WG_PROCESS_FOREGROUND").is_some_and(|value| value == "1");
    if service::BACKGROUND && !foreground && !detached {
        let announce = |line: &str| {
            if json && !line.is_empty() {
                print::out(&format!("{line}\n"));
            }
        };
        let words = if json { vec!["wireguard", "--json"] } else { vec!["wireguard"] };
        return detach(&[&words[..], &["--", &options.interface]].concat(), announce)
            .unwrap_or_else(|error| failure::report(&error, "background", json));
    }
    let loud = log();
    if detached && let Err(error) = service::begin_session() {
        return failure::report(&error, "background", json);
    }
    let ended = run(&Options { interface: options.interface.clone() }, |ready| {
        if detached || json {
            print::out(&format!("{}\n", ready_line(ready)));
        }
        if detached && let Err(error) = service::silence(!loud) {
            tracing::warn!(%error, "the standard streams stay open");
        }
    });
    match ended {
        Ok(end) => {
            if json {
                print::out(&format!("{}\n", serde_json::json!({ "event": "end", "reason": end.to_string() })));
            }
            tracing::info!("{end}");
            if end.is_clean() { ExitCode::SUCCESS } else { failed(&end) }
        }
        // The parent prints nothing of its own: this is the one line.
        Err(error) => failure::report(&error, "wireguard", json),
    }
}

fn failed(end: &End) -> ExitCode {
    eprintln!("error: {end}");
    ExitCode::FAILURE
}

fn ready_line(ready: &Ready) -> serde_json::Value {
    let mut line = serde_json::json!(ready);
    line["event"] = "ready".into();
    line
}

/// Logs to stderr, by wireguard-go's `LOG_LEVEL` or our own `RUST_LOG`. True when the log was asked for.
fn log() -> bool {
    let level = std::env::var("LOG_LEVEL").ok();
    let asked = level.as_deref().and_then(|level| match level {
        "verbose" | "debug" => Some("debug"),
        "error" => Some("error"),
        "silent" => Some("off"),
        _ => None,
    });
    let filter = match asked {
        Some(level) => EnvFilter::new(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
    };
    // An error means that somebody logs already.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
    level.is_some_and(|level| !level.is_empty() && level != "silent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_the_verb() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            by_link(words(&["/usr/bin/vestibule-wireguard", "wg0"])),
            words(&["/usr/bin/vestibule-wireguard", "wireguard", "wg0"])
        );
        assert_eq!(by_link(words(&["vestibule", "status"])), words(&["vestibule", "status"]));
    }
}
