//! The files.

use super::{markdown, model::Report, svg};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Writes the three files of a report into a directory, each beside its place first.
pub(super) fn write(directory: &Path, report: &Report) -> io::Result<()> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    for (name, text) in
        [("compare.json", json), ("compare.md", markdown::render(report)), ("compare.svg", svg::render(report))]
    {
        let path = directory.join(name);
        let partial = PathBuf::from(format!("{}.{}.part", path.display(), std::process::id()));
        fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path)).inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })?;
    }
    Ok(())
}
