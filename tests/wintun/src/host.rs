//! The other side: what a test calls to be the operating system behind an adapter, and its driver's faults.
//!
//! Each function names the adapter, by a text that ends with a zero. `platform/src/adapter/windows/stand_in.rs` has the
//! same signatures.

use crate::{
    adapter::{self, Adapter},
    api::text,
};
use std::{
    slice,
    sync::Arc,
    time::{Duration, Instant},
};
use vestibule_ring::Lost;
use windows_sys::core::GUID;

/// One packet of a chain.
#[repr(C)]
pub struct Packet {
    bytes: *const u8,
    len: usize,
}

/// What [`VestibuleFault`] injects.
const RACE: u32 = 1;
const MISS_WAKEUPS: u32 = 2;
const KEEP: u32 = 3;
const REMOVE: u32 = 4;

/// # Safety
/// The text ends with a zero.
unsafe fn find(name: *const u16) -> Option<Arc<Adapter>> {
    // SAFETY: the caller's promise.
    adapter::find(&unsafe { text(name) })
}

/// The host sends a chain of packets into the tunnel. 0: the ring took it; 1: it was full; 2: there is no session; 3: no
/// such adapter. A chain that was not taken is lost.
///
/// # Safety
/// The name ends with a zero, and `chain` points to `count` packets.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleHostSend(name: *const u16, chain: *const Packet, count: usize) -> u32 {
    // SAFETY: the caller's promise.
    let (adapter, chain) = unsafe { (find(name), slice::from_raw_parts(chain, count)) };
    let Some(adapter) = adapter else { return 3 };
    // SAFETY: the caller's promise.
    let chain: Vec<&[u8]> =
        chain.iter().map(|packet| unsafe { slice::from_raw_parts(packet.bytes, packet.len) }).collect();
    let outcome = adapter.device.host_send(&chain);
    if let Some(session) = adapter.session() {
        session.readable.set();
    }
    match outcome {
        Ok(()) => 0,
        Err(Lost::Full) => 1,
        Err(Lost::Ended) => 2,
    }
}

/// Takes the next packet that the host was handed, waiting for it at most so many milliseconds; its length, or 0.
///
/// # Safety
/// The name ends with a zero, and `room` has room for 65535 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleHostTake(name: *const u16, room: *mut u8, milliseconds: u32) -> u32 {
    // SAFETY: the caller's promise.
    let Some(adapter) = (unsafe { find(name) }) else { return 0 };
    let end = Instant::now() + Duration::from_millis(milliseconds.into());
    let packet = loop {
        if let Some(packet) = adapter.device.host_take() {
            break packet;
        }
        // The event may tell of a packet that was taken without waiting.
        let left = end.saturating_duration_since(Instant::now());
        if !adapter.delivered.wait(left.as_millis() as u32) {
            return 0;
        }
    };
    // SAFETY: the caller's promise; no packet is longer.
    unsafe { packet.as_ptr().copy_to_nonoverlapping(room, packet.len()) };
    packet.len() as u32
}

/// Injects a fault: 1, the race between two senders, with packets of `argument` bytes; 2, `argument` missed wake-ups; 3,
/// a host that keeps what it is handed (0: it gives all back); 4, the adapter is removed. False: no such adapter or
/// fault, or no session.
///
/// # Safety
/// The name ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleFault(name: *const u16, fault: u32, argument: u32) -> i32 {
    // SAFETY: the caller's promise.
    let Some(adapter) = (unsafe { find(name) }) else { return 0 };
    let done = match fault {
        RACE => {
            let raced = adapter.device.race(&vec![0x45; argument as usize]);
            if let Some(session) = adapter.session() {
                session.readable.set();
            }
            raced
        }
        MISS_WAKEUPS => {
            adapter.device.miss_wakeups(argument);
            true
        }
        KEEP => {
            adapter.device.keep(argument != 0);
            true
        }
        REMOVE => {
            adapter.remove();
            true
        }
        _ => false,
    };
    done.into()
}

/// What became of packets so far; the order is that of `Counts`. False: no such adapter.
///
/// # Safety
/// The name ends with a zero, and `counts` points to room for ten numbers.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleCounts(name: *const u16, counts: *mut [u64; 10]) -> i32 {
    // SAFETY: the caller's promise.
    let Some(adapter) = (unsafe { find(name) }) else { return 0 };
    let now = adapter.device.counts();
    let numbers = [
        now.sessions,
        now.sent,
        now.dropped_full,
        now.dropped_ended,
        now.read,
        now.indicated,
        now.discarded,
        now.written,
        now.full,
        now.missed,
    ];
    // SAFETY: the caller's promise.
    unsafe { *counts = numbers };
    1
}

/// Whether the driver's thread sleeps.
///
/// # Safety
/// The name ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleSleeps(name: *const u16) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { find(name) }.is_some_and(|adapter| adapter.device.sleeps()).into()
}

/// The GUID of an adapter, which the system would tell. False: no such adapter.
///
/// # Safety
/// `guid` points to room for one.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn VestibuleGuid(luid: u64, guid: *mut GUID) -> i32 {
    let Some(adapter) = adapter::find_luid(luid) else { return 0 };
    // SAFETY: the caller's promise.
    unsafe { *guid = adapter.guid };
    (!adapter.name.is_empty()).into()
}
