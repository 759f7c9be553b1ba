//! `wintun.dll`: where it is looked for, what it must be, and its functions.
//!
//! Only the file beside our executable is ever loaded: a search would take one that anybody has put in a folder of the
//! search path. It must be for our processor and signed by its makers, and it stays open for reading, and so unchanged,
//! from the first look until it is loaded.

use super::{image, signature};
use crate::win32::wide;
use std::{
    env,
    fs::{File, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use windows_sys::Win32::{
    Foundation::ERROR_FILE_NOT_FOUND,
    Storage::FileSystem::FILE_SHARE_READ,
    System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW},
};
use wintun::Wintun;

/// Release builds are for users, whose library is signed.
#[cfg(all(feature = "stand-in", not(debug_assertions)))]
compile_error!(
    "feature `stand-in` lets an unsigned wintun.dll be loaded: it is for tests, and builds with debug assertions only"
);

/// Whether an unsigned library may be loaded: a stand-in for the driver, in tests.
const UNSIGNED: bool = cfg!(any(test, feature = "stand-in"));
/// The file's name.
const FILE: &str = "wintun.dll";
/// Where tests say that their stand-in is.
const STAND_IN: &str = "VESTIBULE_WINTUN_STAND_IN";
/// Who signs it.
pub(super) const SIGNER: &str = "WireGuard LLC";
/// The functions of version 0.14, the first with this set.
const FUNCTIONS: [&str; 14] = [
    "WintunCreateAdapter",
    "WintunOpenAdapter",
    "WintunCloseAdapter",
    "WintunDeleteDriver",
    "WintunGetAdapterLUID",
    "WintunGetRunningDriverVersion",
    "WintunSetLogger",
    "WintunStartSession",
    "WintunEndSession",
    "WintunGetReadWaitEvent",
    "WintunReceivePacket",
    "WintunReleaseReceivePacket",
    "WintunAllocateSendPacket",
    "WintunSendPacket",
];

/// Why `wintun.dll` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It is not there.
    #[error("no {path}: take wintun.dll 0.14.1 from https://www.wintun.net and put it beside the program")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("failed to read wintun.dll")]
    Unreadable(#[source] io::Error),
    /// It is no library.
    #[error("wintun.dll is no library: take it from https://www.wintun.net again")]
    NoLibrary,
    /// It is for another processor.
    #[error(
        "wintun.dll is for {got}, this program for {expected}: take the file from the archive's folder bin\\{expected}"
    )]
    Architecture {
        /// Ours.
        expected: &'static str,
        /// Its own.
        got: &'static str,
    },
    /// Nobody whom the system trusts has signed it.
    #[error("wintun.dll has no valid signature (0x{code:08x}): take it from https://www.wintun.net again")]
    Unsigned {
        /// `WinVerifyTrust`'s answer.
        code: u32,
    },
    /// Somebody else has signed it.
    #[error("wintun.dll is signed by {got:?}, not by {SIGNER:?}: take it from https://www.wintun.net again")]
    Signer {
        /// The signer.
        got: String,
    },
    /// A function is missing.
    #[error("wintun.dll has no function {function}: it is older than 0.14, take 0.14.1 from https://www.wintun.net")]
    Old {
        /// Which.
        function: &'static str,
    },
    /// The system does not load it.
    #[error("failed to load wintun.dll")]
    Load(#[source] io::Error),
}

/// The loaded library.
#[derive(Clone)]
pub(super) struct Library {
    functions: Wintun,
    stand_in: bool,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Library {{ stand_in: {} }}", self.stand_in)
    }
}

impl Library {
    /// Loads it, or gives the one that is loaded.
    pub(super) fn load() -> Result<Self, LibraryError> {
        static LOADED: Mutex<Option<Library>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = &*loaded {
            return Ok(library.clone());
        }
        let library = Self::load_from(&path()?, UNSIGNED)?;
        Ok(loaded.insert(library).clone())
    }

    pub(super) fn load_from(path: &Path, unsigned: bool) -> Result<Self, LibraryError> {
        let mut file = open(path)?;
        image::check(&mut file)?;
        match signature::check(path, &file) {
            Err(error) if unsigned => tracing::warn!(%error, "a build for tests goes on without it"),
            checked => checked?,
        }
        let library = Self::load_checked(path);
        drop(file);
        library
    }

    #[allow(unsafe_code, reason = "loads a library")]
    fn load_checked(path: &Path) -> Result<Self, LibraryError> {
        let name = wide(path);
        // SAFETY: the path ends with a zero. What the library runs when it is loaded is its makers', whose signature was
        // checked. By this flag what it needs itself comes from the system's folder alone. It is never unloaded.
        let module = unsafe { LoadLibraryExW(name.as_ptr(), std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        if module.is_null() {
            return Err(LibraryError::Load(io::Error::last_os_error()));
        }
        let has = |function: &str| {
            let function = format!("{function}\0");
            // SAFETY: the module is loaded, the name ends with a zero.
            unsafe { GetProcAddress(module, function.as_ptr()) }.is_some()
        };
        if let Some(function) = FUNCTIONS.into_iter().find(|function| !has(function)) {
            return Err(LibraryError::Old { function });
        }
        // SAFETY: the same file, which is loaded and has all functions of the interface; the checks above say whose.
        let functions = unsafe { wintun::load_from_path(path) }
            .map_err(|error| LibraryError::Load(io::Error::other(error.to_string())))?;
        Ok(Self { functions, stand_in: UNSIGNED && has("VestibuleFault") })
    }

    /// Its functions, as the crate `wintun` binds them.
    pub(super) fn functions(&self) -> &Wintun {
        &self.functions
    }

    /// Whether it is the stand-in of tests, whose adapters the system does not know.
    pub(super) fn is_stand_in(&self) -> bool {
        self.stand_in
    }

    /// The version of the driver that runs, if one does.
    #[allow(unsafe_code, reason = "one function without arguments")]
    pub(super) fn driver_version(&self) -> Option<(u32, u32)> {
        // SAFETY: it takes nothing and gives a number.
        let version = unsafe { self.functions.WintunGetRunningDriverVersion() };
        (version != 0).then_some((version >> 16, version & 0xffff))
    }
}

/// Where it must be: beside our executable; or, in a build for tests, where the environment says.
pub(super) fn path() -> Result<PathBuf, LibraryError> {
    if let Some(path) = env::var_os(STAND_IN).filter(|_| UNSIGNED) {
        return Ok(path.into());
    }
    let program = env::current_exe().map_err(LibraryError::Unreadable)?;
    Ok(program.with_file_name(FILE))
}

/// Opens it so that nobody can write to it, or replace it, meanwhile.
fn open(path: &Path) -> Result<File, LibraryError> {
    let opened = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code.cast_unsigned() == ERROR_FILE_NOT_FOUND => LibraryError::Missing { path: path.to_owned() },
        _ if error.kind() == io::ErrorKind::NotFound => LibraryError::Missing { path: path.to_owned() },
        _ => LibraryError::Unreadable(error),
    })
}
