//! The two processes of a sandbox: the one outside that waits, the one inside that is process 1.

use super::{SandboxError, step};
use crate::sandbox::{Ended, OnSignal};
use nix::{
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        socket::{MsgFlags, recv},
    },
    unistd::getpid,
};
use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
};

/// Said by the inner process once the kernel is armed, and answered by the outer one while it lives.
const HANDSHAKE: u8 = b'v';
/// Said by the outer process when it wants the inner one to come to an end.
const END: u8 = b'e';

/// Capabilities that the sandbox needs: bit (capability.h) and name.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (21, "CAP_SYS_ADMIN", "to make namespaces"),
    (12, "CAP_NET_ADMIN", "to make TUN devices, cables and routes"),
    (13, "CAP_NET_RAW", "to count handshakes on the wire"),
];

pub(in crate::sandbox) fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    let effective = crate::rights::effective_capabilities().unwrap_or(0);
    for (bit, name, purpose) in CAPABILITIES {
        if effective & (1 << bit) == 0 {
            missing.push(format!("{name} {purpose} (run as root)"));
        }
    }
    for namespace in ["pid", "net", "mnt"] {
        if !fs::exists(format!("/proc/self/ns/{namespace}")).unwrap_or(false) {
            missing.push(format!("a kernel with {namespace} namespaces"));
        }
    }
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        missing.push(format!("/dev/net/tun, which cannot be opened: {error} (modprobe tun, or --device /dev/net/tun)"));
    }
    missing
}

pub(in crate::sandbox) fn confine(arguments: &[OsString], on_signal: OnSignal) -> Result<Ended, SandboxError> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    step("hold back signals", signals.thread_block())?;
    let signals = step("listen for signals", SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC))?;

    step("make a process namespace", unshare(CloneFlags::CLONE_NEWPID))?;
    let (mut ours, theirs) = step("make a socket pair", UnixStream::pair())?;
    let mut command = Command::new("/proc/self/exe");
    // A process group of its own: a Ctrl-C at the terminal reaches this process alone, which then ends the other.
    command.args(arguments).stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
    let mut child = step("start the confined process", command.spawn())?;
    drop(command);

    let outcome = attend(&mut child, &mut ours, &signals, on_signal);
    if !matches!(outcome, Ok(Ended::Exited { .. })) {
        // Its death takes the namespace's other processes along; the wait ends when the last one is gone.
        let _ = child.kill();
        let _ = child.wait();
    }
    step("wait for the confined process", outcome)
}

/// Answers the handshake, collects the report, and watches for signals until the child ends.
fn attend(child: &mut Child, link: &mut UnixStream, signals: &SignalFd, mut on_signal: OnSignal) -> io::Result<Ended> {
    let mut report = Vec::new();
    let mut greeted = false;
    let mut buffer = vec![0; 65_536];
    loop {
        let mut ready = [PollFd::new(link.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let signalled = ready[1].any().unwrap_or(false);
        let spoken = ready[0].any().unwrap_or(false);
        if signalled && let Some(info) = signals.read_signal()? {
            if std::mem::replace(&mut on_signal, OnSignal::End) == OnSignal::Ask {
                link.write_all(&[END])?;
                continue;
            }
            return Ok(Ended::Interrupted { signal: i32::try_from(info.ssi_signo).unwrap_or(libc::SIGTERM) });
        }
        if spoken {
            let count = link.read(&mut buffer)?;
            if count == 0 {
                let status = child.wait()?;
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
                return Ok(Ended::Exited { code: u8::try_from(code).unwrap_or(1), report });
            }
            let mut bytes = &buffer[..count];
            if !greeted && let [HANDSHAKE, rest @ ..] = bytes {
                greeted = true;
                link.write_all(&[HANDSHAKE])?;
                bytes = rest;
            }
            report.extend_from_slice(bytes);
        }
    }
}

#[derive(Debug)]
pub(in crate::sandbox) struct Link(UnixStream);

impl Link {
    pub(in crate::sandbox) fn report(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(in crate::sandbox) fn asked_to_end(&self) -> bool {
        // A parent that is gone asks as well.
        recv(self.0.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).is_ok()
    }
}

pub(in crate::sandbox) fn settle() -> Result<Link, SandboxError> {
    inside()?;
    step("ask the kernel to end this process with its parent", prctl::set_pdeathsig(Signal::SIGKILL))?;
    // A parent that died before the kernel was armed never answers: the read meets the closed socket, and we end.
    let link = step("take the line to the parent", io::stdin().as_fd().try_clone_to_owned())?;
    let mut link = UnixStream::from(link);
    let mut answer = [0];
    step("greet the parent", link.write_all(&[HANDSHAKE]))?;
    step("hear from the parent", link.read_exact(&mut answer))?;
    step("close standard input", null_stdin())?;

    step("make network and mount namespaces", unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS))?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("keep mounts to ourselves", mount(none, "/", none, private, none))?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    step("mount /proc", mount(Some("proc"), "/proc", Some("proc"), plain, none))?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step("mount an empty /run", mount(Some("tmpfs"), "/run", Some("tmpfs"), plain, Some("mode=0755")))?;
    Ok(Link(link))
}

pub(in crate::sandbox) fn small_disk(path: &Path, bytes: u64) -> Result<(), SandboxError> {
    inside()?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let size = format!("size={bytes},mode=0700");
    step("mount a small disk", mount(Some("tmpfs"), path, Some("tmpfs"), plain, Some(size.as_str())))
}

/// Fails outside of a sandbox, whose first process this is.
fn inside() -> Result<(), SandboxError> {
    if getpid().as_raw() == 1 {
        return Ok(());
    }
    let cause = io::Error::other("this is not the first process of a sandbox: start `vestibule demo`");
    Err(SandboxError::Step { step: "go on", cause })
}

/// Puts `/dev/null` in the place of standard input, so that no child holds the line.
fn null_stdin() -> io::Result<()> {
    let null = fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(null).map_err(io::Error::from)
}
