//! How a verb reports that it failed.

use crate::causes::chain;
use std::{error::Error, process::ExitCode};

/// Reports `error` on stderr, with `--json` also as `{"error": {...}}` on stdout, and gives the exit code.
pub(super) fn report(error: &dyn Error, code: &str, json: bool) -> ExitCode {
    let line = chain(error);
    if json {
        println!("{}", serde_json::json!({ "error": { "code": code, "message": line } }));
    }
    eprintln!("error: {line}");
    ExitCode::from(1)
}
