//! The verbs that the program starts its own processes with; not part of the command line.

use crate::{
    demo, soak,
    world::host::{self, Role},
};
use clap::{Parser, Subcommand};
use std::{ffi::OsString, process::ExitCode};

#[derive(Debug, Parser)]
#[command(name = "vestibule", disable_help_subcommand = true)]
struct Hidden {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The demo inside its sandbox.
    DemoInside(demo::Options),
    /// The soak inside its sandbox.
    SoakInside(soak::Options),
    /// A host of either.
    WorldHost {
        #[command(subcommand)]
        role: Role,
    },
}

/// Runs such a verb; `None` when the arguments are something else. To be called before any thread starts.
pub(super) fn intercept(arguments: &[OsString]) -> Option<ExitCode> {
    let verb = arguments.get(1)?.to_str()?;
    if !["demo-inside", "soak-inside", "world-host"].contains(&verb) {
        return None;
    }
    Some(match Hidden::try_parse_from(arguments).map(|hidden| hidden.verb) {
        Ok(Verb::DemoInside(options)) => demo::inside(&options),
        Ok(Verb::SoakInside(options)) => soak::inside(&options),
        Ok(Verb::WorldHost { role }) => host::run(role),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(2)
        }
    })
}
