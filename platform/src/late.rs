//! Functions of the system that are looked up by name: older systems (and Wine) lack some, and a program that names such
//! a function at link time does not start there.
#![allow(unsafe_code, reason = "the loader's functions")]

use std::{ffi::CStr, ptr::null_mut};
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExA};

/// Some function; who calls it gives it its own type.
pub(crate) type Procedure = unsafe extern "system" fn() -> isize;

/// The function `name` of one of the system's own libraries, which stays loaded.
pub(crate) fn procedure(library: &CStr, name: &CStr) -> Option<Procedure> {
    // SAFETY: both names end with a zero; the library is looked for in the system's directory alone, and is never given
    // back, so that the function stays.
    unsafe {
        let library = LoadLibraryExA(library.as_ptr().cast(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32);
        if library.is_null() { None } else { GetProcAddress(library, name.as_ptr().cast()) }
    }
}

/// Whether this is Wine, some of whose functions do something else than Windows' do.
pub(crate) fn is_wine() -> bool {
    procedure(c"ntdll.dll", c"wine_get_version").is_some()
}

/// Declares functions of a library by the signatures that the system's headers give them; one that is not there answers
/// with `ERROR_PROC_NOT_FOUND`. Arguments are references or values.
macro_rules! late {
    ($library:literal: $($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        pub(super) fn $name($($argument: $type),*) -> u32 {
            static FOUND: std::sync::OnceLock<Option<$crate::late::Procedure>> = std::sync::OnceLock::new();
            let name = concat!(stringify!($name), "\0");
            let found = FOUND.get_or_init(|| {
                $crate::late::procedure($library, std::ffi::CStr::from_bytes_with_nul(name.as_bytes()).ok()?)
            });
            let Some(found) = found else { return windows_sys::Win32::Foundation::ERROR_PROC_NOT_FOUND };
            // SAFETY: the system's headers give the function of this name this signature; a reference is passed as a
            // pointer is.
            let function: unsafe extern "system" fn($($type),*) -> u32 = unsafe { std::mem::transmute(*found) };
            // SAFETY: references point to whole values that outlive the call.
            unsafe { function($($argument),*) }
        }
    )*};
}
pub(crate) use late;
