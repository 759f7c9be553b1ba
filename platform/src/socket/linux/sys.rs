//! `sendmmsg` and `recvmmsg` with the control messages of GSO, GRO, ECN and receive overflows.
#![allow(unsafe_code, reason = "system calls with control messages, without allocating per call")]

use bytes::BytesMut;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{SockaddrLike, SockaddrStorage},
};
use std::{
    mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};
use vestibule_engine::packet::Ecn;

/// Most messages in one `sendmmsg`.
pub(super) const SEND_MESSAGES: usize = 16;
/// Most (merged) datagrams in one `recvmmsg`.
pub(super) const RECEIVE_MESSAGES: usize = 16;
/// The largest UDP datagram, or GRO's merger of several, rounded up.
pub(super) const DATAGRAM: usize = 65_536;

/// Room for the control messages of one message, each of which takes 24 bytes with its header: on receive an int, an u32
/// and an int or u8 (IPv6's or IPv4's), on send an u16 and an int.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);
const CONTROL: usize = 96;

/// A type of service or traffic class.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tos {
    V4(u8),
    V6(u8),
}

/// One message to send.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) destination: SockaddrStorage,
    pub(super) bytes: &'a [u8],
    /// Cut into datagrams of this size.
    pub(super) segment: Option<u16>,
    /// `None`: zero.
    pub(super) tos: Option<Tos>,
}

/// Sends up to [`SEND_MESSAGES`] messages; returns how many the system took. The error is the first message's.
pub(super) fn send(socket: BorrowedFd<'_>, messages: &[Outgoing<'_>]) -> Result<usize, Errno> {
    let count = messages.len().min(SEND_MESSAGES);
    let mut controls = [Control([0; CONTROL]); SEND_MESSAGES];
    // SAFETY: both structures are plain data (integers and pointers); all zeros is a valid value.
    let mut pieces: [libc::iovec; SEND_MESSAGES] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; SEND_MESSAGES] = unsafe { mem::zeroed() };
    let slots = headers.iter_mut().zip(&mut pieces).zip(&mut controls);
    for (message, ((header, piece), control)) in messages[..count].iter().zip(slots) {
        // The system only reads what is sent; the type of `iov_base` is that of receiving.
        piece.iov_base = message.bytes.as_ptr().cast_mut().cast();
        piece.iov_len = message.bytes.len();
        let header = &mut header.msg_hdr;
        header.msg_name = message.destination.as_ptr().cast_mut().cast();
        header.msg_namelen = message.destination.len();
        header.msg_iov = piece;
        header.msg_iovlen = 1;
        let mut used = 0;
        if let Some(segment) = message.segment {
            used = append(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
        }
        used = match message.tos {
            Some(Tos::V4(tos)) => append(control, used, libc::IPPROTO_IP, libc::IP_TOS, i32::from(tos)),
            Some(Tos::V6(class)) => append(control, used, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(class)),
            None => used,
        };
        if used > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers point to names, pieces and controls that live until the call returns
    // (`messages` is borrowed, the arrays are on this stack), and `socket` is open meanwhile.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _) };
    Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or(0))
}

/// Adds a control message of the integer `value` behind the `used` bytes of others (0, or what this has returned);
/// returns how many are used now. What does not fit is left out.
fn append<T: Copy>(control: &mut Control, used: usize, level: i32, kind: i32, value: T) -> usize {
    let len = size_of::<T>() as u32;
    // SAFETY: both only compute.
    let (space, whole) = unsafe { (libc::CMSG_SPACE(len) as usize, libc::CMSG_LEN(len)) };
    let Some(room) = control.0.get_mut(used..used + space) else { return used };
    let message = room.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: `room` is CMSG_SPACE(len) bytes that we borrow mutably, so a header and `len` bytes of data lie inside it;
    // it is aligned as a header wants, since `Control` is and CMSG_SPACE is a multiple of that alignment. The data is
    // written unaligned.
    unsafe {
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = whole as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
    }
    used + space
}

