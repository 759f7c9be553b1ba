//! The version as the registry has it: unlike `GetVersionEx`, it is the same for every program, whatever its manifest says.
#![allow(unsafe_code, reason = "one function that reads the registry")]

use super::System;
use std::{ffi::c_void, ptr::null_mut};

const VERSION: &str = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
/// `HKEY_LOCAL_MACHINE`: 0x80000002, sign-extended.
const LOCAL_MACHINE: isize = 0x8000_0002_u32 as i32 as isize;
/// `RRF_RT_REG_SZ` and `RRF_RT_REG_DWORD`: other types are refused.
const TEXT: u32 = 0x0000_0002;
const NUMBER: u32 = 0x0000_0010;
/// UTF-16 units of the longest text read.
const LONGEST: usize = 64;

#[link(name = "advapi32")]
unsafe extern "system" {
    fn RegGetValueW(
        key: isize,
        subkey: *const u16,
        value: *const u16,
        flags: u32,
        kind: *mut u32,
        data: *mut c_void,
        length: *mut u32,
    ) -> i32;
}

pub(super) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// `10.0.19045`; before Windows 10 the two numbers are one text, `6.3`.
pub(super) fn os_version() -> Option<String> {
    let build = text("CurrentBuildNumber")?;
    let newer = number("CurrentMajorVersionNumber").zip(number("CurrentMinorVersionNumber"));
    let version = newer.map(|(major, minor)| format!("{major}.{minor}")).or_else(|| text("CurrentVersion"))?;
    super::semantic(&format!("{version}.{build}"))
}

pub(super) fn system() -> System {
    System {
        version_extra: number("UBR").map(|revision| revision.to_string()).unwrap_or_default(),
        ..System::default()
    }
}

fn number(value: &str) -> Option<u32> {
    let mut bytes = [0; 4];
    (read(value, NUMBER, &mut bytes)? == bytes.len()).then(|| u32::from_ne_bytes(bytes))
}

fn text(value: &str) -> Option<String> {
    let mut bytes = [0; LONGEST * 2];
    let length = read(value, TEXT, &mut bytes)?;
    let units = bytes.get(..length)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).ok().filter(|text| !text.is_empty())
}

/// Reads a value of [`VERSION`] into `bytes`: how many there are.
fn read(value: &str, kind: u32, bytes: &mut [u8]) -> Option<usize> {
    let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
    let (subkey, value) = (wide(VERSION), wide(value));
    let mut length = u32::try_from(bytes.len()).ok()?;
    // SAFETY: both names end with a zero and outlive the call; `bytes` has room for `length` bytes, which the call does
    // not exceed (it fails with ERROR_MORE_DATA instead); the type is not asked for, so its pointer may be null.
    let outcome = unsafe {
        RegGetValueW(
            LOCAL_MACHINE,
            subkey.as_ptr(),
            value.as_ptr(),
            kind,
            null_mut(),
            bytes.as_mut_ptr().cast(),
            &mut length,
        )
    };
    (outcome == 0).then_some(length as usize)
}
