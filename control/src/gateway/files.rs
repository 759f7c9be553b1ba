//! Files of the data directory: readable by their owner only, written whole or not at all.

use super::GatewayError;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> GatewayError + 'a {
    move |cause| GatewayError::File { action, path: path.to_owned(), cause }
}

/// Makes a directory (mode 0700) with its parents.
pub(super) fn directory(path: &Path) -> Result<(), GatewayError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make the directory", path))
}

/// Makes a file of mode 0600 if there is none, and takes others' rights away if there is one.
pub(super) fn private(path: &Path) -> Result<(), GatewayError> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("close to others", path))
}

/// The whole content.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, GatewayError> {
    fs::read(path).map(Zeroizing::new).map_err(failed("read", path))
}

/// Writes a file of mode 0600: under another name, to the disk, then renamed.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<(), GatewayError> {
    write(path, content).map_err(failed("write", path))
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// The secret in a file, made by `make` when there is none.
pub(super) fn secret(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, GatewayError>,
) -> Result<Zeroizing<Vec<u8>>, GatewayError> {
    if !path.exists() {
        write_secret(path, &make()?)?;
    }
    read(path)
}
