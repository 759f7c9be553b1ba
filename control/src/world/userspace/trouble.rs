//! What may be done to the device of a world of memory on purpose.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use vestibule_engine::packet::{DeliveryQueue, Frames};
use vestibule_platform::{
    adapter::{Adapter, ReadReport, WriteReport},
    wait::{Bell, OsHandle, Waitable},
};

/// Longest that a worker stands still, should nobody let it go on.
const STILL: Duration = Duration::from_secs(60);

/// What is done at the moment. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    frozen: AtomicBool,
    /// The adapter's session breaks at the next read, and the next write.
    reading: AtomicBool,
    writing: AtomicBool,
}

impl Trouble {
    /// Nothing gets through between device and gateway, or everything again.
    pub(super) fn cut(&self, cut: bool) {
        self.0.cut.store(cut, Ordering::SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::SeqCst)
    }

    /// See [`Self::stand_still`].
    pub(super) fn freeze(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::SeqCst);
    }

    /// Does not return while frozen.
    pub(super) fn stand_still(&self) {
        let begun = std::time::Instant::now();
        while self.0.frozen.load(Ordering::SeqCst) && begun.elapsed() < STILL {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The adapter's session breaks.
    pub(super) fn break_adapter(&self) {
        self.0.reading.store(true, Ordering::SeqCst);
        self.0.writing.store(true, Ordering::SeqCst);
    }
}

/// An adapter whose session can break: what waits in it is lost, and it goes on with a new one.
#[derive(Debug)]
pub(super) struct Breakable<A> {
    /// The adapter.
    pub adapter: A,
    /// What is done to it.
    pub trouble: Trouble,
}

impl<A: Waitable> Waitable for Breakable<A> {
    fn handle(&self) -> Option<OsHandle<'_>> {
        self.adapter.handle()
    }

    fn attach(&mut self, bell: &Bell) {
        self.adapter.attach(bell);
    }
}

impl<A: Adapter> Adapter for Breakable<A> {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        if self.trouble.0.reading.swap(false, Ordering::SeqCst) {
            loop {
                let mut lost = self.adapter.read()?;
                while lost.next_frame().is_some() {}
                drop(lost);
                if self.adapter.read_report().drained {
                    break;
                }
            }
        }
        self.adapter.read()
    }

    fn read_report(&self) -> ReadReport {
        self.adapter.read_report()
    }

    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        if self.trouble.0.writing.swap(false, Ordering::SeqCst) {
            return Ok(WriteReport { down: deliveries.frames().count() as u64, ..WriteReport::default() });
        }
        self.adapter.write(deliveries)
    }

    fn mtu(&self) -> u32 {
        self.adapter.mtu()
    }

    fn cuts_udp(&self) -> bool {
        self.adapter.cuts_udp()
    }
}
