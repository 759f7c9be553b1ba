//! Network namespaces for tests against the kernel. They have no names: nothing stays behind, whatever a test does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::netcfg::linux_testing::{link_up, veth};
use nix::sched::{CloneFlags, setns, unshare};
use std::{fs::File, panic::resume_unwind, thread};

/// One network namespace; it lives as long as this and what was opened in it.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Runs `body` on a thread inside.
    pub(crate) fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            body()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Joins the namespaces by a veth pair, which is called `wire` in both and is up.
    pub(crate) fn wire(&self, other: &Self) {
        self.run(|| veth("wire", "wire-peer", "wire", &other.0));
        other.run(|| link_up("wire"));
    }
}

/// Fresh namespaces with their loopback up; `None`, and the reason printed, where they cannot be had.
pub(crate) fn namespaces<const N: usize>() -> Option<[Namespace; N]> {
    let mut all = Vec::new();
    for _ in 0..N {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let namespace = Namespace(File::open("/proc/thread-self/ns/net").unwrap());
            link_up("lo");
            Ok::<_, nix::Error>(namespace)
        });
        match made.join().unwrap() {
            Ok(namespace) => all.push(namespace),
            Err(error) => {
                eprintln!("skipped: network namespaces need root ({error})");
                return None;
            }
        }
    }
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        eprintln!("skipped: no TUN device to be had ({error})");
        return None;
    }
    all.try_into().ok()
}
