//! `loom` tries the interleavings of what this project's threads share. The files are the platform's own, compiled here
//! alone, over `loom`'s locks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p vestibule-loom --target-dir target/loom` (`tests/run` does). The rings of Wintun
//! have theirs in `tests/ring`.
#![cfg(all(loom, test))]

#[path = "../../../platform/src/runtime/mailbox.rs"]
mod mailbox;
#[path = "../../../platform/src/sync.rs"]
mod sync;

mod swap;
