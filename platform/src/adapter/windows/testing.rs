//! Where tests find the stand-in `wintun.dll`.
#![allow(clippy::unwrap_used)]

use super::library;
use std::path::PathBuf;

/// The stand-in, which `cargo build -p vestibule-wintun` leaves beside this executable; `VESTIBULE_WINTUN_STAND_IN` names
/// another place. `None`, and a line on the output, where there is none.
pub(crate) fn stand_in() -> Option<PathBuf> {
    let path = library::path().unwrap();
    let there = path.exists();
    if !there {
        println!("skipped: no {}; build vestibule-wintun, or name it in VESTIBULE_WINTUN_STAND_IN", path.display());
    }
    there.then_some(path)
}
