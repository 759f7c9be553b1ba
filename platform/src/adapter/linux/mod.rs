//! A TUN device with offloads: the kernel hands over TCP super-packets of up to 64 KiB, and takes them back.

mod sys;
mod vnet;

use super::{Adapter, AdapterError, ReadReport, Removed, TunConfig, WriteReport};
use crate::wait::{OsHandle, Waitable};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{stat::Mode, uio::writev},
    unistd::read,
};
use std::{
    fs,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
};
use vestibule_engine::packet::{Delivery, DeliveryQueue, Frame, Frames};
use vnet::HEADER;

const DEVICE: &str = "/dev/net/tun";
/// The largest IP packet, rounded up.
const MAX_FRAME: usize = 65_536;
/// Where the frame starts in the buffer, so that its IP header is aligned.
const FRAME_AT: usize = 16;
/// Most frames lent in one batch: as many small packets as one GSO batch carries.
const BATCH_FRAMES: u64 = 64;
/// A batch ends once it has lent this many bytes: what was read and sealed stays in the second-level cache.
const BATCH_BYTES: usize = 256 * 1024;
/// Pieces of one frame that are gathered without allocating.
const GATHER: usize = 72;
/// Most pieces one `writev` takes (`UIO_MAXIOV`).
const MAX_GATHER: usize = 1024;

/// The host's virtual adapter: a TUN device. It vanishes from the host when dropped.
#[derive(Debug)]
pub struct Tun {
    device: OwnedFd,
    name: String,
    mtu: u32,
    cuts_udp: bool,
    /// Header and frame of the read under way. Frames are read one by one, as the engine asks for them: one hot buffer
    /// serves the whole batch.
    buffer: Box<[u8]>,
    report: ReadReport,
    /// What ended the last batch, if it was a failure: told by the next read.
    failed: Option<Errno>,
    scratch: Vec<u8>,
}

impl Tun {
    /// Makes the device, down and without addresses: `netcfg` does the rest.
    ///
    /// # Errors
    /// An unusable or taken name, no `/dev/net/tun`, or no privilege.
    pub fn open(config: &TunConfig) -> Result<Self, AdapterError> {
        let name = config.name.as_str();
        super::check_name(name)?;
        let failed = |step| move |cause| AdapterError::Create { name: name.to_owned(), step, cause };
        let device = open(DEVICE, OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|error| AdapterError::Open { path: DEVICE, cause: error.into() })?;
        sys::create(device.as_fd(), name).map_err(|cause| match cause.raw_os_error().map(Errno::from_raw) {
            // The kernel says the same of every interface that is there; this file only those of its TUN driver have.
            Some(Errno::EBUSY) if fs::exists(format!("/sys/class/net/{name}/tun_flags")).unwrap_or(false) => {
                AdapterError::Busy { name: name.to_owned() }
            }
            Some(Errno::EBUSY) => AdapterError::Taken { name: name.to_owned() },
            _ => failed("create")(cause),
        })?;
        sys::set_header_size(device.as_fd(), HEADER).map_err(failed("set the offload header of"))?;
        let udp = sys::set_offloads(device.as_fd()).map_err(failed("set the offloads of"))?;
        sys::set_mtu(name, config.mtu).map_err(failed("set the MTU of"))?;
        sys::set_queue(name, config.queue).map_err(failed("set the queue of"))?;
        tracing::debug!(name, mtu = config.mtu, udp_segmentation = udp, "adapter made");
        Ok(Self {
            device,
            name: name.to_owned(),
            mtu: config.mtu,
            cuts_udp: udp,
            buffer: vec![0; FRAME_AT + MAX_FRAME].into_boxed_slice(),
            report: ReadReport::default(),
            failed: None,
            scratch: Vec::new(),
        })
    }

    /// Its name on the host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn write_one(&mut self, delivery: &Delivery<'_>) -> nix::Result<usize> {
        let len = delivery.len();
        let pieces = delivery.pieces();
        let count = pieces.len();
        let header = vnet::build(&delivery.offload, delivery.pieces().next().unwrap_or_default(), len);
        if count < GATHER {
            let mut gather = [IoSlice::new(&[]); GATHER];
            gather[0] = IoSlice::new(&header);
            for (slot, piece) in gather[1..].iter_mut().zip(pieces) {
                *slot = IoSlice::new(piece);
            }
            writev(&self.device, &gather[..=count])
        } else if count < MAX_GATHER {
            let mut gather = Vec::with_capacity(count + 1);
            gather.push(IoSlice::new(&header));
            gather.extend(pieces.map(IoSlice::new));
            writev(&self.device, &gather)
        } else {
            self.scratch.clear();
            pieces.for_each(|piece| self.scratch.extend_from_slice(piece));
            writev(&self.device, &[IoSlice::new(&header), IoSlice::new(&self.scratch)])
        }
    }
}

impl Waitable for Tun {
    fn handle(&self) -> Option<OsHandle<'_>> {
        Some(self.device.as_fd())
    }
}

impl Adapter for Tun {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        if let Some(error) = self.failed.take() {
            return Err(broken(error));
        }
        self.report = ReadReport::default();
        Ok(Batch { tun: self, frames: 0, bytes: 0 })
    }

    fn read_report(&self) -> ReadReport {
        self.report
    }

    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        let mut report = WriteReport::default();
        for delivery in deliveries.frames() {
            report.calls += 1;
            let written = loop {
                match self.write_one(&delivery) {
                    Err(Errno::EINTR) => report.calls += 1,
                    other => break other,
                }
            };
            match written {
                Ok(_) => report.written += 1,
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => report.full += 1,
                Err(Errno::EIO) => report.down += 1,
                Err(error @ (Errno::EBADF | Errno::EBADFD | Errno::ENODEV)) => return Err(broken(error)),
                Err(error) => {
                    tracing::trace!(%error, len = delivery.len(), "the host refused a frame");
                    report.refused += 1;
                }
            }
        }
        Ok(report)
    }

    fn mtu(&self) -> u32 {
        self.mtu
    }

    fn cuts_udp(&self) -> bool {
        self.cuts_udp
    }
}

/// A descriptor whose interface is gone is "in bad state".
fn broken(error: Errno) -> io::Error {
    if error == Errno::EBADFD { io::Error::other(Removed) } else { error.into() }
}

struct Batch<'a> {
    tun: &'a mut Tun,
    frames: u64,
    bytes: usize,
}

impl Frames for Batch<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let tun = &mut *self.tun;
        let offload = loop {
            if tun.report.drained || self.frames == BATCH_FRAMES || self.bytes >= BATCH_BYTES {
                return None;
            }
            tun.report.calls += 1;
            self.frames += 1;
            match read(&tun.device, &mut tun.buffer[FRAME_AT - HEADER..]) {
                Ok(len) if len > HEADER => {
                    self.bytes += len;
                    let mut header = [0; HEADER];
                    header.copy_from_slice(&tun.buffer[FRAME_AT - HEADER..FRAME_AT]);
                    let end = FRAME_AT - HEADER + len;
                    match vnet::parse(&header, &tun.buffer[FRAME_AT..end]) {
                        Some(offload) => break (offload, end),
                        None => tun.report.invalid += 1,
                    }
                }
                Ok(_) => tun.report.invalid += 1,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => tun.report.drained = true,
                Err(error) => {
                    // Not drained: the worker comes back at once and hears of it.
                    tun.failed = Some(error);
                    return None;
                }
            }
        };
        let (offload, end) = offload;
        Some(Frame { bytes: &mut tun.buffer[FRAME_AT..end], offload })
    }
}

#[cfg(test)]
mod tests;
