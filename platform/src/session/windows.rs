//! Sessions of the terminal services. The service manager's notifications come through [`tell`]; in a process that is no
//! service there are none, and the sessions are looked at often.
#![allow(unsafe_code, reason = "the terminal services' own functions")]

use super::{
    SessionError, SessionEvent, SessionSource, Watch,
    wts::{Board, Facts, Told},
};
use crate::{
    clock,
    win32::{self, check, own, security, wide},
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::{
    collections::HashMap,
    ffi::c_void,
    io,
    ptr::{null, null_mut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{LookupAccountNameW, SECURITY_MAX_SID_SIZE},
    System::RemoteDesktop::{
        WTS_INFO_CLASS, WTS_SESSION_INFOW, WTSActive, WTSClientProtocolType, WTSDomainName, WTSEnumerateSessionsW,
        WTSFreeMemory, WTSINFOEXW, WTSQuerySessionInformationW, WTSQueryUserToken, WTSSessionInfoEx, WTSUserName,
    },
};

/// Looked at anyway, for what was not told.
const GLANCE: Duration = Duration::from_secs(30);
/// The same in a process that is told nothing.
const CONSOLE_GLANCE: Duration = Duration::from_secs(1);
/// `WTS_CURRENT_SERVER_HANDLE`.
const THIS_MACHINE: HANDLE = null_mut();
/// `WTS_PROTOCOL_TYPE_CONSOLE`.
const CONSOLE: u16 = 0;
/// `WTS_SESSIONSTATE_LOCK`.
const LOCKED: i32 = 0;

/// Where notifications go while somebody follows them.
static FOLLOWER: Mutex<Option<Sender<Told>>> = Mutex::new(None);

/// Passes a notification of the service manager on; it returns at once.
pub(crate) fn tell(told: Told) {
    if let Some(follower) = &*lock(&FOLLOWER) {
        // A follower that has ended is about to take itself away.
        let _ = follower.send(told);
    }
}

/// Sessions told by the terminal services, until this is dropped. A process has one at a time.
#[derive(Debug)]
pub struct TerminalServices {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    board: Board,
    watchers: Vec<Sender<SessionEvent>>,
}

impl TerminalServices {
    /// Whether this system has them: every Windows does.
    #[must_use]
    pub fn present() -> bool {
        true
    }

    /// Follows them.
    ///
    /// # Errors
    /// They do not answer.
    pub fn connect() -> Result<Self, SessionError> {
        let failed = |cause| SessionError::TerminalServices { cause };
        let (sender, told) = unbounded();
        // Before the first look, so that nothing falls between the two.
        *lock(&FOLLOWER) = Some(sender);
        let mut users = Users::default();
        let facts = look(&mut users).map_err(failed)?;
        let shared = Arc::<Mutex<Shared>>::default();
        lock(&shared).board.begin(facts);
        let kept = shared.clone();
        let glance = if crate::service::is_managed() { GLANCE } else { CONSOLE_GLANCE };
        let thread = thread::Builder::new()
            .name("vestibule-sessions".to_owned())
            .spawn(move || follow(&told, &kept, &mut users, glance))
            .map_err(failed)?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl SessionSource for TerminalServices {
    fn watch(&self) -> Result<Watch, SessionError> {
        let boot_id = clock::boot_id().map_err(|cause| SessionError::TerminalServices { cause })?;
        let mut shared = lock(&self.shared);
        let (sender, events) = unbounded();
        shared.watchers.push(sender);
        Ok(Watch { boot_id, sessions: shared.board.sessions().to_vec(), events })
    }
}

impl Drop for TerminalServices {
    fn drop(&mut self) {
        // Ends the thread, whose channel has no other sender.
        *lock(&FOLLOWER) = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(told: &Receiver<Told>, shared: &Mutex<Shared>, users: &mut Users, glance: Duration) {
    loop {
        let told = match told.recv_timeout(glance) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => Told::Look,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let facts = look(users).inspect_err(|error| tracing::warn!(%error, "Windows does not show who is logged on"));
        let mut shared = lock(shared);
        for event in shared.board.observe(told, facts.ok()) {
            // Whoever has dropped their end watches no longer.
            shared.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
        }
    }
}

/// SIDs by session and name: a session's user keeps the first one found, whatever can be asked later.
type Users = HashMap<(u32, String), String>;

/// All sessions there are.
fn look(users: &mut Users) -> io::Result<Vec<Facts>> {
    let mut found: *mut WTS_SESSION_INFOW = null_mut();
    let mut count = 0;
    // SAFETY: the call writes a pointer and a number to the two variables; the memory is ours to free.
    check(unsafe { WTSEnumerateSessionsW(THIS_MACHINE, 0, 1, &raw mut found, &raw mut count) })?;
    let memory = Answer(found.cast());
    let sessions = if found.is_null() {
        &[]
    } else {
        // SAFETY: that many structures lie there, which live until `memory` is dropped.
        unsafe { std::slice::from_raw_parts(found, count as usize) }
    };
    let facts: Vec<Facts> =
        sessions.iter().map(|session| facts(session.SessionId, session.State == WTSActive, users)).collect();
    drop(memory);
    users.retain(|(id, _), _| facts.iter().any(|now| now.id == *id));
    Ok(facts)
}

fn facts(id: u32, active: bool, users: &mut Users) -> Facts {
    let name = ask_text(id, WTSUserName).filter(|name| !name.is_empty());
    let user = name.map(|name| {
        let domain = ask_text(id, WTSDomainName).unwrap_or_default();
        let full = if domain.is_empty() { name } else { format!(r"{domain}\{name}") };
        users.entry((id, full.clone())).or_insert_with(|| sid(id, &full).unwrap_or(full)).clone()
    });
    let protocol = ask(id, WTSClientProtocolType, |bytes, length| {
        // SAFETY: the answer has at least the two bytes of this number, as checked.
        (length >= 2).then(|| unsafe { bytes.cast::<u16>().read_unaligned() })
    });
    let more = ask(id, WTSSessionInfoEx, |bytes, length| {
        // SAFETY: the answer has at least the structure's size, as checked, and all its bits make sense.
        (length >= size_of::<WTSINFOEXW>()).then(|| unsafe { bytes.cast::<WTSINFOEXW>().read_unaligned() })
    });
    let (mut locked, mut since) = (false, 0);
    if let Some(more) = more.filter(|more| more.Level == 1) {
        // SAFETY: the level says that this is the member in use.
        let more = unsafe { more.Data.WTSInfoExLevel1 };
        locked = more.SessionFlags == LOCKED;
        since = more.LogonTime.max(more.ConnectTime).max(0).cast_unsigned();
    }
    Facts { id, user, active, remote: protocol.is_some_and(|protocol| protocol != CONSOLE), locked, since }
}

/// Memory that the terminal services have allocated for us.
struct Answer(*mut c_void);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: this owns the memory, or it is null, which is allowed.
        unsafe { WTSFreeMemory(self.0) };
    }
}

/// One fact of a session, read by `read` from the answer and its length.
fn ask<T>(id: u32, what: WTS_INFO_CLASS, read: impl FnOnce(*const u8, usize) -> Option<T>) -> Option<T> {
    let (mut answer, mut length) = (null_mut(), 0);
    // SAFETY: the call writes a pointer and a length to the two variables; the memory is ours to free.
    check(unsafe { WTSQuerySessionInformationW(THIS_MACHINE, id, what, &raw mut answer, &raw mut length) }).ok()?;
    let answer = Answer(answer.cast());
    if answer.0.is_null() { None } else { read(answer.0.cast(), length as usize) }
}

fn ask_text(id: u32, what: WTS_INFO_CLASS) -> Option<String> {
    // SAFETY: answers of these kinds are text that ends with a zero.
    ask(id, what, |bytes, _| Some(unsafe { win32::text(bytes.cast()) }))
}

/// The SID of a session's user: by their token, which only the system may ask for, else by their name.
fn sid(id: u32, name: &str) -> Option<String> {
    if let Ok(token) = user_token(id) {
        return security::user_of(&token).ok();
    }
    let name = wide(name);
    let mut sid = [0_u64; (SECURITY_MAX_SID_SIZE as usize).div_ceil(8)];
    let (mut length, mut domain, mut units, mut kind) = (size_of_val(&sid) as u32, [0_u16; 256], 256, 0);
    // SAFETY: the name ends with a zero; the buffers have the lengths that the call is told.
    check(unsafe {
        LookupAccountNameW(
            null(),
            name.as_ptr(),
            sid.as_mut_ptr().cast(),
            &raw mut length,
            domain.as_mut_ptr(),
            &raw mut units,
            &raw mut kind,
        )
    })
    .ok()?;
    // SAFETY: the call has filled a SID in.
    unsafe { security::sid_text(sid.as_mut_ptr().cast()) }.ok()
}

/// The token of a session's user. Only the system may have it.
pub(crate) fn user_token(session: u32) -> io::Result<std::os::windows::io::OwnedHandle> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the call writes one handle to `token`, which is ours alone.
    check(unsafe { WTSQueryUserToken(session, &raw mut token) })?;
    // SAFETY: as above.
    unsafe { own(token) }
}

/// The session of a user that is shown now.
pub(crate) fn session_of(user: &str) -> io::Result<Option<u32>> {
    let facts = look(&mut Users::default())?;
    Ok(facts.into_iter().find(|now| now.active && now.user.as_deref() == Some(user)).map(|now| now.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::session::wts::Change;

    #[test]
    fn this_machine_shows_its_sessions_and_passes_on_what_it_is_told() {
        let source = TerminalServices::connect().unwrap();
        let watch = source.watch().unwrap();
        assert!(!watch.boot_id.is_empty());
        tell(Told::Suspend);
        tell(Told::Session(Change::Lock, u32::MAX));
        tell(Told::Resume);
        let patience = Duration::from_secs(30);
        assert_eq!(watch.events.recv_timeout(patience).unwrap(), SessionEvent::Suspend);
        assert_eq!(watch.events.recv_timeout(patience).unwrap(), SessionEvent::Resume, "nobody's lock is no event");
        for session in &watch.sessions {
            assert!(!session.user.is_empty() && session.id.parse::<u32>().is_ok(), "{session:?}");
        }
        drop(source);
        assert!(watch.events.recv_timeout(patience).is_err(), "events end with their source");
    }
}
