//! `vestibule mdm write`: what an installer was told, as an MDM file.

use super::failure;
use crate::mdm::{Secret, installer};
use clap::Args;
use std::{convert::Infallible, fs, io, path::PathBuf, process::ExitCode};
use vestibule_platform::files::write_atomic;

#[derive(Debug, Args)]
pub(crate) struct WriteOptions {
    /// The file to write; its directory is made if need be
    file: PathBuf,
    /// Properties, such as ORGANIZATION=mycompany
    #[arg(value_name = "PROPERTY=VALUE", value_parser = property)]
    properties: Vec<(String, Secret)>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Never fails: clap's message would repeat what may be a secret. Without `=` it is a property without a name.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
fn property(text: &str) -> Result<(String, Secret), Infallible> {
    let (name, value) = text.split_once('=').unwrap_or_default();
    Ok((name.to_owned(), Secret::new(value)))
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Property(#[from] installer::PropertyError),
    #[error("cannot write {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

pub(crate) fn write(options: WriteOptions) -> ExitCode {
    let WriteOptions { file, properties, json } = options;
    let written = installer::file(&properties).map_err(WriteError::from).and_then(|text| {
        let Some(text) = text else { return Ok(false) };
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = directory.map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| write_atomic(&file, text.as_bytes()))
            .map_err(|cause| WriteError::File { path: file.clone(), cause })?;
        Ok(true)
    });
    match written {
        Ok(written) if json => {
            super::print::out(&format!("{}\n", serde_json::json!({ "written": written, "file": file })))
        }
        Ok(true) => super::print::out(&format!("Wrote {}\n", file.display())),
        Ok(false) => super::print::out("No property is set: nothing written\n"),
        Err(error) => return failure::report(&error, "mdm", json),
    }
    ExitCode::SUCCESS
}
