//! Waiting with `WaitForMultipleObjects`: the bell, the adapter's event, the socket's, and a timer for short timeouts.
//!
//! The system's own timeouts end with its clock tick, every 15.6 ms unless someone asked for more, and it counts ticks: up
//! to one early or late. A timer of high resolution (Windows 10 1803) ends within half a millisecond; where there is none,
//! short timeouts are the system's as well. Who is back too early finds nothing due and waits for the rest.
#![allow(unsafe_code, reason = "event and timer objects")]

use super::{Interest, Ready};
use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr::null,
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::Threading::{
        CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateEventW, CreateWaitableTimerExW, INFINITE, SetEvent,
        SetWaitableTimer, TIMER_ALL_ACCESS, WaitForMultipleObjects,
    },
};

/// Timeouts from here on are left to the system: a tick more or less is no matter, and setting the timer costs a call.
const LONG: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Bell {
    /// Resets itself when a wait has seen it.
    event: OwnedHandle,
    timer: Option<OwnedHandle>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no security attributes and no name, so both pointers may be null; not manual, not set.
        let event = unsafe { CreateEventW(null(), 0, 0, null()) };
        // SAFETY: as above; without the manual-reset flag it resets itself.
        let timer =
            unsafe { CreateWaitableTimerExW(null(), null(), CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS) };
        Ok(Self { event: owned(event)?, timer: owned(timer).ok() })
    }

    pub(super) fn ring(&self) {
        // SAFETY: the event is open as long as `self` is. It cannot fail then.
        unsafe { SetEvent(self.event.as_raw_handle()) };
    }

    pub(super) fn wait(&self, interest: &Interest<'_>, timeout: Option<Duration>) -> io::Result<Ready> {
        let timer =
            timeout.filter(|timeout| !timeout.is_zero() && *timeout < LONG).and_then(|timeout| self.set(timeout));
        let (mut handles, mut roles) = ([self.event.as_raw_handle(); 4], [Role::Bell; 4]);
        let mut count = 1;
        for (handle, role) in [
            (interest.adapter.map(|handle| handle.as_raw_handle()), Role::Adapter),
            (interest.socket.map(|handle| handle.as_raw_handle()), Role::Socket),
            (timer, Role::Timer),
        ] {
            if let Some(handle) = handle {
                (handles[count], roles[count]) = (handle, role);
                count += 1;
            }
        }
        let mut limit = if timer.is_some() { INFINITE } else { timeout.map_or(INFINITE, milliseconds) };
        let (mut ready, mut from) = (Ready::default(), 0);
        // One wait tells of one object, and resets no other: the objects behind it are asked for in turn.
        while from < count {
            let Some(found) = wait_any(&handles[from..count], limit)? else { break };
            match roles[from + found] {
                Role::Bell => ready.bell = true,
                Role::Adapter => ready.adapter = true,
                // One event for input and room: the socket tells by trying.
                Role::Socket => (ready.socket, ready.writable) = (true, interest.writable),
                Role::Timer => {}
            }
            from += found + 1;
            limit = 0;
        }
        Ok(ready)
    }

    /// The timer, which ends after `timeout`, or `None` where there is none.
    fn set(&self, timeout: Duration) -> Option<HANDLE> {
        let timer = self.timer.as_ref()?.as_raw_handle();
        // Negative: from now on, in units of 100 ns.
        let due = -i64::try_from(timeout.as_nanos().div_ceil(100)).ok()?;
        // SAFETY: the timer is open as long as `self` is; `due` outlives the call; no function is called at its end.
        let set = unsafe { SetWaitableTimer(timer, &raw const due, 0, None, null(), 0) };
        (set != 0).then_some(timer)
    }
}

#[derive(Clone, Copy)]
enum Role {
    Bell,
    Adapter,
    Socket,
    Timer,
}

fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call that made it succeeded, and nobody else closes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Rounded up: a wait that ends early would come back at once, and often.
fn milliseconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).min(INFINITE - 1)
}

/// Which of `handles` is signalled, the first of them when there are several; `None` after `limit` milliseconds.
fn wait_any(handles: &[HANDLE], limit: u32) -> io::Result<Option<usize>> {
    // SAFETY: the callers' borrows keep the handles open; there are 1 to 4, and the array outlives the call.
    match unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, limit) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        signalled => Ok(Some((signalled - WAIT_OBJECT_0) as usize).filter(|index| *index < handles.len())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::Bell as Shared, *};
    use std::{os::windows::io::AsHandle, time::Instant};

    fn event() -> OwnedHandle {
        // SAFETY: as in `Bell::new`.
        owned(unsafe { CreateEventW(null(), 0, 0, null()) }).unwrap()
    }

    fn signal(event: &OwnedHandle) {
        // SAFETY: the event is open.
        assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
    }

    #[test]
    fn all_that_is_signalled_is_told_at_once_and_only_once() {
        let (bell, adapter, socket) = (Shared::new().unwrap(), event(), event());
        let interest = Interest {
            adapter: Some(adapter.as_handle()),
            socket: Some(socket.as_handle()),
            readable: true,
            writable: true,
        };
        let look = || super::super::wait(&bell, &interest, Some(Duration::ZERO)).unwrap();
        assert_eq!(look(), Ready::default());
        signal(&socket);
        assert_eq!(look(), Ready { socket: true, writable: true, ..Ready::default() });
        signal(&adapter);
        signal(&socket);
        bell.ring();
        assert_eq!(look(), Ready { adapter: true, socket: true, writable: true, bell: true });
        assert_eq!(look(), Ready::default());
    }

    #[test]
    fn an_end_that_is_not_asked_for_keeps_its_signal() {
        let (bell, adapter) = (Shared::new().unwrap(), event());
        signal(&adapter);
        let soon = Some(Duration::from_millis(1));
        assert_eq!(super::super::wait(&bell, &Interest::default(), soon).unwrap(), Ready::default());
        let interest = Interest { adapter: Some(adapter.as_handle()), ..Interest::default() };
        assert!(super::super::wait(&bell, &interest, None).unwrap().adapter);
    }

    #[test]
    fn timers_never_end_early_and_the_systems_timeouts_by_a_tick_at_most() {
        let tick = Duration::from_millis(16);
        let bell = Shared::new().unwrap();
        for (timeout, early) in
            [(Duration::from_micros(300), Duration::ZERO), (Duration::from_millis(3), Duration::ZERO), (LONG, tick)]
        {
            let start = Instant::now();
            super::super::wait(&bell, &Interest::default(), Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout - early, "{timeout:?}");
        }
    }

    #[test]
    fn milliseconds_are_rounded_up_and_never_mean_for_ever() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::MAX), INFINITE - 1);
    }
}
