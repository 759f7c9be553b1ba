//! The tick count, the generator behind `RtlGenRandom`, and a registry key that does not outlive the system's start.
#![allow(unsafe_code, reason = "functions of the system's own libraries")]

use crate::win32::{check_code, wide};
use std::{
    io,
    ptr::{null, null_mut},
    time::Duration,
};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, KEY_READ, KEY_SET_VALUE, REG_OPTION_VOLATILE, REG_SZ, RRF_RT_REG_SZ,
    RegCloseKey, RegCreateKeyExW, RegGetValueW, RegSetValueExW,
};

/// Volatile: gone when the system starts again. A start out of hibernation, which Windows' fast start-up is, is none.
const BOOT: &str = r"SOFTWARE\Vestibule\Boot";
const NAME: &str = "Id";
/// Hexadecimal digits of a name.
const DIGITS: usize = 32;

#[link(name = "kernel32")]
unsafe extern "system" {
    /// Milliseconds since the system started, sleep included.
    safe fn GetTickCount64() -> u64;
}

#[link(name = "advapi32")]
unsafe extern "system" {
    /// `RtlGenRandom` by its exported name: fills `length` bytes at `buffer`, zero on failure.
    fn SystemFunction036(buffer: *mut u8, length: u32) -> u8;
}

// The signature is shared with systems where the clock can fail.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn since_boot() -> io::Result<Duration> {
    Ok(Duration::from_millis(GetTickCount64()))
}

pub(super) fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    for part in bytes.chunks_mut(1 << 20) {
        // SAFETY: the call writes exactly the given number of bytes to `part`, which is that long (at most 1 MiB, so
        // the cast keeps its value) and borrowed meanwhile.
        if unsafe { SystemFunction036(part.as_mut_ptr(), part.len() as u32) } == 0 {
            return Err(io::Error::other("the system gave no randomness"));
        }
    }
    Ok(())
}

/// The system names its starts nowhere that lasts through changes of the wall clock, so we do.
pub(super) fn boot_id() -> io::Result<String> {
    // A user who is no administrator has a place of their own.
    let (key, held) = open(HKEY_LOCAL_MACHINE).or_else(|_| open(HKEY_CURRENT_USER))?;
    let found = if held { read(&key) } else { None };
    found.map_or_else(|| write(&key), Ok)
}

struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is open and this owns it.
        unsafe { RegCloseKey(self.0) };
    }
}

/// Opens the key, making it if need be; whether it was there.
fn open(root: HKEY) -> io::Result<(Key, bool)> {
    /// `REG_OPENED_EXISTING_KEY`.
    const THERE: u32 = 2;
    let (name, mut key, mut disposition) = (wide(BOOT), null_mut(), 0);
    // SAFETY: the name ends with a zero and outlives the call; no class and no attributes; the call writes to the two
    // variables only.
    check_code(unsafe {
        RegCreateKeyExW(
            root,
            name.as_ptr(),
            0,
            null(),
            REG_OPTION_VOLATILE,
            KEY_READ | KEY_SET_VALUE,
            null(),
            &raw mut key,
            &raw mut disposition,
        )
    })?;
    Ok((Key(key), disposition == THERE))
}

fn read(key: &Key) -> Option<String> {
    let (name, mut units) = (wide(NAME), [0_u16; DIGITS + 1]);
    let mut length = size_of_val(&units) as u32;
    // SAFETY: the name ends with a zero; the call writes at most `length` bytes to `units`, which has that many; the
    // type is not asked for.
    let outcome = unsafe {
        RegGetValueW(
            key.0,
            null(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let text = String::from_utf16(&units[..DIGITS]).ok()?;
    (outcome == 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn write(key: &Key) -> io::Result<String> {
    let mut bytes = [0; DIGITS / 2];
    entropy(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (name, value) = (wide(NAME), wide(&text));
    // SAFETY: the name ends with a zero; the value has the length that is told, its zero included.
    check_code(unsafe {
        RegSetValueExW(key.0, name.as_ptr(), 0, REG_SZ, value.as_ptr().cast(), size_of_val(&value[..]) as u32)
    })?;
    Ok(text)
}
