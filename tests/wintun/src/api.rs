//! The functions of `wintun.h`.

use crate::adapter::{self, Adapter, Running};
use std::{ffi::c_void, ptr::null_mut, sync::Arc};
use vestibule_ring::StartError;
use windows_sys::{
    Win32::Foundation::{
        ERROR_ALREADY_EXISTS, ERROR_ALREADY_INITIALIZED, ERROR_DEVICE_NOT_AVAILABLE, ERROR_FILE_NOT_FOUND,
        ERROR_INVALID_PARAMETER, ERROR_NOT_FOUND, HANDLE, SetLastError,
    },
    core::GUID,
};

/// 0.14: the version that the model keeps to.
const VERSION: u32 = 14;

/// What an adapter handle points to.
pub(crate) struct Opened {
    adapter: Arc<Adapter>,
    /// By its creator: closing it takes the adapter away.
    created: bool,
}

/// What a session handle points to.
pub(crate) struct Handle(Arc<Running>);

fn fail(code: u32) {
    // SAFETY: sets a number of the calling thread's.
    unsafe { SetLastError(code) }
}

fn opened(adapter: Arc<Adapter>, created: bool) -> *mut Opened {
    Box::into_raw(Box::new(Opened { adapter, created }))
}

/// The text at `name`, up to its zero.
///
/// # Safety
/// It ends with a zero.
pub(crate) unsafe fn text(name: *const u16) -> String {
    let mut units = Vec::new();
    // SAFETY: the caller's promise: there is a zero before the end.
    while let unit @ 1.. = unsafe { *name.add(units.len()) } {
        units.push(unit);
    }
    String::from_utf16_lossy(&units)
}

/// # Safety
/// As `wintun.h` says: names end with a zero, the GUID is one or null.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunCreateAdapter(
    name: *const u16,
    _tunnel_type: *const u16,
    guid: *const GUID,
) -> *mut Opened {
    // SAFETY: the caller's promise.
    let (name, guid) = unsafe { (text(name), if guid.is_null() { GUID::from_u128(0) } else { *guid }) };
    match adapter::create(&name, guid) {
        Some(adapter) => opened(adapter, true),
        None => {
            fail(ERROR_ALREADY_EXISTS);
            null_mut()
        }
    }
}

/// # Safety
/// As `wintun.h` says: the name ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunOpenAdapter(name: *const u16) -> *mut Opened {
    // SAFETY: the caller's promise.
    match adapter::find(&unsafe { text(name) }) {
        Some(adapter) => opened(adapter, false),
        None => {
            fail(ERROR_NOT_FOUND);
            null_mut()
        }
    }
}

/// # Safety
/// The handle came from one of the two above, or is null, and is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunCloseAdapter(adapter: *mut Opened) {
    if adapter.is_null() {
        return;
    }
    // SAFETY: the caller's promise; `opened` made it from a box.
    let opened = unsafe { Box::from_raw(adapter) };
    if opened.created {
        opened.adapter.remove();
    }
}

/// Deletes nothing.
#[unsafe(no_mangle)]
pub extern "system" fn WintunDeleteDriver() -> i32 {
    1
}

/// # Safety
/// The handle is open, and `luid` points to room for one.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunGetAdapterLUID(adapter: *const Opened, luid: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { *luid = (&*adapter).adapter.luid }
}

/// 0.14 when there is an adapter, which loads the driver.
#[unsafe(no_mangle)]
pub extern "system" fn WintunGetRunningDriverVersion() -> u32 {
    if adapter::any() {
        return VERSION;
    }
    fail(ERROR_FILE_NOT_FOUND);
    0
}

/// Nothing is ever logged.
#[unsafe(no_mangle)]
pub extern "system" fn WintunSetLogger(_logger: *const c_void) {}

/// # Safety
/// The handle is open.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunStartSession(adapter: *const Opened, capacity: u32) -> *mut Handle {
    // SAFETY: the caller's promise.
    match unsafe { &*adapter }.adapter.start(capacity) {
        Ok(running) => Box::into_raw(Box::new(Handle(running))),
        Err(error) => {
            fail(match error {
                StartError::Capacity(_) => ERROR_INVALID_PARAMETER,
                StartError::Busy => ERROR_ALREADY_INITIALIZED,
                StartError::Removed => ERROR_DEVICE_NOT_AVAILABLE,
            });
            null_mut()
        }
    }
}

/// # Safety
/// The handle came from [`WintunStartSession`] and is used no more, and none of its packets either.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunEndSession(session: *mut Handle) {
    // SAFETY: the caller's promise; it was made from a box.
    unsafe { Box::from_raw(session) }.0.end();
}

/// # Safety
/// The handle is open. The event is closed with it.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunGetReadWaitEvent(session: *const Handle) -> HANDLE {
    // SAFETY: the caller's promise.
    unsafe { &*session }.0.readable.handle()
}

/// # Safety
/// The handle is open, and `size` points to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunReceivePacket(session: *const Handle, size: *mut u32) -> *mut u8 {
    // SAFETY: the caller's promise.
    let running = &unsafe { &*session }.0;
    match running.device.receive(&running.session) {
        Ok(slot) => {
            // SAFETY: the caller's promise.
            unsafe { *size = slot.len() as u32 };
            running.session.outbound.ring().pointer(&slot)
        }
        Err(refused) => {
            fail(refused.code());
            null_mut()
        }
    }
}

/// # Safety
/// The handle is open, and `packet` came from [`WintunReceivePacket`] and is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunReleaseReceivePacket(session: *const Handle, packet: *const u8) {
    // SAFETY: the caller's promise.
    let running = &unsafe { &*session }.0;
    if let Some(slot) = running.session.outbound.ring().slot_at(packet) {
        running.session.outbound.release(slot);
    }
}

/// # Safety
/// The handle is open.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunAllocateSendPacket(session: *const Handle, size: u32) -> *mut u8 {
    // SAFETY: the caller's promise.
    let running = &unsafe { &*session }.0;
    match running.device.allocate(&running.session, size) {
        Ok(slot) => running.session.inbound.ring().pointer(&slot),
        Err(refused) => {
            fail(refused.code());
            null_mut()
        }
    }
}

/// # Safety
/// The handle is open, and `packet` came from [`WintunAllocateSendPacket`] and is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WintunSendPacket(session: *const Handle, packet: *const u8) {
    // SAFETY: the caller's promise.
    let running = &unsafe { &*session }.0;
    if let Some(slot) = running.session.inbound.ring().slot_at(packet)
        && running.device.send(&running.session, slot)
    {
        running.written.set();
    }
}
