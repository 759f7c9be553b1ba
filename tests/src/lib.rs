//! What the end-to-end and interop tests stand on: network namespaces, processes, the gateway, other WireGuard
//! implementations and traffic that checks itself.
//!
//! Everything but [`fuzzed`] is Linux only and wants root; [`required`] says whether a test should run.

#[cfg(target_os = "linux")]
pub mod admin;
#[cfg(target_os = "linux")]
pub mod authority;
#[cfg(target_os = "linux")]
pub mod browser;
#[cfg(target_os = "linux")]
pub mod bus;
#[cfg(target_os = "linux")]
pub mod device;
#[cfg(target_os = "linux")]
pub mod domain;
#[cfg(target_os = "linux")]
pub mod flood;
#[cfg(target_os = "linux")]
pub mod flow;
pub mod fuzzed;
#[cfg(target_os = "linux")]
pub mod gateway;
#[cfg(target_os = "linux")]
pub mod house;
#[cfg(target_os = "linux")]
pub mod interface;
#[cfg(target_os = "linux")]
pub mod kernel;
#[cfg(target_os = "linux")]
pub mod load;
#[cfg(target_os = "linux")]
pub mod login;
#[cfg(target_os = "linux")]
pub mod login1;
#[cfg(target_os = "linux")]
pub mod masque;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod peers;
#[cfg(target_os = "linux")]
pub mod plain;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod prompt;
#[cfg(target_os = "linux")]
pub mod provider;
#[cfg(target_os = "linux")]
pub mod relay;
#[cfg(target_os = "linux")]
pub mod resolve1;
#[cfg(target_os = "linux")]
pub mod soak;
#[cfg(target_os = "linux")]
pub mod steady;
#[cfg(target_os = "linux")]
pub mod tunnel;
#[cfg(target_os = "linux")]
pub mod walker;
#[cfg(target_os = "linux")]
pub mod wire;

use std::path::PathBuf;

/// Whether end-to-end tests run: `tests/run` sets `VESTIBULE_END_TO_END=required` as root, and then a missing piece is
/// a failure. Without it they are left out, with a line that says so.
#[must_use]
pub fn required(test: &str) -> bool {
    let required = std::env::var("VESTIBULE_END_TO_END").is_ok_and(|value| value == "required");
    if !required {
        eprintln!("{test}: left out; `sudo tests/run` runs it (it makes network namespaces)");
    }
    required
}

/// The `vestibule` that was built beside this test.
///
/// # Panics
/// When there is none: `cargo build --workspace --bins` makes it.
#[must_use]
pub fn vestibule() -> PathBuf {
    let path = target_directory().join("vestibule");
    assert!(path.exists(), "no {}: run `cargo build --workspace --bins` first, as tests/run does", path.display());
    path
}

/// `target/debug` or `target/release`, whichever this test is in.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
}
