//! Windows: a program of the user's session, started with their token. The service itself has no desktop.
#![allow(unsafe_code, reason = "starting programs for another user has no safe wrapper")]

use super::DesktopError;
use crate::{
    session::windows::{session_of, user_token},
    win32::{check, is, own, security, wide},
};
use std::{
    ffi::{OsString, c_void},
    io,
    os::windows::{
        ffi::OsStringExt,
        io::{AsRawHandle, OwnedHandle},
        process::ExitStatusExt,
    },
    path::PathBuf,
    process::ExitStatus,
    ptr::{null, null_mut},
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{ERROR_ACCESS_DENIED, ERROR_PRIVILEGE_NOT_HELD, WAIT_OBJECT_0},
    System::{
        Environment::{CreateEnvironmentBlock, DestroyEnvironmentBlock},
        RemoteDesktop::WTSSendMessageW,
        SystemInformation::GetSystemDirectoryW,
        Threading::{
            CREATE_NO_WINDOW, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW, CreateProcessW, GetExitCodeProcess,
            PROCESS_INFORMATION, STARTUPINFOW, WaitForSingleObject,
        },
    },
    UI::WindowsAndMessaging::{MB_ICONINFORMATION, MB_OK, MB_SETFOREGROUND},
};

/// Hands an address to whatever the user has chosen for its kind, and ends.
const OPENER: &str = "rundll32.exe";
/// The desktop of whoever is at the screen.
const DESKTOP: &str = r"winsta0\default";
/// How long the opener may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The opener at work.
#[derive(Debug)]
pub(super) struct Opener(OwnedHandle);

impl Opener {
    pub(super) fn wait(self) -> io::Result<ExitStatus> {
        let mut code = 0;
        // SAFETY: the process's handle is open as long as `self` lives; the second call writes to `code` only.
        unsafe {
            if WaitForSingleObject(self.0.as_raw_handle(), PATIENCE.as_millis() as u32) != WAIT_OBJECT_0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            check(GetExitCodeProcess(self.0.as_raw_handle(), &raw mut code))?;
        }
        Ok(ExitStatus::from_raw(code))
    }
}

pub(super) fn open_browser(user: &str, url: &str) -> Result<Opener, DesktopError> {
    let session = shown(user)?;
    let failed = |cause| DesktopError::Start { program: OPENER, cause };
    let directory = system_directory().map_err(failed)?;
    let program = directory.join(OPENER);
    // The address has neither spaces nor quotes: `open_browser` of the module has seen to it.
    let line = format!("\"{}\" url.dll,FileProtocolHandler {url}", program.display());
    let token = match user_token(session) {
        Ok(token) => Some(token),
        // Whoever runs the daemon in a terminal may open their own browser.
        Err(_) if security::current_user().is_ok_and(|me| me == user) => None,
        Err(error) => return Err(refused(user, error)),
    };
    start(token.as_ref(), &wide(&program), wide(line), &wide(&directory)).map(Opener).map_err(failed)
}

pub(super) fn show_message(user: &str, title: &str, text: &str) -> Result<(), DesktopError> {
    let session = shown(user)?;
    let (title, text, mut answer) = (wide(title), wide(text), 0);
    // Lengths are in bytes, the zero at the end not counted.
    let bytes = |text: &[u16]| (size_of_val(text) - size_of::<u16>()) as u32;
    // SAFETY: both texts have the lengths that are told and outlive the call, which does not wait for an answer.
    let sent = check(unsafe {
        WTSSendMessageW(
            null_mut(),
            session,
            title.as_ptr(),
            bytes(&title),
            text.as_ptr(),
            bytes(&text),
            MB_OK | MB_ICONINFORMATION | MB_SETFOREGROUND,
            0,
            &raw mut answer,
            0,
        )
    });
    sent.map_err(|error| refused(user, error))
}

/// The session in which the user sees something now.
fn shown(user: &str) -> Result<u32, DesktopError> {
    let found = session_of(user).map_err(|cause| DesktopError::Start { program: "the terminal services", cause })?;
    found.ok_or_else(|| DesktopError::NoDesktop { user: user.to_owned() })
}

