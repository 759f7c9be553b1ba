//! `vestibule lockdown`: an administrator's way out, without the daemon.

use super::{failure, print};
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vestibule_platform::lockdown::{Lockdown, LockdownError, System};

#[derive(Debug, Subcommand)]
pub(crate) enum LockdownVerb {
    /// Tells whether the host's network is closed but for the tunnel
    #[command(after_help = "Examples:\n  vestibule lockdown show\n  vestibule lockdown show --json | jq .engaged")]
    Show(Output),
    /// Opens the host's network again, whether the daemon runs or not
    ///
    /// A daemon that was started with `--lockdown` closes it again at its next start. Needs an administrator's rights.
    #[command(after_help = "Examples:\n  vestibule lockdown lift\n  vestibule lockdown lift --json\n\n\
                            Exit codes: 0 the network is open, 1 it could not be opened.")]
    Lift(Output),
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_verb(verb: LockdownVerb) -> ExitCode {
    match verb {
        LockdownVerb::Show(output) => report(
            &output,
            System.is_engaged().map(|engaged| {
                let text = if engaged { "engaged: nothing leaves but through the tunnel" } else { "off" };
                (json!({ "engaged": engaged }), text)
            }),
        ),
        LockdownVerb::Lift(output) => report(
            &output,
            System.lift().map(|was| {
                let text = if was { "lifted" } else { "there was none" };
                (json!({ "engaged": false, "lifted": was }), text)
            }),
        ),
    }
}

fn report(output: &Output, done: Result<(serde_json::Value, &str), LockdownError>) -> ExitCode {
    match done {
        Ok((value, text)) => {
            print::out(&if output.json { format!("{value}\n") } else { format!("lockdown: {text}\n") });
            ExitCode::SUCCESS
        }
        Err(error) => failure::report(&error, "lockdown", output.json),
    }
}
