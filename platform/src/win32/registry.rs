//! Single values below the local machine.
#![allow(unsafe_code, reason = "one function that reads the registry")]

use super::wide;
use std::ptr::null_mut;
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_ROUTINE_FLAGS, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegGetValueW,
};

/// UTF-16 units of the longest text read.
const LONGEST: usize = 64;

/// A number.
pub(crate) fn number(key: &str, value: &str) -> Option<u32> {
    let mut bytes = [0; 4];
    (read(key, value, RRF_RT_REG_DWORD, &mut bytes)? == bytes.len()).then(|| u32::from_ne_bytes(bytes))
}

/// A short text that is not empty.
pub(crate) fn text(key: &str, value: &str) -> Option<String> {
    let mut bytes = [0; LONGEST * 2];
    let length = read(key, value, RRF_RT_REG_SZ, &mut bytes)?;
    let units = bytes.get(..length)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).ok().filter(|text| !text.is_empty())
}

/// Reads a value of no other type into `bytes`: how many there are.
fn read(key: &str, value: &str, kind: REG_ROUTINE_FLAGS, bytes: &mut [u8]) -> Option<usize> {
    let (key, value) = (wide(key), wide(value));
    let mut length = u32::try_from(bytes.len()).ok()?;
    // SAFETY: both names end with a zero and outlive the call; `bytes` has room for `length` bytes, which the call does
    // not exceed (it fails with ERROR_MORE_DATA instead); the type is not asked for, so its pointer may be null.
    let outcome = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            kind,
            null_mut(),
            bytes.as_mut_ptr().cast(),
            &mut length,
        )
    };
    (outcome == 0).then_some(length as usize)
}