fn refused(user: &str, error: io::Error) -> DesktopError {
    if is(&error, ERROR_PRIVILEGE_NOT_HELD) || is(&error, ERROR_ACCESS_DENIED) {
        DesktopError::NotAllowed { user: user.to_owned() }
    } else {
        DesktopError::Start { program: OPENER, cause: error }
    }
}

fn system_directory() -> io::Result<PathBuf> {
    let mut units = [0_u16; 512];
    // SAFETY: the buffer has the length that the call is told.
    let length = unsafe { GetSystemDirectoryW(units.as_mut_ptr(), units.len() as u32) } as usize;
    match units.get(..length) {
        Some(units) if length > 0 => Ok(OsString::from_wide(units).into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts a program, as the user of `token` and with their environment, or as ourselves.
fn start(
    token: Option<&OwnedHandle>,
    program: &[u16],
    mut line: Vec<u16>,
    directory: &[u16],
) -> io::Result<OwnedHandle> {
    let mut desktop = wide(DESKTOP);
    let facts = STARTUPINFOW {
        cb: size_of::<STARTUPINFOW>() as u32,
        lpDesktop: desktop.as_mut_ptr(),
        ..STARTUPINFOW::default()
    };
    let mut made = PROCESS_INFORMATION::default();
    let flags = CREATE_UNICODE_ENVIRONMENT | CREATE_NO_WINDOW;
    let started = match token {
        Some(token) => {
            let environment = Environment::of(token)?;
            // SAFETY: the token is open; all texts end with a zero, the line may be written to, the environment is one
            // for Unicode, and all outlive the call, which fills `made`.
            check(unsafe {
                CreateProcessAsUserW(
                    token.as_raw_handle(),
                    program.as_ptr(),
                    line.as_mut_ptr(),
                    null(),
                    null(),
                    0,
                    flags,
                    environment.0,
                    directory.as_ptr(),
                    &raw const facts,
                    &raw mut made,
                )
            })
        }
        // SAFETY: as above; without an environment the program gets ours.
        None => check(unsafe {
            CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                null(),
                null(),
                0,
                flags,
                null(),
                directory.as_ptr(),
                &raw const facts,
                &raw mut made,
            )
        }),
    };
    started?;
    // SAFETY: the call gave both handles to us alone.
    unsafe {
        drop(own(made.hThread));
        own(made.hProcess)
    }
}

/// A user's environment variables.
struct Environment(*mut c_void);

impl Environment {
    fn of(token: &OwnedHandle) -> io::Result<Self> {
        let mut block = null_mut();
        // SAFETY: the token is open; the call writes one pointer to `block`, which is ours to destroy.
        check(unsafe { CreateEnvironmentBlock(&raw mut block, token.as_raw_handle(), 0) })?;
        Ok(Self(block))
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: this owns the block.
        unsafe { DestroyEnvironmentBlock(self.0) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_program_is_started_as_oneself_and_its_end_is_seen() {
        let directory = system_directory().unwrap();
        let program = directory.join("cmd.exe");
        let line = |code: u32| wide(format!("\"{}\" /c exit {code}", program.display()));
        for code in [0, 7] {
            let started = start(None, &wide(&program), line(code), &wide(&directory)).unwrap();
            assert_eq!(Opener(started).wait().unwrap().code(), Some(code.cast_signed()));
        }
        assert!(start(None, &wide(directory.join("no-such.exe")), line(0), &wide(&directory)).is_err());
    }

    #[test]
    fn who_is_not_there_gets_no_browser_and_no_message() {
        let nobody = "S-1-5-21-1-1-1-1";
        assert!(matches!(open_browser(nobody, "https://gw/"), Err(DesktopError::NoDesktop { .. })));
        assert!(matches!(show_message(nobody, "title", "text"), Err(DesktopError::NoDesktop { .. })));
    }
}
