//! The virtual network adapter: frames from the host to the engine and back, a batch at a time.
//!
//! On Linux this is a TUN device with `vnet_hdr` offloads (super-packets in both directions); [`memory`] is its twin.
//! On Windows it is Wintun: a batch lends ring slots one by one, `write` allocates, fills and sends slots in order, and a
//! session that the driver broke is restarted inside.

#[cfg_attr(target_os = "linux", path = "linux/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;
#[cfg(any(windows, test))]
pub(crate) mod ring;

#[cfg(windows)]
pub use imp::LibraryError;
pub use imp::Tun;
#[cfg(all(windows, any(test, feature = "stand-in")))]
pub use imp::stand_in;
#[cfg(all(windows, test))]
pub(crate) use imp::testing;

use crate::wait::Waitable;
use std::{io, time::Instant};
use vestibule_engine::packet::{DeliveryQueue, Frames};

/// A virtual network adapter, moved a batch at a time. No call blocks.
pub trait Adapter: Waitable + Send {
    /// Lends the frames at hand: an empty batch when there are none. Dropping the batch gives them back.
    ///
    /// # Errors
    /// The adapter is gone or broken beyond its own repair; the caller stops.
    fn read(&mut self) -> io::Result<impl Frames + '_>;

    /// What the last batch was. Ask once it is dropped.
    fn read_report(&self) -> ReadReport;

    /// Writes all frames, in order. What the host does not take is dropped and counted, never waited for.
    ///
    /// # Errors
    /// The adapter is gone or broken beyond its own repair; the caller stops.
    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport>;

    /// Largest packet the host sends into this adapter, in bytes.
    fn mtu(&self) -> u32;

    /// Whether the host cuts UDP super-packets that are written to it. Wintun never does; Linux does since 6.2.
    fn cuts_udp(&self) -> bool;

    /// When [`Self::nudge`] is to be called at the latest: what the host was given may be lying there, forgotten by its
    /// driver. `None` when there is nothing of that kind, and the worker may sleep for ever.
    fn nudge_at(&self) -> Option<Instant> {
        None
    }

    /// Makes the host look at what it was given. The worker reads once more after it, too.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn nudge(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The host's administrator has removed the adapter. What an [`Adapter`] fails with then, inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network interface was removed")]
pub struct Removed;

/// What one batch from an adapter was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// System calls (or ring operations) it took.
    pub calls: u64,
    /// Nothing more was waiting: sleep before reading again.
    pub drained: bool,
    /// Frames the host handed over that were unusable (truncated, impossible offload).
    pub invalid: u64,
    /// Times the host's side was found broken and begun anew, with the loss of what it held.
    pub restarts: u64,
}

/// What became of the frames of one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// System calls (or ring operations) it took.
    pub calls: u64,
    /// Frames the host took (a super-packet is one).
    pub written: u64,
    /// Dropped: the host's queue or ring was full.
    pub full: u64,
    /// Dropped: the host refused the frame (malformed, or an offload it does not take).
    pub refused: u64,
    /// Dropped: the adapter's link is down.
    pub down: u64,
    /// As in [`ReadReport`].
    pub restarts: u64,
}

impl WriteReport {
    /// All frames that did not arrive.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.full + self.refused + self.down
    }
}

/// How to make a [`Tun`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// Its name on the host, at most 15 bytes.
    pub name: String,
    /// Largest packet the host sends into it, in bytes. 1420 fits WireGuard into 1500 over IPv6.
    pub mtu: u32,
    /// Frames the host keeps for us while we are busy. The system's 500 overflow in 2.5 ms at 200,000 packets/s.
    pub queue: u32,
}

impl TunConfig {
    /// An adapter called `name` with an MTU of 1420.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), mtu: 1420, queue: 4096 }
    }
}

/// What making an adapter takes.
const PRIVILEGE: &str = if cfg!(windows) { "an administrator's or the system's rights" } else { "CAP_NET_ADMIN" };

/// Whether a name is fit for an adapter everywhere: 1 to 15 bytes that are visible, without `/`, `%` and `:`.
#[cfg(any(target_os = "linux", windows))]
fn check_name(name: &str) -> Result<(), AdapterError> {
    let unusable = |byte: u8| byte == b'/' || byte == b'%' || byte == b':' || byte <= b' ' || byte > b'~';
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.bytes().any(unusable) {
        return Err(AdapterError::Name { got: name.to_owned() });
    }
    Ok(())
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// An unusable name.
    #[error("adapter name {got:?} is not 1 to 15 bytes without `/`, `%`, spaces and zeros: choose another")]
    Name {
        /// Asked for.
        got: String,
    },
    /// No TUN device node.
    #[error("failed to open {path}: is the tun module loaded, and does this process have CAP_NET_ADMIN?")]
    Open {
        /// The device node.
        path: &'static str,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// A step of making the adapter failed.
    #[error("failed to {step} adapter {name:?}: it needs {}, and a name nothing else holds", PRIVILEGE)]
    Create {
        /// The adapter.
        name: String,
        /// What was being done.
        step: &'static str,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The name is that of an interface of another kind, or of another program.
    #[error("there is a network interface {name:?} already that is not ours: choose another name for the adapter")]
    Taken {
        /// Asked for.
        name: String,
    },
    /// A second instance.
    #[error(
        "adapter {name:?} is another program's, perhaps a second instance's of this one: end that first, or choose another name"
    )]
    Busy {
        /// Asked for.
        name: String,
    },
    /// `wintun.dll` cannot be used.
    #[cfg(windows)]
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
