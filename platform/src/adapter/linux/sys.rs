//! The ioctls of a TUN device.
#![allow(unsafe_code, reason = "ioctls")]

use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_ptr_bad!(tun_set_header_size, libc::TUNSETVNETHDRSZ, c_int);
nix::ioctl_write_int_bad!(tun_set_offload, libc::TUNSETOFFLOAD);
nix::ioctl_write_ptr_bad!(interface_set_mtu, libc::SIOCSIFMTU, libc::ifreq);
nix::ioctl_write_ptr_bad!(interface_set_queue, libc::SIOCSIFTXQLEN, libc::ifreq);

/// Makes `tun` the interface called `name`, a TUN without packet information and with offload headers. One that is there
/// already is not taken over, even when nobody uses it: what it was configured for is somebody else's.
pub(super) fn create(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    let mut request = request(name);
    // The flags that exist fit 16 bits (IFF_TUN_EXCL is 0x8000).
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `tun` is open for the whole call, and TUNSETIFF reads and writes one `ifreq`, which `request` is.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Sets the length of the offload header.
pub(super) fn set_header_size(tun: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    let size = c_int::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `tun` is open for the whole call, and TUNSETVNETHDRSZ reads one int, which `size` is.
    unsafe { tun_set_header_size(tun.as_raw_fd(), &raw const size) }?;
    Ok(())
}

/// Offloads the host may use; UDP segmentation only where the kernel knows it (6.2). True when it does.
pub(super) fn set_offloads(tun: BorrowedFd<'_>) -> io::Result<bool> {
    /// From `linux/if_tun.h`: checksums, TCP segmentation over IPv4 and IPv6, with congestion notification.
    const TCP: c_int = 0x01 | 0x02 | 0x04 | 0x08;
    /// UDP segmentation over IPv4 and IPv6.
    const UDP: c_int = 0x20 | 0x40;
    // SAFETY: `tun` is open for the whole call, and TUNSETOFFLOAD takes its argument by value.
    match unsafe { tun_set_offload(tun.as_raw_fd(), TCP | UDP) } {
        Ok(_) => return Ok(true),
        Err(Errno::EINVAL) => {}
        Err(error) => return Err(error.into()),
    }
    // SAFETY: as above.
    unsafe { tun_set_offload(tun.as_raw_fd(), TCP) }?;
    Ok(false)
}

/// Sets an interface's MTU.
pub(super) fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = c_int::try_from(mtu).map_err(|_| io::ErrorKind::InvalidInput)?;
    let control = control_socket()?;
    // SAFETY: `control` is open for the whole call, and SIOCSIFMTU reads one `ifreq`, which `request` is.
    unsafe { interface_set_mtu(control.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Sets how many frames an interface queues.
pub(super) fn set_queue(name: &str, frames: u32) -> io::Result<()> {
    let mut request = request(name);
    // The kernel reads `ifr_qlen`, an int at the place of `ifr_mtu`.
    request.ifr_ifru.ifru_mtu = c_int::try_from(frames).map_err(|_| io::ErrorKind::InvalidInput)?;
    let control = control_socket()?;
    // SAFETY: `control` is open for the whole call, and SIOCSIFTXQLEN reads one `ifreq`, which `request` is.
    unsafe { interface_set_queue(control.as_raw_fd(), &raw const request) }?;
    Ok(())
}

fn control_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

/// A zeroed request for the interface `name`, whose length the caller has checked.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data (a byte array and a union of integers, addresses and a pointer); all zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the terminator.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *to = from.cast_signed() as libc::c_char;
    }
    request
}
