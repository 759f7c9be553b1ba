//! What a `resolv.conf` was before it became ours, and how our file tells of it.
//!
//! The text we write ends in comments that hold the former file, so that it can be put back, by a later start or by
//! hand, where the daemon's own notes are lost:
//!
//! ```text
//! # Before: file 644, kept by "/var/lib/vestibule/resolver"
//! #| nameserver 192.0.2.53
//! #| search lan
//! #|
//! # Check: 0123456789abcdef
//! ```
//!
//! The check covers everything above it: a file that somebody has changed since is not ours.

use crate::files;
use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

const BEFORE: &str = "# Before: ";
const LINE: &[u8] = b"#| ";
const CHECK: &[u8] = b"# Check: ";

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// There was none.
    None,
    /// A symbolic link to this.
    Link(PathBuf),
    /// A file of its own.
    File { bytes: Vec<u8>, mode: u32 },
}

impl Former {
    /// What is at `path`.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => fs::read_link(path).map(Self::Link),
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o777;
                fs::read(path).map(|bytes| Self::File { bytes, mode })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::None),
            Err(error) => Err(error),
        }
    }

    /// Puts it at `path`, where nothing is, and on the disk.
    pub(super) fn keep_at(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Link(target) => symlink(target, path),
            Self::File { bytes, mode } => {
                files::write_atomic(path, bytes)?;
                fs::set_permissions(path, Permissions::from_mode(*mode))
            }
        }
    }

    /// `text` with what tells of this one behind it; `owner` is where the notes of who writes it are.
    pub(super) fn noted_in(&self, text: &str, owner: &Path) -> Vec<u8> {
        let (kind, mode, content) = match self {
            Self::None => ("none", 0, None),
            Self::Link(target) => ("link", 0, Some(target.as_os_str().as_bytes())),
            Self::File { bytes, mode } => ("file", *mode, Some(bytes.as_slice())),
        };
        let mut all = text.as_bytes().to_vec();
        all.extend_from_slice(format!("{BEFORE}{kind} {mode:o}, {}\n", kept_by(owner)).as_bytes());
        for line in content.into_iter().flat_map(|content| content.split(|byte| *byte == b'\n')) {
            all.extend_from_slice(LINE);
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        let check = check(&all);
        all.extend_from_slice(CHECK);
        all.extend_from_slice(format!("{check:016x}\n").as_bytes());
        all
    }

    /// What a text of [`Self::noted_in`] tells, if `owner` wrote it and nobody has changed it since.
    pub(super) fn told_by(text: &[u8], owner: &Path) -> Option<Self> {
        let end = text.strip_suffix(b"\n")?.iter().rposition(|byte| *byte == b'\n')? + 1;
        let (noted, last) = text.split_at(end);
        if last.strip_prefix(CHECK)? != format!("{:016x}\n", check(noted)).as_bytes() {
            return None;
        }
        let mut lines = noted.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let before = lines.find_map(|line| line.strip_prefix(BEFORE.as_bytes()))?;
        let (what, by) = std::str::from_utf8(before).ok()?.split_once(", ")?;
        let (kind, mode) = what.split_once(' ')?;
        if by != kept_by(owner) {
            return None;
        }
        let content = lines.map(|line| line.strip_prefix(LINE)).collect::<Option<Vec<_>>>()?.join(&b'\n');
        match kind {
            "none" => Some(Self::None),
            "link" => Some(Self::Link(OsStr::from_bytes(&content).into())),
            "file" => Some(Self::File { bytes: content, mode: u32::from_str_radix(mode, 8).ok()? & 0o777 }),
            _ => None,
        }
    }
}

fn kept_by(owner: &Path) -> String {
    format!("kept by {owner:?}")
}

/// FNV-1a: tells a change by accident or by hand, and guards against nobody.
fn check(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn any_former() -> impl Strategy<Value = Former> {
        // Bytes that mean something here come often.
        let byte = prop_oneof![any::<u8>(), Just(b'\n'), Just(b'#'), Just(b'|'), Just(b' ')];
        let bytes = prop::collection::vec(byte, 0..200);
        prop_oneof![
            Just(Former::None),
            "[a-z/.]{1,40}".prop_map(|target| Former::Link(target.into())),
            (bytes, 0u32..0o1000).prop_map(|(bytes, mode)| Former::File { bytes, mode }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_noted_is_told_again_until_somebody_changes_it(
            former in any_former(), at in any::<prop::sample::Index>(), with in 1..=255u8
        ) {
            let owner = Path::new("/var/lib/\"odd\" place\n");
            let mut text = former.noted_in("nameserver 127.0.2.2\n", owner);
            prop_assert_eq!(Former::told_by(&text, owner), Some(former));
            prop_assert_eq!(Former::told_by(&text, Path::new("/elsewhere")), None);
            // Under another daemon's file, ours is a former one like any other.
            let above = Former::File { bytes: text.clone(), mode: 0o644 };
            let other = above.noted_in("nameserver 127.0.2.3\n", Path::new("/elsewhere"));
            prop_assert_eq!(Former::told_by(&other, owner), None);
            prop_assert_eq!(Former::told_by(&other, Path::new("/elsewhere")), Some(above));
            let at = at.index(text.len());
            text[at] ^= with;
            prop_assert_eq!(Former::told_by(&text, owner), None);
        }
    }
}
