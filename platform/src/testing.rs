//! Network namespaces for tests against the kernel, and the system's services played on a bus of the test's own.
//! The namespaces have no names: nothing stays behind, whatever a test does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

// Shared with the end-to-end tests.
#[allow(unreachable_pub)]
#[path = "../../tests/src/bus.rs"]
pub(crate) mod bus;
#[allow(unreachable_pub)]
#[path = "../../tests/src/login1.rs"]
pub(crate) mod login1;
#[allow(unreachable_pub)]
#[path = "../../tests/src/resolve1.rs"]
pub(crate) mod resolve1;

use crate::{
    files::scratch::Scratch,
    netcfg::linux_testing::{link_up, veth},
};
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

/// A bus in `scratch`; `None`, and a line printed, where the tests of this kind are off.
pub(crate) fn private_bus(scratch: &Scratch) -> Option<bus::Bus> {
    if std::env::var("VESTIBULE_END_TO_END").is_ok_and(|word| word == "off") {
        println!("skipped: VESTIBULE_END_TO_END=off");
        return None;
    }
    Some(bus::Bus::start(&scratch.path("bus")))
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
