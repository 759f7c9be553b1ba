//! Winsock calls with control messages, without allocating per call.
#![allow(unsafe_code, reason = "Winsock calls with control messages")]

use crate::socket::control::{self, Control, NAME};
use bytes::BytesMut;
use socket2::Socket;
use std::{
    io,
    net::SocketAddr,
    os::windows::io::{AsRawHandle, AsRawSocket, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr::{from_mut, from_ref, null, null_mut},
};
use windows_sys::Win32::{
    Networking::WinSock::{
        FD_READ, FD_WRITE, LPFN_WSARECVMSG, MSG_TRUNC, SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKET, WSABUF, WSAEMSGSIZE,
        WSAEVENT, WSAEventSelect, WSAGetLastError, WSAID_WSARECVMSG, WSAIoctl, WSAMSG, WSASendMsg, getsockopt,
        setsockopt,
    },
    System::Threading::CreateEventW,
};

/// The largest UDP datagram, or URO's merger of several, rounded up.
pub(super) const DATAGRAM: usize = 65_536;

/// `WSARecvMsg`, which has to be asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver(LPFN_WSARECVMSG);

/// A received message, which is what its slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) source: Option<SocketAddr>,
    pub(super) truncated: bool,
    pub(super) control: Control,
}

/// Something of Winsock's numbers as an error code of ours: what `io::Error` is made of.
pub(super) type Code = i32;

/// An event that resets itself when a wait has seen it.
pub(super) fn event() -> io::Result<OwnedHandle> {
    // SAFETY: no attributes and no name are given; both pointers may be null.
    let handle = unsafe { CreateEventW(null(), 0, 0, null()) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just given us this handle, which nobody else holds or closes.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Sets `event` whenever the socket has input, or room again after it had none. Makes the socket non-blocking.
pub(super) fn select(socket: &Socket, event: BorrowedHandle<'_>) -> io::Result<()> {
    let interest = (FD_READ | FD_WRITE) as i32;
    // SAFETY: socket and event are open for the whole call. The association ends with the socket, which the caller drops
    // before the event.
    outcome(unsafe { WSAEventSelect(raw(socket), event.as_raw_handle() as WSAEVENT, interest) })
        .map_err(io::Error::from_raw_os_error)
}

pub(super) fn receiver(socket: &Socket) -> io::Result<Receiver> {
    let mut function: LPFN_WSARECVMSG = None;
    let mut written = 0;
    // SAFETY: the input is the GUID's 16 bytes, the output has room for one function pointer, whose type is the one that
    // this GUID names; nothing is overlapped.
    let asked = unsafe {
        WSAIoctl(
            raw(socket),
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            from_ref(&WSAID_WSARECVMSG).cast(),
            size_of_val(&WSAID_WSARECVMSG) as u32,
            from_mut(&mut function).cast(),
            size_of::<LPFN_WSARECVMSG>() as u32,
            &mut written,
            null_mut(),
            None,
        )
    };
    outcome(asked).map_err(io::Error::from_raw_os_error)?;
    if function.is_none() {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(Receiver(function))
}

/// Sends one message: a datagram, or what `control` says to cut into several.
pub(super) fn send(socket: &Socket, to: SocketAddr, bytes: &[u8], control: &Control) -> Result<(), Code> {
    let (mut name, len) = control::name(to);
    // The system only reads what is sent; the types are those of receiving.
    let mut buffer = WSABUF { len: bytes.len() as u32, buf: bytes.as_ptr().cast_mut() };
    let messages = control.bytes();
    let message = WSAMSG {
        name: name.as_mut_ptr().cast(),
        namelen: len as i32,
        lpBuffers: &mut buffer,
        dwBufferCount: 1,
        Control: WSABUF {
            len: messages.len() as u32,
            buf: if messages.is_empty() { null_mut() } else { messages.as_ptr().cast_mut() },
        },
        dwFlags: 0,
    };
    let mut sent = 0;
    // SAFETY: name, buffer and control messages live until the call returns, which without OVERLAPPED is when it has
    // read them; lengths are those of the slices (a batch has at most 64 KiB).
    outcome(unsafe { WSASendMsg(raw(socket), &message, 0, &mut sent, null_mut(), None) })
}

/// Receives one message into `slot`, in place of what it holds. A slot whose memory was given away, and is not free
/// again, gets other memory.
pub(super) fn receive(socket: &Socket, receiver: Receiver, slot: &mut BytesMut) -> Result<Received, Code> {
    let Some(function) = receiver.0 else { return Err(0) };
    slot.clear();
    slot.reserve(DATAGRAM);
    let mut name = [0; NAME];
    let mut control = Control::new();
    let room = control.room();
    let mut buffer = WSABUF { len: DATAGRAM as u32, buf: slot.spare_capacity_mut().as_mut_ptr().cast() };
    let mut message = WSAMSG {
        name: name.as_mut_ptr().cast(),
        namelen: NAME as i32,
        lpBuffers: &mut buffer,
        dwBufferCount: 1,
        Control: WSABUF { len: room.len() as u32, buf: room.as_mut_ptr() },
        dwFlags: 0,
    };
    let mut len = 0;
    // SAFETY: name, buffer and control have the room that the message says, outlive the call and are written by nobody
    // else; without OVERLAPPED the call is over when it returns.
    let received = outcome(unsafe { function(raw(socket), &mut message, &mut len, null_mut(), None) });
    // A message cut short is an error here, and has filled the slot.
    let truncated = received == Err(WSAEMSGSIZE) || message.dwFlags & MSG_TRUNC != 0;
    if !truncated {
        received?;
    }
    // SAFETY: the system has written so many bytes to the start of the slot, which was empty and has that room.
    unsafe { slot.set_len(if truncated { 0 } else { (len as usize).min(DATAGRAM) }) };
    control.set_used(message.Control.len as usize);
    Ok(Received { source: control::address(&name), truncated, control })
}

/// Sets a numeric option.
pub(super) fn set_option(socket: &Socket, level: i32, name: i32, value: u32) -> Result<(), Code> {
    // SAFETY: the socket is open for the whole call, which reads the four bytes of `value`.
    outcome(unsafe { setsockopt(raw(socket), level, name, from_ref(&value).cast(), size_of::<u32>() as i32) })
}

/// Reads a numeric option: which ones there are shows what the system can do.
pub(super) fn option(socket: &Socket, level: i32, name: i32) -> Result<u32, Code> {
    let (mut value, mut len) = (0u32, size_of::<u32>() as i32);
    // SAFETY: the socket is open for the whole call, which writes at most the `len` bytes of `value`.
    outcome(unsafe { getsockopt(raw(socket), level, name, from_mut(&mut value).cast(), &mut len) })?;
    Ok(value)
}

/// Sets one of the switches that are no options.
pub(super) fn set_switch(socket: &Socket, code: u32, on: bool) -> Result<(), Code> {
    let (value, mut written) = (u32::from(on), 0);
    // SAFETY: the call reads the four bytes of `value` and writes nothing but `written`; nothing is overlapped.
    outcome(unsafe {
        WSAIoctl(
            raw(socket),
            code,
            from_ref(&value).cast(),
            size_of::<u32>() as u32,
            null_mut(),
            0,
            &mut written,
            null_mut(),
            None,
        )
    })
}

fn raw(socket: &Socket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

fn outcome(result: i32) -> Result<(), Code> {
    if result == 0 {
        return Ok(());
    }
    // SAFETY: reads a number of the calling thread.
    Err(unsafe { WSAGetLastError() })
}
