//! A sandbox of processes and network namespaces that the kernel itself takes away.
//!
//! [`confine`] runs this program again as the first process of a fresh PID namespace and arms the kernel to kill it
//! when the caller dies, however that happens. [`settle`], called first thing by that second run, gives it network and
//! mount namespaces of its own. Nothing inside has a name outside: when the first process goes, every process, network
//! namespace, virtual cable and TUN device in the sandbox goes with it, and there is nothing left to clean up.
//!
//! [`Namespace`] is one host inside: a network namespace held by a thread. [`cable`] joins two of them.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "unsupported.rs"]
mod imp;

pub mod path;

use std::{ffi::OsString, io, net::IpAddr};

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The operating system has no such thing.
    #[error("network namespaces do not exist on {}: use the userspace mode", std::env::consts::OS)]
    Unsupported,
    /// A step failed.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A netlink request failed.
    #[error("cannot {step} in namespace `{namespace}`: {cause}")]
    Netlink {
        /// What was tried.
        step: &'static str,
        /// Where.
        namespace: String,
        /// What the kernel said.
        cause: String,
    },
    /// The thread that holds a namespace is gone, or the work given to it panicked.
    #[error("work in namespace `{namespace}` did not finish")]
    Lost {
        /// Where.
        namespace: String,
    },
}

/// What stands between this process and a sandbox, one sentence each; empty when nothing does.
#[must_use]
pub fn missing() -> Vec<String> {
    imp::missing()
}

/// How the confined process ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Exited {
        /// Its exit status.
        code: u8,
        /// What it said with [`Link::report`].
        report: Vec<u8>,
    },
    /// A signal to this process ended it.
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
}

/// What a Ctrl-C, hang-up or termination of the waiting process does to the confined one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSignal {
    /// Ends it at once.
    End,
    /// Asks it to come to an end ([`Link::asked_to_end`]); a second signal ends it at once.
    Ask,
}

/// Runs this program again with `arguments`, confined to fresh namespaces, and waits for its end. `on_signal` says what
/// becomes of it when this process is interrupted.
///
/// Call it from the main thread of a process that starts no other thread: the kernel arms the death of the caller's
/// thread, and refuses new threads afterwards.
///
/// # Errors
/// The kernel refuses the namespace or the second run.
pub fn confine(arguments: &[OsString], on_signal: OnSignal) -> Result<Ended, SandboxError> {
    imp::confine(arguments, on_signal)
}

/// The confined process's line to the one that waits for it.
#[derive(Debug)]
pub struct Link(imp::Link);

impl Link {
    /// Hands `bytes` to the waiting process, in addition to what was reported before.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn report(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.report(bytes)
    }

    /// The waiting process was interrupted, and wants this one to come to an end. Does not wait.
    #[must_use]
    pub fn asked_to_end(&self) -> bool {
        self.0.asked_to_end()
    }
}

/// Inside the sandbox: puts an empty disk of `bytes` on the directory `path`. It goes with the sandbox.
///
/// # Errors
/// Not inside, or the kernel refuses.
pub fn small_disk(path: &std::path::Path, bytes: u64) -> Result<(), SandboxError> {
    imp::small_disk(path, bytes)
}

/// Called first thing in the confined process, before any thread starts: arms the kernel, then makes the network and
/// mount namespaces, `/proc`, and an empty `/run`.
///
/// # Errors
/// Not confined, or the kernel refuses a step.
pub fn settle() -> Result<Link, SandboxError> {
    imp::settle().map(Link)
}

/// One host of the sandbox: a network namespace, held by a thread. It ends with the last process or thread in it.
#[derive(Debug)]
pub struct Namespace(imp::Namespace);

impl Namespace {
    /// A new, empty network namespace with its loopback up. `name` is for messages alone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(name: &str) -> Result<Self, SandboxError> {
        imp::Namespace::new(name).map(Self)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Runs `work` on a new thread inside: sockets it opens and processes it starts belong to this namespace.
    ///
    /// # Errors
    /// The namespace's thread is gone.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Running<T>, SandboxError> {
        self.0.spawn(work).map(|answer| Running { answer, namespace: self.name().to_owned() })
    }

    /// Runs `work` inside and waits for it.
    ///
    /// # Errors
    /// As [`Self::spawn`], or `work` panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, SandboxError> {
        self.spawn(work)?.join()
    }
}

/// Work under way in a [`Namespace`].
#[derive(Debug)]
pub struct Running<T> {
    answer: crossbeam_channel::Receiver<T>,
    namespace: String,
}

impl<T> Running<T> {
    /// Waits for the work's result.
    ///
    /// # Errors
    /// The work panicked.
    pub fn join(self) -> Result<T, SandboxError> {
        self.answer.recv().map_err(|_| SandboxError::Lost { namespace: self.namespace })
    }
}

/// One end of a [`cable`].
#[derive(Debug)]
pub struct End<'a> {
    /// Where it is plugged in.
    pub namespace: &'a Namespace,
    /// Interface name there.
    pub interface: &'a str,
    /// Addresses with prefix length; the host answers on all of them.
    pub addresses: &'a [(IpAddr, u8)],
}

/// Joins two namespaces with a virtual Ethernet cable, both ends up.
///
/// # Errors
/// The kernel refuses a request.
pub fn cable(a: &End<'_>, b: &End<'_>) -> Result<(), SandboxError> {
    imp::cable(a, b)
}

/// Sends what `end` sends to `other` along their [`cable`] astray, or no longer: neither of them is told.
///
/// # Errors
/// The kernel refuses a request.
pub fn mislead(end: &End<'_>, other: &End<'_>, astray: bool) -> Result<(), SandboxError> {
    imp::mislead(end, other, astray)
}

/// Takes the address `old` from `interface` and gives it `new` instead, both with their prefix length. The interface stays
/// up, and routes through it stay, too.
///
/// # Errors
/// The kernel refuses a request.
pub fn readdress(
    namespace: &Namespace,
    interface: &str,
    old: (IpAddr, u8),
    new: (IpAddr, u8),
) -> Result<(), SandboxError> {
    imp::readdress(namespace, interface, old, new)
}

/// Adds a route to `destination`/`prefix` by way of `gateway` in `namespace`.
///
/// # Errors
/// The kernel refuses the request.
pub fn route(namespace: &Namespace, destination: IpAddr, prefix: u8, gateway: IpAddr) -> Result<(), SandboxError> {
    imp::route(namespace, destination, prefix, gateway)
}
