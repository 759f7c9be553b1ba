//! What a DLL's first bytes say, before any of it is loaded.

use super::library::LibraryError;
use std::io::Read;

/// `IMAGE_FILE_MACHINE_*` of what we are built for.
const OURS: u16 = match () {
    () if cfg!(target_arch = "x86_64") => 0x8664,
    () if cfg!(target_arch = "aarch64") => 0xaa64,
    () if cfg!(target_arch = "x86") => 0x014c,
    () => 0,
};
/// Headers lie at the front; this is ample.
const LOOK: u64 = 4096;

/// Checks that a DLL is one, and for our processor.
pub(super) fn check(file: &mut impl Read) -> Result<(), LibraryError> {
    let mut start = Vec::new();
    file.take(LOOK).read_to_end(&mut start).map_err(LibraryError::Unreadable)?;
    match machine(&start) {
        None => Err(LibraryError::NoLibrary),
        Some(machine) if machine != OURS => {
            Err(LibraryError::Architecture { expected: name(OURS), got: name(machine) })
        }
        Some(_) => Ok(()),
    }
}

/// The machine field of a portable executable.
fn machine(start: &[u8]) -> Option<u16> {
    let at = |range: std::ops::Range<usize>| start.get(range);
    if at(0..2)? != b"MZ" {
        return None;
    }
    let header = u32::from_le_bytes(at(0x3c..0x40)?.try_into().ok()?) as usize;
    if at(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    Some(u16::from_le_bytes(at(header + 4..header + 6)?.try_into().ok()?))
}

/// As the folders of Wintun's archive are called.
fn name(machine: u16) -> &'static str {
    match machine {
        0x8664 => "amd64",
        0xaa64 => "arm64",
        0x014c => "x86",
        0x01c0 | 0x01c4 => "arm",
        _ => "another processor",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn executable(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x100];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn our_own_kind_passes_and_another_is_named() {
        assert!(check(&mut &executable(OURS)[..]).is_ok());
        let other = if OURS == 0xaa64 { 0x8664 } else { 0xaa64 };
        match check(&mut &executable(other)[..]) {
            Err(LibraryError::Architecture { expected, got }) => assert_eq!((expected, got), (name(OURS), name(other))),
            outcome => panic!("expected another architecture, got {outcome:?}"),
        }
    }

    #[test]
    fn what_is_no_executable_is_told_from_one() {
        let mut far = executable(OURS);
        far[0x3c..0x40].fill(0xff);
        for bytes in [&b""[..], b"MZ", b"not a library at all", &executable(OURS)[..0x84], &far] {
            assert!(matches!(check(&mut &bytes[..]), Err(LibraryError::NoLibrary)), "{bytes:?}");
        }
    }
}
