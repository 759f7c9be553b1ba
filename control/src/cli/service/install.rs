//! `vestibule service install` and `uninstall`.

use super::run::RunOptions;
use crate::cli::{failure, print};
use clap::Args;
use serde_json::json;
use std::{ffi::OsString, process::ExitCode};
use vestibule_platform::{
    lockdown::{self, Lockdown as _},
    service::{self, NAME, Plan, ServiceError},
};

pub(super) const EXAMPLES: &str = "Examples:
  vestibule service install --gateway https://192.0.2.1:8443 --pin 8f2c... --now
  vestibule service install --json | jq .warnings

Afterwards: `sc query Vestibule`, the event log and the log files in C:\\ProgramData\\Vestibule\\log on Windows;
`systemctl status vestibule` and `journalctl -u vestibule` on Linux.";

#[derive(Debug, Args)]
pub(crate) struct InstallOptions {
    #[command(flatten)]
    run: RunOptions,
    /// Start it now, too; a running one is restarted
    #[arg(long)]
    now: bool,
    /// Leave the command line of a service that is installed already as it is (for upgrades)
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallOptions {
    /// Print what was done as one JSON line on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn install_verb(options: &InstallOptions) -> ExitCode {
    let json = options.run.json;
    let installed = plan(options).and_then(|plan| service::install(&plan).map(|installed| (plan, installed)));
    let (plan, installed) = match installed {
        Ok(installed) => installed,
        Err(error) => return failure::report(&error, code(&error), json),
    };
    if json {
        let command: Vec<_> =
            std::iter::once(plan.program.as_os_str()).chain(plan.arguments.iter().map(AsRef::as_ref)).collect();
        let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        let told = json!({
            "service": NAME, "place": installed.place, "command": command, "replaced": installed.replaced,
            "started": installed.started, "warnings": installed.warnings,
        });
        print::out(&format!("{told}\n"));
        return ExitCode::SUCCESS;
    }
    let done = if installed.replaced { "changed" } else { "installed" };
    let next = if installed.started { "It runs." } else { "It starts with the system; --now starts it at once." };
    print::out(&format!("{done} the service {NAME} ({}). {next}\n", installed.place));
    for warning in &installed.warnings {
        eprintln!("warning: {warning}");
    }
    ExitCode::SUCCESS
}

fn plan(options: &InstallOptions) -> Result<Plan, ServiceError> {
    let failed = |cause| ServiceError::System { action: "tell where this program is", cause };
    let program = std::env::current_exe().map_err(failed)?;
    let mut arguments: Vec<OsString> = ["service", "run", "--managed"].map(OsString::from).to_vec();
    arguments.extend(options.run.words().map_err(failed)?);
    Ok(Plan { program, arguments, start: options.now, keep: options.keep })
}

pub(super) fn uninstall_verb(options: &UninstallOptions) -> ExitCode {
    match service::uninstall() {
        Ok(ran) => {
            // It outlives the service, and who takes the program away, too, could not lift it any more.
            let closed = lockdown::System.is_engaged().unwrap_or(false);
            if options.json {
                print::out(&format!("{}\n", json!({ "service": NAME, "ran": ran, "lockdown": closed })));
                return ExitCode::SUCCESS;
            }
            let stopped = if ran { "stopped and uninstalled" } else { "uninstalled" };
            print::out(&format!("{stopped} the service {NAME}; its state stays\n"));
            if closed {
                eprintln!("warning: the lockdown stands: `vestibule lockdown lift` opens the network");
            }
        }
        Err(error) => return failure::report(&error, code(&error), options.json),
    }
    ExitCode::SUCCESS
}

fn code(error: &ServiceError) -> &'static str {
    match error {
        ServiceError::NotAllowed { .. } => "not_allowed",
        ServiceError::NotInstalled => "not_installed",
        ServiceError::NoManager { .. } => "no_service_manager",
        ServiceError::DoesNotStart { .. } => "does_not_start",
        ServiceError::DoesNotStop { .. } => "does_not_stop",
        _ => "service",
    }
}
