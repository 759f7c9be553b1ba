//! A network namespace held by a thread.

use super::{SandboxError, link, step};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nix::sched::{CloneFlags, unshare};
use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
    thread,
};

type Work = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(in crate::sandbox) struct Namespace {
    name: String,
    handle: File,
    work: Sender<Work>,
}

impl Namespace {
    pub(in crate::sandbox) fn new(name: &str) -> Result<Self, SandboxError> {
        let (work, jobs) = unbounded::<Work>();
        let (opened, handle) = bounded(1);
        let holder = thread::Builder::new().name(format!("netns {name}"));
        let started = holder.spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET)
                .map_err(io::Error::from)
                .and_then(|()| File::open("/proc/thread-self/ns/net"));
            let failed = made.is_err();
            if opened.send(made).is_err() || failed {
                return;
            }
            // Each job starts a thread: threads are born into their maker's namespace.
            for job in jobs {
                job();
            }
        });
        step("start a namespace's thread", started)?;
        let lost = || SandboxError::Lost { namespace: name.to_owned() };
        let handle = step("make a network namespace", handle.recv().map_err(|_| lost())?)?;
        let namespace = Self { name: name.to_owned(), handle, work };
        link::loopback(&namespace)?;
        Ok(namespace)
    }

    pub(in crate::sandbox) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn raw_handle(&self) -> RawFd {
        self.handle.as_raw_fd()
    }

    pub(in crate::sandbox) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Receiver<T>, SandboxError> {
        let (done, answer) = bounded(1);
        let job = move || {
            // A thread that cannot start drops `done`, which the receiver sees.
            let _ = thread::Builder::new().name("in netns".to_owned()).spawn(move || {
                let _ = done.send(work());
            });
        };
        self.work.send(Box::new(job)).map_err(|_| SandboxError::Lost { namespace: self.name.clone() })?;
        Ok(answer)
    }
}
