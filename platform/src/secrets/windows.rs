//! A directory that only the system and administrators may enter; content sealed by the machine's own key (DPAPI), so
//! that a stolen disk or a copied file gives nothing away.
#![allow(unsafe_code, reason = "the system's data protection and file security")]

use super::SecretError;
use crate::win32::{Local, check, is, own, security, wide};
use std::{
    fs::{self, File},
    io,
    os::windows::io::{AsHandle, AsRawHandle, OwnedHandle},
    path::Path,
    ptr::{null, null_mut},
};
use windows_sys::Win32::{
    Foundation::ERROR_ALREADY_EXISTS,
    Security::{
        Authorization::SE_FILE_OBJECT,
        Cryptography::{
            CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
            CryptUnprotectData,
        },
    },
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_DIRECTORY,
        FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES,
        FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, GetFileInformationByHandle, OPEN_EXISTING, READ_CONTROL,
        WRITE_DAC,
    },
};
use zeroize::{Zeroize, Zeroizing};

/// Binds what is sealed to this program.
const PROGRAM: &str = "Vestibule ";
/// Goes before every secret: the system need not be asked to seal nothing, and a later form can be told apart.
const FORM: u8 = 1;
/// How much longer what is stored may be than the secret: header, key and authentication code, some 300 bytes.
pub(super) const SEAL: usize = 4096;

/// Makes the directory, or closes it to everybody else. Anybody may make directories where ours is to be, so one that
/// somebody else made is not used, and neither is a link.
pub(super) fn make_private(directory: &Path) -> Result<(), SecretError> {
    let failed = |action| move |cause| SecretError::Io { action, path: directory.to_owned(), cause };
    let me = security::current_user().map_err(failed("find out who may use"))?;
    let rights = security::closed("OICI").map_err(failed("set the rights of"))?;
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed("make"))?;
    }
    let (name, attributes) = (wide(directory), rights.attributes());
    // SAFETY: the name ends with a zero; it, the attributes and the descriptor behind them outlive the call.
    match check(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) }) {
        Ok(()) => return Ok(()),
        Err(error) if is(&error, ERROR_ALREADY_EXISTS) => {}
        Err(error) => return Err(failed("make")(error)),
    }
    let found = look_at(&name).map_err(failed("look at"))?;
    let mut facts = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open; the call fills `facts`.
    check(unsafe { GetFileInformationByHandle(found.as_raw_handle(), &raw mut facts) }).map_err(failed("look at"))?;
    let kind = facts.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT);
    if kind != FILE_ATTRIBUTE_DIRECTORY {
        let cause = io::Error::other("it is a link or a file: expected a directory");
        return Err(failed("use")(cause));
    }
    let owner = security::owner(found.as_handle(), SE_FILE_OBJECT).map_err(failed("look at"))?;
    if !security::is_trusted(&owner, &me) {
        return Err(SecretError::Foreign { path: directory.to_owned(), owner });
    }
    rights.put_on(found.as_handle()).map_err(failed("close to others"))
}

/// Opens a directory itself, not what it may be a link to.
fn look_at(name: &[u16]) -> io::Result<OwnedHandle> {
    // SAFETY: the name ends with a zero and outlives the call; the handle is ours alone.
    unsafe {
        own(CreateFileW(
            name.as_ptr(),
            FILE_READ_ATTRIBUTES | READ_CONTROL | WRITE_DAC,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            null(),
            OPEN_EXISTING,
            FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT,
            null_mut(),
        ))
    }
}

/// A file may have been put there before the directory was closed.
pub(super) fn check_owner(file: &File, path: &Path) -> Result<(), SecretError> {
    let failed = |cause| SecretError::Io { action: "look at", path: path.to_owned(), cause };
    let owner = security::owner(file.as_handle(), SE_FILE_OBJECT).map_err(failed)?;
    if security::is_trusted(&owner, &security::current_user().map_err(failed)?) {
        Ok(())
    } else {
        Err(SecretError::Foreign { path: path.to_owned(), owner })
    }
}

