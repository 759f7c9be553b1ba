//! Verbs that ask or steer the running daemon over its control socket.

use super::{failure, print};
use crate::daemon::ipc::{
    MdmView, RegistrationView, RegistrationsView, Request, SettingsView, Status, WhyView,
    client::{CallError, call_value},
};
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};
use uuid::Uuid;
use vestibule_platform::local;

/// Where the daemon listens unless told otherwise.
pub(crate) fn default_control() -> PathBuf {
    std::env::var_os("VESTIBULE_CONTROL").map_or_else(|| PathBuf::from(local::CONTROL), PathBuf::from)
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The daemon's control socket; VESTIBULE_CONTROL in the environment sets the default
    #[arg(long, value_name = "SOCKET", default_value_os_t = default_control())]
    control: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Shows whose traffic the tunnel carries, and how it goes
    ///
    /// State, identity, organisation, inner addresses, generation, and the engine's counters: flow verdicts, drops
    /// by reason, generations. While a sign-in is awaited, its address is shown, too.
    #[command(after_help = "Examples:\n  vestibule status\n  vestibule status --json | jq -r .identity")]
    Status(Target),
    /// Shows or deletes this device's registrations
    #[command(subcommand)]
    Registration(RegistrationVerb),
    /// Switches the connection on, and asks for a cancelled sign-in again
    #[command(after_help = "Example:\n  vestibule connect && vestibule status")]
    Connect(Target),
    /// Switches the connection off until `vestibule connect`
    #[command(after_help = "Example:\n  vestibule disconnect")]
    Disconnect(Target),
    /// Shows every setting: its value, where it is from, and whether this client acts on it
    ///
    /// Where they disagree, the MDM file (`mdm`) beats the device's profile (`profile`), and that beats the user's and
    /// the built-in values. `auto_connect` counts seconds here and in profiles, minutes in the MDM file.
    #[command(after_help = "Examples:\n  vestibule settings\n  \
                            vestibule settings --json | jq '.settings[] | select(.enforced == false) | .name'")]
    Settings(Target),
    /// Shows or reads again the managed configuration (mdm.xml)
    #[command(subcommand)]
    Mdm(MdmVerb),
    /// Tells why the connection is as it is
    ///
    /// Prints the registration log: what happened, which row or decision of the rules answered it (S1-S7 single-user,
    /// M1-M7 multi-user, D1-D21 where the vendor is silent), and what was done.
    #[command(after_help = "Examples:\n  vestibule why\n  vestibule why --last 5 --json")]
    Why {
        #[command(flatten)]
        target: Target,
        /// How many events, the newest ones
        #[arg(long, value_name = "N", default_value_t = 50)]
        last: usize,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistrationVerb {
    /// Lists this device's registrations
    #[command(after_help = "Example:\n  vestibule registration show --json")]
    Show(Target),
    /// Asks the user at the desktop to sign in
    ///
    /// Opens their browser and prints the address, for those who open it by hand. A sign-in that was cancelled or took too
    /// long begins anew.
    #[command(
        after_help = "Examples:\n  vestibule registration new\n  vestibule registration new --json | jq -r .auth_url"
    )]
    New(Target),
    /// Deletes a registration, at the gateway and here
    ///
    /// Without an id, the one that carries traffic. A user who is logged on is asked to sign in again.
    #[command(after_help = "Examples:\n  vestibule registration delete\n  \
                            vestibule registration delete 7c9e6679-7425-40de-944b-e07fc1f90ae7")]
    Delete {
        /// Which one, as `registration show` lists it
        id: Option<Uuid>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MdmVerb {
    /// Shows the managed configuration in force, without its secrets
    #[command(after_help = "Example:\n  vestibule mdm get-configs")]
    GetConfigs(Target),
    /// Reads the MDM file again, now
    #[command(after_help = "Example:\n  vestibule mdm refresh && vestibule mdm get-configs")]
    Refresh(Target),
    /// Writes an MDM file out of an installer's properties: the vendor's, and PRE_LOGIN and MULTI_USER
    ///
    /// Empty values count as not given; when all are empty, nothing is written. A file that is there is replaced whole.
    #[command(after_help = "Example:\n  vestibule mdm write mdm.xml ORGANIZATION=mycompany SWITCH_LOCKED=1")]
    Write(super::installer::WriteOptions),
}

pub(crate) fn run(verb: Verb) -> ExitCode {
    match verb {
        Verb::Status(target) => ask::<Status>(&target, &Request::Status, print::status),
        Verb::Connect(target) => ask::<Status>(&target, &Request::Connect, print::summary),
        Verb::Disconnect(target) => ask::<Status>(&target, &Request::Disconnect, print::summary),
        Verb::Why { target, last } => ask::<WhyView>(&target, &Request::Why { last: Some(last) }, print::why),
        Verb::Registration(RegistrationVerb::Show(target)) => {
            ask::<RegistrationsView>(&target, &Request::RegistrationShow, print::registrations)
        }
        Verb::Registration(RegistrationVerb::New(target)) => register(&target),
        Verb::Registration(RegistrationVerb::Delete { id, target }) => {
            ask::<RegistrationView>(&target, &Request::RegistrationDelete { id }, print::deleted)
        }
        Verb::Settings(target) => ask::<SettingsView>(&target, &Request::Settings, print::settings),
        Verb::Mdm(MdmVerb::GetConfigs(target)) => ask::<MdmView>(&target, &Request::MdmConfigs, print::mdm),
        Verb::Mdm(MdmVerb::Refresh(target)) => ask::<MdmView>(&target, &Request::MdmRefresh, print::mdm),
        Verb::Mdm(MdmVerb::Write(options)) => super::installer::write(options),
    }
}

/// How long a prompt may take to have an address: it opens a port and asks nobody.
const PROMPTED: Duration = Duration::from_secs(5);

fn register(target: &Target) -> ExitCode {
    let given_up = Instant::now() + PROMPTED;
    let mut answer = call_value(&target.control, &Request::RegistrationNew);
    while Instant::now() < given_up && answer.as_ref().is_ok_and(|status| status["auth_url"].is_null()) {
        sleep(Duration::from_millis(50));
        answer = call_value(&target.control, &Request::Status);
    }
    show::<Status>(target, answer, print::summary)
}

/// Asks, and prints the answer as JSON or by `show`.
fn ask<T: DeserializeOwned>(target: &Target, request: &Request, show: fn(&T) -> String) -> ExitCode {
    self::show(target, call_value(&target.control, request), show)
}

/// Prints an answer as JSON or by `show`.
fn show<T: DeserializeOwned>(target: &Target, answer: Result<Value, CallError>, show: fn(&T) -> String) -> ExitCode {
    let shown = answer.and_then(|value| {
        if target.json {
            return serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(CallError::Garbled);
        }
        serde_json::from_value(value).map(|answer| show(&answer)).map_err(CallError::Garbled)
    });
    match shown {
        Ok(text) => {
            print::out(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = match &error {
                CallError::Refused(failure) => failure.code.clone(),
                CallError::Unreachable { .. } => "daemon_unreachable".into(),
                _ => "daemon_answer".into(),
            };
            failure::report(&error, &code, target.json)
        }
    }
}
