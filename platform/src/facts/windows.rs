//! The version as the registry has it: unlike `GetVersionEx`, it is the same for every program, whatever its manifest says.

use super::System;
use crate::win32::registry;

const VERSION: &str = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";

pub(super) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// `10.0.19045`; before Windows 10 the two numbers are one text, `6.3`.
pub(super) fn os_version() -> Option<String> {
    let build = text("CurrentBuildNumber")?;
    let newer = number("CurrentMajorVersionNumber").zip(number("CurrentMinorVersionNumber"));
    let version = newer.map(|(major, minor)| format!("{major}.{minor}")).or_else(|| text("CurrentVersion"))?;
    super::semantic(&format!("{version}.{build}"))
}

pub(super) fn system() -> System {
    System {
        version_extra: number("UBR").map(|revision| revision.to_string()).unwrap_or_default(),
        ..System::default()
    }
}

fn number(value: &str) -> Option<u32> {
    registry::number(VERSION, value)
}

fn text(value: &str) -> Option<String> {
    registry::text(VERSION, value)
}
