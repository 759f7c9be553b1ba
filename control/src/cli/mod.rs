//! The command line: the verbs of the one binary `vestibule`. Wiring only.
//!
//! Exit codes: 0 it worked, 1 it failed (one line on stderr says why), 2 the command line is wrong.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments here are help texts, where `[...]` means optional")]

mod client;
mod failure;
mod gateway;
mod inside;
mod installer;
mod lockdown;
mod log;
mod masque;
mod print;
mod service;
mod wireguard;

pub use crate::causes::chain;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Connects a machine before anyone logs in, and changes identity without losing a packet.
///
/// A device runs `vestibule service run`; the other verbs ask it or steer it. A gateway runs `vestibule gateway`.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, propagate_version = true, max_term_width = 110, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Client(client::Verb),
    /// Runs the device's daemon, or makes it a service of the system
    #[command(subcommand)]
    Service(service::ServiceVerb),
    /// Shows or lifts a lockdown: the host's network, closed but for the tunnel
    #[command(subcommand)]
    Lockdown(lockdown::LockdownVerb),
    /// Runs a gateway in the foreground: the organisation's memory, its API, and the far end of every tunnel
    #[command(after_help = gateway::EXAMPLES)]
    Gateway(Box<gateway::GatewayOptions>),
    /// Makes one WireGuard interface that `wg` and `wg-quick` configure, in place of the kernel's or wireguard-go
    #[command(after_help = wireguard::EXAMPLES)]
    Wireguard(wireguard::WireguardOptions),
    /// Tunnels to any RFC 9484 peer: IP over HTTP/3, without a gateway of ours
    #[command(subcommand)]
    Masque(masque::MasqueVerb),
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(crate::demo::Options),
    #[command(after_help = crate::soak::EXAMPLES)]
    Soak(crate::soak::Options),
}

const DEMO_EXAMPLES: &str = "Examples:
  sudo vestibule demo                                  the whole walk, with real devices
  sudo vestibule demo --swaps 1000 --json result.json  longer, with the numbers in a file
  vestibule demo --userspace                           without root, on any system

Exit codes: 0 every check holds, 1 one does not, 2 the demo could not begin.";

/// Parses the process's arguments and runs the verb.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = wireguard::by_link(std::env::args_os().collect());
    if let Some(code) = inside::intercept(&arguments) {
        return code;
    }
    let Cli { verb } = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no failures; clap knows which stream each belongs on.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match verb {
        Verb::Client(verb) => client::run(verb),
        Verb::Service(verb) => service::run_verb(verb),
        Verb::Lockdown(verb) => lockdown::run_verb(verb),
        Verb::Gateway(options) => gateway::run_verb(*options),
        Verb::Wireguard(options) => wireguard::run_verb(&options),
        Verb::Masque(verb) => masque::run_verb(verb),
        Verb::Demo(options) => crate::demo::run(&options),
        Verb::Soak(options) => crate::soak::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_teaches_with_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            for verb in command.get_subcommands() {
                let name = format!("{path} {}", verb.get_name());
                if verb.has_subcommands() {
                    walk(verb, &name);
                    continue;
                }
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&format!("vestibule{name}")), "`{name} --help` shows no example");
                assert!(verb.get_arguments().any(|argument| argument.get_id() == "json"), "`{name}` has no --json");
            }
        }
        let mut command = Cli::command();
        command.build();
        walk(&command, "");
    }
}
