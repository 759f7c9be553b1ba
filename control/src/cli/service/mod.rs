//! `vestibule service`.

mod install;
mod run;

use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Runs the device's daemon in the foreground
    ///
    /// It reads the MDM file, enrols by service token when nobody is logged in, brings the tunnel up, and switches to a
    /// user's registration when one signs in. It needs the rights to make a network device (an administrator on Windows;
    /// root, or CAP_NET_ADMIN, on Linux). The gateway's address and pin are remembered in the state directory.
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::RunOptions>),
    /// Makes the daemon a service of the system: it starts before anybody logs in
    ///
    /// A Windows service (LocalSystem, restarted 1 s, 5 s, then 60 s after a failure), or a systemd unit. The options are
    /// those of `run`; the service keeps them. One that is installed already is changed. Needs an administrator or root.
    #[command(after_help = install::EXAMPLES)]
    Install(Box<install::InstallOptions>),
    /// Stops the service and takes it out of the system
    ///
    /// Keys, registrations and settings stay in the state directory. Needs an administrator or root.
    #[command(after_help = "Example:\n  vestibule service uninstall")]
    Uninstall(install::UninstallOptions),
}

pub(crate) fn run_verb(verb: ServiceVerb) -> ExitCode {
    match verb {
        ServiceVerb::Run(options) => run::run_verb(*options),
        ServiceVerb::Install(options) => install::install_verb(&options),
        ServiceVerb::Uninstall(options) => install::uninstall_verb(&options),
    }
}
