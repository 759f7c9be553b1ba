//! The adapter's MTU. It is not the driver's but TCP/IP's, which attaches to a new adapter after the adapter is there, each
//! version by itself, and then takes the largest packet that the driver does: 65,535 bytes.

use crate::{
    netcfg::{change_interface, watch},
    win32::{is, registry},
};
use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};
use windows_sys::Win32::Foundation::ERROR_NOT_FOUND;

/// How long a version may take. It is milliseconds on an idle machine; a boot keeps it longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// IPv6 has not attached yet: its MTU is set when it does, for as long as this lives.
#[derive(Debug)]
pub(super) struct Awaited(#[expect(dead_code, reason = "its life is what counts")] Arc<()>);

/// Sets the largest packet of both versions. IPv4 must be there; IPv6 may be switched off, also for this adapter alone,
/// and may be switched on later.
pub(super) fn set(luid: u64, mtu: u32) -> io::Result<Option<Awaited>> {
    let set = move |v6| change_interface(luid, v6, |row| row.NlMtu = mtu);
    when_attached(PATIENCE, || set(false))?;
    let patience = if is_ipv6_off() { Duration::ZERO } else { PATIENCE };
    match when_attached(patience, || set(true)) {
        Err(error) if is(&error, ERROR_NOT_FOUND) => {}
        other => return other.map(|()| None),
    }
    tracing::debug!("the adapter has no IPv6");
    let here = Arc::new(());
    let awaited = Arc::downgrade(&here);
    watch(move || goes_on(&awaited, || set(true)))?;
    Ok(Some(Awaited(here)))
}

/// Whether IPv6 has still to be waited for; sets the MTU by `set`, if it can be.
fn goes_on(awaited: &Weak<()>, set: impl FnOnce() -> io::Result<()>) -> bool {
    if awaited.strong_count() == 0 {
        return false;
    }
    match set() {
        Ok(()) => tracing::info!("the adapter has IPv6 now"),
        Err(error) if is(&error, ERROR_NOT_FOUND) => return true,
        Err(error) => tracing::warn!(%error, "the adapter has IPv6 now, and the system's MTU for it"),
    }
    false
}

/// Calls `set` until the version is attached, for at most `patience`: the last answer.
fn when_attached(patience: Duration, mut set: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let end = Instant::now() + patience;
    loop {
        match set() {
            Err(error) if is(&error, ERROR_NOT_FOUND) && Instant::now() < end => thread::sleep(LOOK),
            outcome => return outcome,
        }
    }
}

/// Whether IPv6 is off on all interfaces but tunnels of its own kind: nobody waits for it then.
fn is_ipv6_off() -> bool {
    let off = registry::number("SYSTEM\\CurrentControlSet\\Services\\Tcpip6\\Parameters", "DisabledComponents");
    off.is_some_and(|components| components & 0x10 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn not_found() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(ERROR_NOT_FOUND.cast_signed()))
    }

    #[test]
    fn a_version_that_attaches_late_is_waited_for() {
        let mut looks = 0;
        let late = || {
            looks += 1;
            if looks < 4 { not_found() } else { Ok(()) }
        };
        when_attached(Duration::from_secs(60), late).unwrap();
        assert_eq!(looks, 4);
    }

    #[test]
    fn a_version_that_does_not_attach_is_told_and_so_is_every_other_error() {
        let start = Instant::now();
        let patience = Duration::from_millis(50);
        let error = when_attached(patience, not_found).unwrap_err();
        assert!(is(&error, ERROR_NOT_FOUND) && start.elapsed() >= patience);
        let mut looks = 0;
        let refused = || {
            looks += 1;
            Err(io::Error::from_raw_os_error(5))
        };
        assert_eq!(when_attached(Duration::from_secs(60), refused).unwrap_err().raw_os_error(), Some(5));
        assert!(when_attached(Duration::ZERO, not_found).is_err());
        assert_eq!(looks, 1);
    }

    #[test]
    fn a_version_is_awaited_until_it_is_there_or_the_adapter_goes() {
        let here = Arc::new(());
        let awaited = Arc::downgrade(&here);
        assert!(goes_on(&awaited, not_found));
        assert!(!goes_on(&awaited, || Ok(())), "it is there");
        assert!(!goes_on(&awaited, || Err(io::Error::from_raw_os_error(5))), "it is there, and will not have it");
        drop(here);
        assert!(!goes_on(&awaited, || unreachable!("the adapter is gone")));
    }
}
