//! The registry below the local machine.
#![allow(unsafe_code, reason = "the registry's functions")]

use super::super::nrpt::{Registry, Value};
use std::{
    io,
    ptr::{null, null_mut},
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_PATH_NOT_FOUND,
        ERROR_SUCCESS,
    },
    System::Registry::{
        HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_DWORD, REG_MULTI_SZ,
        REG_OPTION_NON_VOLATILE, REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteKeyExW, RegDeleteTreeW, RegEnumKeyExW,
        RegOpenKeyExW, RegQueryInfoKeyW, RegQueryValueExW, RegSetValueExW,
    },
};

/// The registry of this machine; `root` stands before every path, and is empty but in tests.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalMachine {
    pub(super) root: String,
}

/// An open key.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key was opened by us and is closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

/// UTF-16 that ends with a zero.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().filter(|unit| *unit != 0).chain([0]).collect()
}

fn error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code as i32)
}

fn is_missing(code: u32) -> bool {
    matches!(code, ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND)
}

impl LocalMachine {
    fn path(&self, path: &str) -> Vec<u16> {
        wide(&format!("{}{path}", self.root))
    }

    /// `None` when there is no such key.
    fn open(&self, path: &str) -> io::Result<Option<Key>> {
        let (path, mut key) = (self.path(path), null_mut());
        // SAFETY: the path ends with a zero; the key that is written is ours to close.
        match unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &mut key) } {
            ERROR_SUCCESS => Ok(Some(Key(key))),
            code if is_missing(code) => Ok(None),
            code => Err(error(code)),
        }
    }

    fn create(&self, path: &str) -> io::Result<Key> {
        let (path, mut key) = (self.path(path), null_mut());
        // SAFETY: the path ends with a zero; no class, security attributes or disposition are given; the key that is
        // written is ours to close.
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                null(),
                REG_OPTION_NON_VOLATILE,
                KEY_READ | KEY_WRITE,
                null(),
                &mut key,
                null_mut(),
            )
        };
        if code == ERROR_SUCCESS { Ok(Key(key)) } else { Err(error(code)) }
    }
}

impl Registry for LocalMachine {
    fn keys(&self, path: &str) -> io::Result<Vec<String>> {
        let Some(key) = self.open(path)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for number in 0.. {
            // The longest name of a key has 255 units.
            let (mut name, mut len) = ([0u16; 256], 256);
            // SAFETY: `name` has room for `len` units; class and time are not asked for.
            let code = unsafe {
                RegEnumKeyExW(key.0, number, name.as_mut_ptr(), &mut len, null(), null_mut(), null_mut(), null_mut())
            };
            match code {
                ERROR_SUCCESS => all.push(String::from_utf16_lossy(name.get(..len as usize).unwrap_or_default())),
                ERROR_NO_MORE_ITEMS => break,
                code => return Err(error(code)),
            }
        }
        Ok(all)
    }

    fn value(&self, path: &str, name: &str) -> io::Result<Option<Value>> {
        let Some(key) = self.open(path)? else { return Ok(None) };
        let name = wide(name);
        let mut bytes = vec![0u8; 1 << 10];
        loop {
            let (mut kind, mut len) = (0, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            // SAFETY: the name ends with a zero; `bytes` has room for `len` bytes.
            let code =
                unsafe { RegQueryValueExW(key.0, name.as_ptr(), null(), &mut kind, bytes.as_mut_ptr(), &mut len) };
            match code {
                ERROR_SUCCESS => return Ok(read(kind, bytes.get(..len as usize).unwrap_or_default())),
                ERROR_MORE_DATA => bytes.resize((len as usize).max(bytes.len() * 2), 0),
                code if is_missing(code) => return Ok(None),
                code => return Err(error(code)),
            }
        }
    }

    fn set(&self, path: &str, name: &str, value: &Value) -> io::Result<()> {
        let key = self.create(path)?;
        let text = |units: Vec<u16>| units.into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (kind, bytes) = match value {
            Value::Number(number) => (REG_DWORD, number.to_le_bytes().to_vec()),
            Value::Text(one) => (REG_SZ, text(wide(one))),
            // An empty text would end the list.
            Value::Texts(all) => (
                REG_MULTI_SZ,
                text(all.iter().filter(|one| !one.is_empty()).flat_map(|one| wide(one)).chain([0]).collect()),
            ),
        };
        let (name, len) = (wide(name), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        // SAFETY: the name ends with a zero; `bytes` are `len` bytes of the type that is named.
        match unsafe { RegSetValueExW(key.0, name.as_ptr(), 0, kind, bytes.as_ptr(), len) } {
            ERROR_SUCCESS => Ok(()),
            code => Err(error(code)),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        // SAFETY: the path ends with a zero, and is never empty: what goes is one key and all in it.
        match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) } {
            ERROR_SUCCESS => Ok(()),
            code if is_missing(code) => Ok(()),
            code => Err(error(code)),
        }
    }

    fn remove_empty(&self, path: &str) -> io::Result<bool> {
        let Some(key) = self.open(path)? else { return Ok(false) };
        let (mut keys, mut values) = (0, 0);
        // SAFETY: the key is open; two numbers are written, and nothing else is asked for.
        let code = unsafe {
            RegQueryInfoKeyW(
                key.0,
                null_mut(),
                null_mut(),
                null(),
                &mut keys,
                null_mut(),
                null_mut(),
                &mut values,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        if code != ERROR_SUCCESS {
            return Err(error(code));
        }
        if keys != 0 || values != 0 {
            return Ok(false);
        }
        let path = self.path(path);
        // SAFETY: the path ends with a zero. A key in it that came meanwhile makes the call fail.
        match unsafe { RegDeleteKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), KEY_WOW64_64KEY, 0) } {
            ERROR_SUCCESS => Ok(true),
            ERROR_ACCESS_DENIED => Ok(false),
            code if is_missing(code) => Ok(false),
            code => Err(error(code)),
        }
    }
}

/// A value's bytes as the registry has them; another type is none of ours.
fn read(kind: u32, bytes: &[u8]) -> Option<Value> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let texts = || units.split(|unit| *unit == 0).filter(|one| !one.is_empty()).map(String::from_utf16_lossy);
    match kind {
        REG_DWORD => bytes.try_into().ok().map(|bytes| Value::Number(u32::from_le_bytes(bytes))),
        REG_SZ => Some(Value::Text(texts().next().unwrap_or_default())),
        REG_MULTI_SZ => Some(Value::Texts(texts().collect())),
        _ => None,
    }
}
