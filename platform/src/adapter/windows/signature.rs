//! Authenticode: is the library as its makers signed it, and are they who they should be?
#![allow(unsafe_code, reason = "WinVerifyTrust")]

use super::library::{LibraryError, SIGNER};
use crate::win32::wide;
use std::{ffi::c_void, fs::File, mem, os::windows::io::AsRawHandle, path::Path, ptr::null_mut};
use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{
        Cryptography::{CERT_NAME_SIMPLE_DISPLAY_TYPE, CertGetNameStringW},
        WinTrust::{
            CRYPT_PROVIDER_SGNR, WINTRUST_ACTION_GENERIC_VERIFY_V2, WINTRUST_DATA, WINTRUST_DATA_0, WINTRUST_FILE_INFO,
            WTD_CACHE_ONLY_URL_RETRIEVAL, WTD_CHOICE_FILE, WTD_REVOKE_NONE, WTD_STATEACTION_CLOSE,
            WTD_STATEACTION_VERIFY, WTD_UI_NONE, WTHelperGetProvCertFromChain, WinVerifyTrust,
        },
    },
};

// What stands between a verification and its signer. `windows-sys` has them behind two features more, for a structure
// that is only passed on here.
#[link(name = "wintrust")]
unsafe extern "system" {
    fn WTHelperProvDataFromStateData(state: HANDLE) -> *mut c_void;
    fn WTHelperGetProvSignerFromChain(
        provider: *mut c_void,
        signer: u32,
        counter: i32,
        counter_signer: u32,
    ) -> *mut CRYPT_PROVIDER_SGNR;
}

/// UTF-16 units of the longest name read.
const LONGEST: usize = 256;

/// Checks the signature of `file`, which is open and at `path`. Nothing is asked of the network: before anybody has logged
/// in there may be none.
pub(super) fn check(path: &Path, file: &File) -> Result<(), LibraryError> {
    let path = wide(path);
    let mut subject = WINTRUST_FILE_INFO {
        cbStruct: mem::size_of::<WINTRUST_FILE_INFO>() as u32,
        pcwszFilePath: path.as_ptr(),
        hFile: file.as_raw_handle(),
        pgKnownSubject: null_mut(),
    };
    let mut question = WINTRUST_DATA {
        cbStruct: mem::size_of::<WINTRUST_DATA>() as u32,
        dwUIChoice: WTD_UI_NONE,
        fdwRevocationChecks: WTD_REVOKE_NONE,
        dwUnionChoice: WTD_CHOICE_FILE,
        Anonymous: WINTRUST_DATA_0 { pFile: &raw mut subject },
        dwStateAction: WTD_STATEACTION_VERIFY,
        dwProvFlags: WTD_CACHE_ONLY_URL_RETRIEVAL,
        ..WINTRUST_DATA::default()
    };
    let answer = verify(&mut question);
    let signer = if answer == 0 { signer(&question) } else { None };
    question.dwStateAction = WTD_STATEACTION_CLOSE;
    verify(&mut question);
    match signer {
        _ if answer != 0 => Err(LibraryError::Unsigned { code: answer.cast_unsigned() }),
        Some(signer) if signer == SIGNER => Ok(()),
        signer => Err(LibraryError::Signer { got: signer.unwrap_or_default() }),
    }
}

fn verify(question: &mut WINTRUST_DATA) -> i32 {
    let mut action = WINTRUST_ACTION_GENERIC_VERIFY_V2;
    // SAFETY: both structures are whole, and what they point to (the path with its zero, the open file) outlives the call.
    unsafe { WinVerifyTrust(null_mut(), &raw mut action, (&raw mut *question).cast()) }
}

/// The name in the certificate that signed what has just been verified.
fn signer(verified: &WINTRUST_DATA) -> Option<String> {
    // SAFETY: the state is that of a verification which has succeeded and is not closed; each pointer is checked before
    // it is used, and none outlives the state.
    unsafe {
        let provider = WTHelperProvDataFromStateData(verified.hWVTStateData);
        let signer = (!provider.is_null()).then(|| WTHelperGetProvSignerFromChain(provider, 0, 0, 0))?;
        let certificate = (!signer.is_null()).then(|| WTHelperGetProvCertFromChain(signer, 0))?;
        if certificate.is_null() || (*certificate).pCert.is_null() {
            return None;
        }
        let mut name = [0; LONGEST];
        let length = CertGetNameStringW(
            (*certificate).pCert,
            CERT_NAME_SIMPLE_DISPLAY_TYPE,
            0,
            null_mut(),
            name.as_mut_ptr(),
            LONGEST as u32,
        );
        // With its zero.
        Some(String::from_utf16_lossy(name.get(..(length as usize).checked_sub(1)?)?))
    }
}