/// One received message, which is what its slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) len: usize,
    /// Size of each datagram but the last, when GRO merged several.
    pub(super) stride: Option<usize>,
    /// `None`: an address of another family.
    pub(super) source: Option<SocketAddr>,
    pub(super) truncated: bool,
    /// Datagrams this socket has lost so far, when the system says so.
    pub(super) overflowed: Option<u32>,
    pub(super) ecn: Ecn,
}

/// Receives up to [`RECEIVE_MESSAGES`] messages into as many slots, in place of what they hold, and describes them in
/// `found`. A slot whose memory was given away, and is not free again, gets other memory.
pub(super) fn receive(socket: BorrowedFd<'_>, slots: &mut [BytesMut], found: &mut Vec<Incoming>) -> Result<(), Errno> {
    found.clear();
    let count = slots.len().min(RECEIVE_MESSAGES);
    let mut controls = [Control([0; CONTROL]); RECEIVE_MESSAGES];
    // SAFETY: these structures are plain data (integers, byte arrays and pointers); all zeros is a valid value.
    let mut names: [libc::sockaddr_storage; RECEIVE_MESSAGES] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut pieces: [libc::iovec; RECEIVE_MESSAGES] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; RECEIVE_MESSAGES] = unsafe { mem::zeroed() };
    let rooms = slots.iter_mut().zip(&mut names).zip(&mut pieces).zip(&mut controls);
    for (header, (((slot, name), piece), control)) in headers[..count].iter_mut().zip(rooms) {
        slot.clear();
        slot.reserve(DATAGRAM);
        piece.iov_base = slot.spare_capacity_mut().as_mut_ptr().cast();
        piece.iov_len = DATAGRAM;
        let header = &mut header.msg_hdr;
        header.msg_name = ptr::from_mut(name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = piece;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
    }
    let flags = libc::MSG_DONTWAIT;
    let received =
        // SAFETY: the first `count` headers point to slots, names, pieces and controls that outlive the call and are
        // written by nobody else (`slots` is borrowed mutably), and `socket` is open meanwhile. A slot is empty and has
        // room for `DATAGRAM` bytes.
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _, ptr::null_mut()) };
    let received = usize::try_from(Errno::result(received)?).unwrap_or(0);
    for ((header, name), slot) in headers[..received].iter().zip(&names).zip(slots) {
        let len = (header.msg_len as usize).min(DATAGRAM);
        // SAFETY: the system has written so many bytes to the start of the slot, which was empty and has that room.
        unsafe { slot.set_len(len) };
        let (stride, overflowed, ecn) = control_messages(&header.msg_hdr);
        found.push(Incoming {
            len,
            stride,
            source: address(name, header.msg_hdr.msg_namelen),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            overflowed,
            ecn,
        });
    }
    Ok(())
}

/// GRO's segment size, the overflow counter and the ECN field among the control messages of a received header.
fn control_messages(header: &libc::msghdr) -> (Option<usize>, Option<u32>, Ecn) {
    let (mut stride, mut overflowed, mut ecn) = (None, None, Ecn::NotEct);
    // SAFETY: `header` was filled by recvmmsg, and its control buffer is still alive and unchanged; CMSG_FIRSTHDR and
    // CMSG_NXTHDR stay inside `msg_controllen` and return null at the end. The kernel has written a message's data
    // before it lists it: one byte for IP_TOS, four for the others.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    stride = usize::try_from(data.cast::<i32>().read_unaligned()).ok().filter(|size| *size > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => overflowed = Some(data.cast::<u32>().read_unaligned()),
                (libc::IPPROTO_IP, libc::IP_TOS) => ecn = Ecn::from_tos(data.read()),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    ecn = Ecn::from_tos(data.cast::<i32>().read_unaligned().to_le_bytes()[0]);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (stride, overflowed, ecn)
}

fn address(name: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    // SAFETY: `name` is a whole, initialised `sockaddr_storage` of which the kernel has written `len` bytes; the
    // constructor reads the family and no more than `len` bytes.
    let address = unsafe { SockaddrStorage::from_raw(ptr::from_ref(name).cast(), Some(len)) }?;
    super::open::address(&address)
}

/// Sets an integer socket option that has no safe wrapper.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `socket` is open for the whole call, which reads the four bytes of `value`.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), len) };
    Errno::result(set).map(drop)
}
