//! The calls: an adapter, and the session on it.
//!
//! Of the crate `wintun` these are the loaded functions. Its own types for adapters and sessions are not used
//! (`docs/decisions/0022-wintun.md`): they tell a full ring and one that is going by a text, and look the adapter up by
//! its name.
#![allow(unsafe_code, reason = "the functions of wintun.dll")]

use super::{interface, library::Library};
use crate::{
    adapter::ring::{Refused, Rings},
    wait::OsHandle,
    win32::{is, wide},
};

/// How long a new session waits for the driver to have let go of the former one.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);
use std::{
    ffi::c_void,
    io,
    os::windows::io::BorrowedHandle,
    ptr::NonNull,
    slice, thread,
    time::{Duration, Instant},
};
use windows_sys::{
    Win32::Foundation::{
        ERROR_ALREADY_INITIALIZED, ERROR_BUFFER_OVERFLOW, ERROR_HANDLE_EOF, ERROR_INVALID_DATA, ERROR_NO_MORE_ITEMS,
        GetLastError,
    },
    core::GUID,
};

/// An open adapter; closed on drop, which takes it away if we made it.
#[derive(Debug)]
pub(super) struct Device {
    library: Library,
    handle: NonNull<c_void>,
}

// SAFETY: the handle is good in every thread; the calls on it are the library's, which takes its locks.
unsafe impl Send for Device {}

impl Device {
    /// The adapter of this name that is there already.
    pub(super) fn open(library: &Library, name: &str) -> io::Result<Self> {
        let name = wide(name);
        // SAFETY: the name ends with a zero.
        let handle = unsafe { library.functions().WintunOpenAdapter(name.as_ptr()) };
        Self::of(library, handle.cast())
    }

    /// A new one.
    pub(super) fn create(library: &Library, name: &str, kind: &str, guid: u128) -> io::Result<Self> {
        let (name, kind, guid) = (wide(name), wide(kind), GUID::from_u128(guid));
        // SAFETY: both names end with a zero; the GUID outlives the call, and has the one layout of all of them.
        let handle =
            unsafe { library.functions().WintunCreateAdapter(name.as_ptr(), kind.as_ptr(), (&raw const guid).cast()) };
        Self::of(library, handle.cast())
    }

    fn of(library: &Library, handle: *mut c_void) -> io::Result<Self> {
        let handle = NonNull::new(handle).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { library: library.clone(), handle })
    }

    /// The number by which IP Helper knows it.
    pub(super) fn luid(&self) -> u64 {
        let mut luid = 0u64;
        // SAFETY: the handle is open; a LUID is 64 bits.
        unsafe { self.library.functions().WintunGetAdapterLUID(self.handle.as_ptr().cast(), (&raw mut luid).cast()) };
        luid
    }

    /// Its identity, as far as the system tells.
    pub(super) fn guid(&self) -> Option<u128> {
        #[cfg(any(test, feature = "stand-in"))]
        if self.library.is_stand_in() {
            return super::stand_in::guid(self.luid());
        }
        interface::guid_of_luid(self.luid())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and used no more. A session on it has ended: it owns us.
        unsafe { self.library.functions().WintunCloseAdapter(self.handle.as_ptr().cast()) }
    }
}

/// The session on an adapter. Packets are lent from its rings' own memory.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` after a restart that failed.
    handle: Option<NonNull<c_void>>,
    /// The packet that was received and not given back: where, and how long.
    held: Option<(NonNull<u8>, u32)>,
    /// A packet's length has been seen in the word before it. So it is in every version up to now; where it is not, there
    /// is nothing to be seen there.
    sized: bool,
    capacity: u32,
    /// Behind what ends it.
    device: Device,
}

// SAFETY: as for `Device`; the held packet's memory is the session's, and whoever has `self` may use it.
unsafe impl Send for Session {}

impl Session {
    /// Starts a session with rings of `capacity` bytes.
    pub(super) fn start(device: Device, capacity: u32) -> io::Result<Self> {
        let mut session = Self::of(device, capacity);
        session.begin()?;
        Ok(session)
    }

    /// None yet.
    pub(super) fn of(device: Device, capacity: u32) -> Self {
        Self { handle: None, held: None, sized: false, capacity, device }
    }

    fn begin(&mut self) -> io::Result<()> {
        let functions = self.device.library.functions();
        // SAFETY: the adapter is open; the capacity is one (`ring_capacity`), which the driver checks besides.
        let handle = unsafe { functions.WintunStartSession(self.device.handle.as_ptr().cast(), self.capacity) };
        self.handle = Some(NonNull::new(handle.cast()).ok_or_else(io::Error::last_os_error)?);
        Ok(())
    }

    /// As [`Self::begin`], while the former session is still going for as long as this.
    pub(super) fn begin_within(&mut self, patience: Duration) -> io::Result<()> {
        let end = Instant::now() + patience;
        loop {
            match self.begin() {
                Err(error) if is(&error, ERROR_ALREADY_INITIALIZED) && Instant::now() < end => thread::sleep(LOOK),
                outcome => return outcome,
            }
        }
    }

