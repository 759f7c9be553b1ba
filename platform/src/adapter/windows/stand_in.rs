//! The host behind an adapter of the stand-in `wintun.dll`, and its driver's faults: for tests, here and elsewhere.
//!
//! Only in builds with the feature `stand-in`, which release builds refuse. The functions are those of
//! `tests/wintun/src/host.rs`.
#![allow(unsafe_code, reason = "the functions of the stand-in")]

use super::interface::number;
use crate::win32::wide;
use std::{mem, time::Duration};
use windows_sys::{
    Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress},
    core::GUID,
};

/// Longest packet.
const LONGEST: usize = 0xffff;

#[repr(C)]
struct Packet {
    bytes: *const u8,
    len: usize,
}

type Send = unsafe extern "system" fn(*const u16, *const Packet, usize) -> u32;
type Take = unsafe extern "system" fn(*const u16, *mut u8, u32) -> u32;
type Inject = unsafe extern "system" fn(*const u16, u32, u32) -> i32;
type Count = unsafe extern "system" fn(*const u16, *mut [u64; 10]) -> i32;
type Ask = unsafe extern "system" fn(*const u16) -> i32;
type Guid = unsafe extern "system" fn(u64, *mut GUID) -> i32;

/// Why the host's chain of packets did not reach the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The ring had no room for all of it.
    Full,
    /// There was no session.
    Ended,
    /// There is no such adapter.
    Gone,
}

/// What became of packets, and of calls, since the adapter was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions started.
    pub sessions: u64,
    /// Packets that the host sent and the ring took.
    pub sent: u64,
    /// Packets that the host sent and the driver dropped with their chain: the ring was full.
    pub dropped_full: u64,
    /// Packets that the host sent and the driver dropped: there was no session.
    pub dropped_ended: u64,
    /// Packets the adapter read.
    pub read: u64,
    /// Packets the host was handed.
    pub indicated: u64,
    /// Packets that the driver threw away: not IP.
    pub discarded: u64,
    /// Packets the adapter wrote.
    pub written: u64,
    /// Times the adapter found the ring full.
    pub full: u64,
    /// Wake-ups that the fault has swallowed.
    pub missed: u64,
}

/// The host behind one adapter.
#[derive(Clone, Debug)]
pub struct Host {
    name: Vec<u16>,
    send: Send,
    take: Take,
    inject: Inject,
    count: Count,
    sleeps: Ask,
}

/// A function of the stand-in, once it is loaded. It never goes.
fn function<F: Copy>(name: &str) -> Option<F> {
    let (module, name) = (wide("wintun.dll"), format!("{name}\0"));
    // SAFETY: both names end with a zero.
    let found = unsafe {
        let module = GetModuleHandleW(module.as_ptr());
        (!module.is_null()).then(|| GetProcAddress(module, name.as_ptr()))?
    }?;
    const { assert!(mem::size_of::<F>() == mem::size_of::<unsafe extern "system" fn() -> isize>()) };
    // SAFETY: a function pointer of the same size; the callers name the type that the stand-in gives this name.
    Some(unsafe { mem::transmute_copy::<_, F>(&found) })
}

/// The identity of an adapter, which the system does not know.
pub(super) fn guid(luid: u64) -> Option<u128> {
    let (ask, mut guid) = (function::<Guid>("VestibuleGuid")?, GUID::from_u128(0));
    // SAFETY: `guid` has room for one.
    (unsafe { ask(luid, &raw mut guid) } != 0).then(|| number(guid))
}

impl Host {
    /// The host behind the adapter `name`; `None` when the library that is loaded is no stand-in.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(Self {
            name: wide(name),
            send: function("VestibuleHostSend")?,
            take: function("VestibuleHostTake")?,
            inject: function("VestibuleFault")?,
            count: function("VestibuleCounts")?,
            sleeps: function("VestibuleSleeps")?,
        })
    }

    /// Sends a chain of packets into the adapter, as the operating system does: all of it, or nothing.
    ///
    /// # Errors
    /// The chain is lost.
    pub fn send(&self, chain: &[&[u8]]) -> Result<(), Lost> {
        let chain: Vec<Packet> =
            chain.iter().map(|packet| Packet { bytes: packet.as_ptr(), len: packet.len() }).collect();
        // SAFETY: the name ends with a zero; the chain has so many packets, whose bytes outlive the call.
        match unsafe { (self.send)(self.name.as_ptr(), chain.as_ptr(), chain.len()) } {
            0 => Ok(()),
            1 => Err(Lost::Full),
            2 => Err(Lost::Ended),
            _ => Err(Lost::Gone),
        }
    }

    /// The next packet that the adapter wrote, waiting for it at most `timeout`. Nudges are among them.
    #[must_use]
    pub fn take(&self, timeout: Duration) -> Option<Vec<u8>> {
        let mut packet = vec![0; LONGEST];
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: the name ends with a zero; there is room for the longest packet.
        let len = unsafe { (self.take)(self.name.as_ptr(), packet.as_mut_ptr(), timeout) };
        packet.truncate(len as usize);
        (len > 0).then_some(packet)
    }

    /// The race of two of the host's processors: the ring is filled with packets of `len` bytes, and overwritten. False
    /// when there is no session.
    pub fn race(&self, len: usize) -> bool {
        self.inject(1, len as u32)
    }

    /// The driver's thread misses so many wake-ups.
    pub fn miss_wakeups(&self, count: u32) -> bool {
        self.inject(2, count)
    }

    /// Whether the host keeps what it is handed, and with it the ring, as a slow one does.
    pub fn keep(&self, keeps: bool) -> bool {
        self.inject(3, keeps.into())
    }

    /// An administrator takes the adapter away.
    pub fn remove(&self) -> bool {
        self.inject(4, 0)
    }

    fn inject(&self, fault: u32, argument: u32) -> bool {
        // SAFETY: the name ends with a zero.
        unsafe { (self.inject)(self.name.as_ptr(), fault, argument) != 0 }
    }

    /// Whether the driver's thread sleeps until it is woken.
    #[must_use]
    pub fn sleeps(&self) -> bool {
        // SAFETY: the name ends with a zero.
        unsafe { (self.sleeps)(self.name.as_ptr()) != 0 }
    }

    /// Whether there is such an adapter.
    #[must_use]
    pub fn exists(&self) -> bool {
        let mut numbers = [0; 10];
        // SAFETY: the name ends with a zero; there is room for ten numbers.
        unsafe { (self.count)(self.name.as_ptr(), &raw mut numbers) != 0 }
    }

    /// What became of packets; all zeros when the adapter is gone.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut numbers = [0; 10];
        // SAFETY: the name ends with a zero; there is room for ten numbers.
        unsafe { (self.count)(self.name.as_ptr(), &raw mut numbers) };
        let [sessions, sent, dropped_full, dropped_ended, read, indicated, discarded, written, full, missed] = numbers;
        Counts { sessions, sent, dropped_full, dropped_ended, read, indicated, discarded, written, full, missed }
    }
}
