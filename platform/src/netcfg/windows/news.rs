//! The system's news of addresses, interfaces and routes, and who wants to hear of them.
#![allow(unsafe_code, reason = "callbacks of IP Helper")]

use super::sys;
use std::{
    ffi::c_void,
    io,
    ptr::null,
    ptr::null_mut,
    sync::{
        Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use windows_sys::Win32::{
    NetworkManagement::IpHelper::{
        MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW,
        NotifyIpInterfaceChange, NotifyRouteChange2, NotifyUnicastIpAddressChange,
    },
    Networking::WinSock::AF_UNSPEC,
};

/// A change of network is several messages: they are waited for so long.
const TOGETHER: Duration = Duration::from_millis(50);
/// How often it is looked although nothing was told: a sleep of the machine may swallow news.
const LOOK: Duration = Duration::from_secs(15);

/// How often the network around our tunnels has changed since the process started. Read once per batch by sockets.
static CHANGES: AtomicU64 = AtomicU64::new(0);
/// How often the machine has woken up since the process started.
static WAKES: AtomicU64 = AtomicU64::new(0);
/// How often something was told, our own tunnels' changes as well.
static TOLD: AtomicU64 = AtomicU64::new(0);
static WAITING: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
static LISTENING: OnceLock<()> = OnceLock::new();

/// How often the network has changed, but for what our own tunnels are: no packet that carries one leaves by them.
pub(crate) fn changes() -> u64 {
    told();
    CHANGES.load(Ordering::Relaxed)
}

/// How often something was told.
fn told() -> u64 {
    LISTENING.get_or_init(|| {
        if let Err(error) = listen() {
            tracing::warn!(%error, "changes of the network are not told by the system: it is looked every {LOOK:?}");
        }
    });
    TOLD.load(Ordering::Relaxed)
}

/// How often the machine has woken up, as far as the service manager has told.
pub(crate) fn wakes() -> u64 {
    WAKES.load(Ordering::Relaxed)
}

/// The machine has woken up, maybe elsewhere.
pub(crate) fn woke() {
    WAKES.fetch_add(1, Ordering::Relaxed);
    tell();
}

/// Something has changed, for sockets, too.
pub(super) fn tell() {
    CHANGES.fetch_add(1, Ordering::Relaxed);
    tell_watches();
}

/// Something of this interface has changed; `None` when nobody says of which.
fn tell_of(interface: Option<u64>, tunnels: &[u64]) {
    if interface.is_some_and(|luid| tunnels.contains(&luid)) { tell_watches() } else { tell() }
}

/// Something has changed that whoever keeps the tunnels' routes in order must see.
fn tell_watches() {
    TOLD.fetch_add(1, Ordering::Relaxed);
    let _lock = WAITING.0.lock().unwrap_or_else(PoisonError::into_inner);
    WAITING.1.notify_all();
}

pub(in crate::netcfg) fn watch(mut changed: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let mut seen = told();
    let work = move || {
        loop {
            let lock = WAITING.0.lock().unwrap_or_else(PoisonError::into_inner);
            // An end by time is a look, too.
            drop(WAITING.1.wait_timeout_while(lock, LOOK, |()| told() == seen));
            thread::sleep(TOGETHER);
            seen = told();
            if !changed() {
                return;
            }
        }
    };
    thread::Builder::new().name("network watch".to_owned()).spawn(work).map(drop)
}

/// Registers with the system, for as long as the process lives: the functions need no state but this module's.
fn listen() -> io::Result<()> {
    let mut handle = null_mut();
    // SAFETY: the functions called back are of the right type and live for ever, no context is given, and the handle,
    // which is written, is never given back. The three calls are independent.
    let registered = unsafe {
        [
            NotifyUnicastIpAddressChange(AF_UNSPEC, Some(address_changed), null(), false, &mut handle),
            NotifyIpInterfaceChange(AF_UNSPEC, Some(interface_changed), null(), false, &mut handle),
            NotifyRouteChange2(AF_UNSPEC, Some(route_changed), null(), false, &mut handle),
        ]
    };
    registered.into_iter().map(sys::succeeded).fold(Ok(()), io::Result::and)
}

unsafe extern "system" fn address_changed(
    _: *const c_void,
    row: *const MIB_UNICASTIPADDRESS_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: a row that is not null is whole for the time of the call; of it one plain number is read.
    let interface = (!row.is_null()).then(|| unsafe { (*row).InterfaceLuid.Value });
    tell_of(interface, &super::tunnels());
}

unsafe extern "system" fn interface_changed(
    _: *const c_void,
    row: *const MIB_IPINTERFACE_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as above.
    let interface = (!row.is_null()).then(|| unsafe { (*row).InterfaceLuid.Value });
    tell_of(interface, &super::tunnels());
}

unsafe extern "system" fn route_changed(_: *const c_void, row: *const MIB_IPFORWARD_ROW2, _: MIB_NOTIFICATION_TYPE) {
    // SAFETY: as above.
    let interface = (!row.is_null()).then(|| unsafe { (*row).InterfaceLuid.Value });
    tell_of(interface, &super::tunnels());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_tunnel_of_ours_is_concerns_watches_and_no_socket() {
        const OURS: u64 = 0xfeed;
        // Other tests and the system tell things of their own meanwhile: most rounds they do not.
        let quiet = (0..1000).any(|_| {
            let before = (CHANGES.load(Ordering::SeqCst), TOLD.load(Ordering::SeqCst));
            tell_of(Some(OURS), &[7, OURS]);
            let after = (CHANGES.load(Ordering::SeqCst), TOLD.load(Ordering::SeqCst));
            assert!(after.1 > before.1);
            after.0 == before.0
        });
        assert!(quiet);
        for told in [Some(7), None] {
            let before = CHANGES.load(Ordering::SeqCst);
            tell_of(told, &[OURS]);
            assert!(CHANGES.load(Ordering::SeqCst) > before, "{told:?} is no tunnel of ours");
        }
    }

    #[test]
    fn who_watches_is_told_until_they_have_enough() {
        let (told, heard) = std::sync::mpsc::channel();
        let mut left = 2;
        watch(move || {
            left -= 1;
            told.send(left).unwrap();
            left > 0
        })
        .unwrap();
        tell();
        assert_eq!(heard.recv_timeout(Duration::from_secs(60)).unwrap(), 1);
        tell();
        assert_eq!(heard.recv_timeout(Duration::from_secs(60)).unwrap(), 0);
        assert!(heard.recv_timeout(Duration::from_secs(60)).is_err(), "the thread has ended and dropped its end");
    }
}