    /// Ends the session. The driver waits until the host has given back all that it holds of the inbound ring, and this
    /// call with it, for as long as that takes: a consumer that keeps packets keeps the worker.
    fn end(&mut self) {
        // Not given back: it may have been overwritten, and the ring goes anyway.
        self.held = None;
        if let Some(handle) = self.handle.take() {
            // SAFETY: the session is open and used no more, and none of its packets either.
            unsafe { self.device.library.functions().WintunEndSession(handle.as_ptr().cast()) }
        }
    }

    fn handle(&self) -> Result<NonNull<c_void>, Refused> {
        self.handle.ok_or(Refused::Ended)
    }
}

/// What the last call of this thread failed with.
fn refused() -> Refused {
    // SAFETY: reads a number of the calling thread's.
    match unsafe { GetLastError() } {
        ERROR_NO_MORE_ITEMS => Refused::Empty,
        ERROR_BUFFER_OVERFLOW => Refused::Full,
        ERROR_HANDLE_EOF => Refused::Ended,
        ERROR_INVALID_DATA => Refused::Corrupt,
        code => Refused::Other(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

/// The word before a packet, where the ring has its length; `None` where none can be.
///
/// # Safety
/// The packet was received from a session that is open, and not released.
unsafe fn size_before(packet: NonNull<u8>) -> Option<u32> {
    let packet = packet.cast::<u32>();
    // SAFETY: a ring starts with three words of its own (head, tail, whether its reader sleeps), so that each packet has a
    // word of the ring's memory before it, which is mapped as long as the session lives. The kernel may write it at any
    // time: it is read as what another may change, and only where it can be read in one piece.
    packet.is_aligned().then(|| unsafe { packet.as_ptr().sub(1).read_volatile() })
}

impl Rings for Session {
    fn receive(&mut self) -> Result<(), Refused> {
        let (handle, mut len) = (self.handle()?, 0);
        // SAFETY: the session is open, and `len` outlives the call.
        let packet =
            unsafe { self.device.library.functions().WintunReceivePacket(handle.as_ptr().cast(), &raw mut len) };
        let packet = NonNull::new(packet).ok_or_else(refused)?;
        self.held = Some((packet, len));
        // SAFETY: a packet that was just received.
        self.sized |= unsafe { size_before(packet) } == Some(len);
        Ok(())
    }

    fn received(&mut self) -> &mut [u8] {
        let Some((packet, len)) = self.held else { return &mut [] };
        // SAFETY: the library lends these bytes, to be written as well, until they are released, which takes `&mut self`
        // and so cannot be while the slice lives. Ours alone they are but for a fault of the driver's: in its race (see
        // `release`) the kernel may write here meanwhile, and what is made of the packet is then anything, within the
        // slice's bounds, which are none of the ring's. Nothing but a copy of every packet would rule that out.
        unsafe { slice::from_raw_parts_mut(packet.as_ptr(), len as usize) }
    }

    fn release(&mut self) -> Result<(), Refused> {
        let (Some((packet, len)), Some(handle)) = (self.held.take(), self.handle) else { return Ok(()) };
        // The library reads the length again, to know how far the ring is free now. Between this look and its own the
        // driver may still write, for some nanoseconds instead of for as long as a packet takes.
        // SAFETY: a packet that was received, and is not released yet.
        if self.sized && unsafe { size_before(packet) } != Some(len) {
            return Err(Refused::Corrupt);
        }
        // SAFETY: the session is open, the packet is its, and nobody has it any more.
        unsafe { self.device.library.functions().WintunReleaseReceivePacket(handle.as_ptr().cast(), packet.as_ptr()) };
        Ok(())
    }

    fn send(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Refused> {
        let handle = self.handle()?.as_ptr().cast();
        let functions = self.device.library.functions();
        // SAFETY: the session is open.
        let packet = unsafe { functions.WintunAllocateSendPacket(handle, len as u32) };
        if packet.is_null() {
            return Err(refused());
        }
        // SAFETY: `len` bytes that are ours alone until they are sent. They hold what a former packet left there, or the
        // zeros of fresh pages.
        fill(unsafe { slice::from_raw_parts_mut(packet, len) });
        // SAFETY: allocated above, and not used any more. A panic in `fill` would leave it unsent, and with it all later
        // ones: it ends the worker, and so the session.
        unsafe { functions.WintunSendPacket(handle, packet) };
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.end();
        self.begin_within(LETTING_GO)
    }

    fn event(&self) -> Option<OsHandle<'_>> {
        let handle = self.handle?;
        // SAFETY: the session is open.
        let event = unsafe { self.device.library.functions().WintunGetReadWaitEvent(handle.as_ptr().cast()) };
        // SAFETY: the event is open until the session ends, which takes `&mut self`.
        (!event.is_null()).then(|| unsafe { BorrowedHandle::borrow_raw(event.cast()) })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}