pub(super) fn seal(name: &str, secret: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let (bound, description) = (format!("{PROGRAM}{name}"), wide("Vestibule"));
    let mut formed = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
    formed.push(FORM);
    formed.extend_from_slice(secret);
    let (plain, bound, mut sealed) = (blob(&formed), blob(bound.as_bytes()), blob(&[]));
    let flags = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;
    // SAFETY: the blobs point at borrowed bytes of their length, which the call only reads; the text ends with a zero;
    // the result is written to `sealed`.
    check(unsafe {
        CryptProtectData(
            &raw const plain,
            description.as_ptr(),
            &raw const bound,
            null(),
            null(),
            flags,
            &raw mut sealed,
        )
    })?;
    Ok(taken(&sealed))
}

pub(super) fn open(name: &str, stored: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<Vec<u8>>> {
    let bound = format!("{PROGRAM}{name}");
    let (sealed, bound, mut plain) = (blob(&stored), blob(bound.as_bytes()), blob(&[]));
    // SAFETY: as in `seal`; the description is not asked for.
    check(unsafe {
        CryptUnprotectData(
            &raw const sealed,
            null_mut(),
            &raw const bound,
            null(),
            null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut plain,
        )
    })?;
    let mut formed = taken(&plain);
    if formed.first() != Some(&FORM) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of an unknown form"));
    }
    formed.copy_within(1.., 0);
    formed.pop();
    Ok(formed)
}

fn blob(bytes: &[u8]) -> CRYPT_INTEGER_BLOB {
    // At most `MAX_SECRET` and `SEAL`, so the cast keeps the length.
    CRYPT_INTEGER_BLOB { cbData: bytes.len() as u32, pbData: bytes.as_ptr().cast_mut() }
}

/// Copies what a call has made, wipes it there, and frees it.
fn taken(made: &CRYPT_INTEGER_BLOB) -> Zeroizing<Vec<u8>> {
    let _memory = Local(made.pbData.cast());
    if made.pbData.is_null() {
        return Zeroizing::default();
    }
    // SAFETY: the call has allocated that many bytes for us, and nobody else knows of them.
    let bytes = unsafe { std::slice::from_raw_parts_mut(made.pbData, made.cbData as usize) };
    let copy = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    copy
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{
        files::scratch::Scratch,
        secrets::{FileStore, SecretError, Secrets as _},
        win32::security::{self, ADMINISTRATORS, SYSTEM},
    };
    use std::fs;

    #[test]
    fn what_is_stored_shows_nothing_and_belongs_to_its_name() {
        let scratch = Scratch::new();
        let store = FileStore::open(&scratch.path("secrets")).unwrap();
        store.put("token", b"correct horse battery staple").unwrap();
        let file = scratch.path("secrets/token");
        let stored = fs::read(&file).unwrap();
        assert!(!stored.windows(7).any(|part| part == b"battery"));
        assert_eq!(*store.get("token").unwrap().unwrap(), b"correct horse battery staple");
        fs::copy(&file, scratch.path("secrets/other")).unwrap();
        assert!(matches!(store.get("other"), Err(SecretError::Io { action: "unseal", .. })));
        let mut damaged = stored;
        let middle = damaged.len() / 2;
        damaged[middle..middle + 8].fill(0xff);
        fs::write(&file, damaged).unwrap();
        assert!(matches!(store.get("token"), Err(SecretError::Io { action: "unseal", .. })));
    }

    #[test]
    fn the_directory_is_ours_and_a_file_in_its_place_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.path("deep/secrets");
        FileStore::open(&path).unwrap();
        FileStore::open(&path).unwrap();
        let directory = super::look_at(&super::wide(&path)).unwrap();
        let owner = security::owner(std::os::windows::io::AsHandle::as_handle(&directory), super::SE_FILE_OBJECT);
        let me = security::current_user().unwrap();
        assert!([SYSTEM, ADMINISTRATORS, &me].contains(&owner.unwrap().as_str()));
        fs::write(scratch.path("file"), "").unwrap();
        assert!(matches!(FileStore::open(&scratch.path("file")), Err(SecretError::Io { action: "use", .. })));
    }
}
