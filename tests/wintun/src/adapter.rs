//! Adapters and their sessions, by name.

use crate::event::Event;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};
use vestibule_ring::{Device, Session, StartError};
use windows_sys::core::GUID;

/// An adapter of this process.
pub(crate) struct Adapter {
    pub(crate) name: String,
    pub(crate) guid: GUID,
    pub(crate) luid: u64,
    pub(crate) device: Arc<Device>,
    /// Set when the host has taken something from the ring.
    pub(crate) delivered: Arc<Event>,
    session: Mutex<Weak<Running>>,
}

/// What a session handle points to.
pub(crate) struct Running {
    pub(crate) device: Arc<Device>,
    pub(crate) session: Arc<Session>,
    /// Set when the host has sent something.
    pub(crate) readable: Event,
    /// Set when the program has sent something and the driver's thread sleeps.
    pub(crate) written: Arc<Event>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

static ADAPTERS: OnceLock<Mutex<HashMap<String, Arc<Adapter>>>> = OnceLock::new();
static LUIDS: AtomicU64 = AtomicU64::new(1);
/// `IF_TYPE_PROP_VIRTUAL`, which is in the upper 16 bits of a LUID.
const KIND: u64 = 53 << 48;

fn adapters() -> MutexGuard<'static, HashMap<String, Arc<Adapter>>> {
    lock(ADAPTERS.get_or_init(Mutex::default))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The adapter of this name.
pub(crate) fn find(name: &str) -> Option<Arc<Adapter>> {
    adapters().get(name).cloned()
}

/// The adapter of this LUID.
pub(crate) fn find_luid(luid: u64) -> Option<Arc<Adapter>> {
    adapters().values().find(|adapter| adapter.luid == luid).cloned()
}

/// Whether there is any adapter.
pub(crate) fn any() -> bool {
    !adapters().is_empty()
}

/// Makes an adapter; `None` when the name is taken.
pub(crate) fn create(name: &str, guid: GUID) -> Option<Arc<Adapter>> {
    let mut adapters = adapters();
    if adapters.contains_key(name) {
        return None;
    }
    let adapter = Arc::new(Adapter {
        name: name.to_owned(),
        guid,
        luid: KIND | LUIDS.fetch_add(1, SeqCst) << 24,
        device: Arc::default(),
        delivered: Arc::new(Event::new()?),
        session: Mutex::default(),
    });
    adapters.insert(name.to_owned(), adapter.clone());
    Some(adapter)
}

impl Adapter {
    /// Takes the adapter away, as its creator and an administrator may.
    pub(crate) fn remove(&self) {
        adapters().retain(|_, adapter| !std::ptr::eq(&**adapter, self));
        self.device.remove();
        if let Some(session) = self.session() {
            session.readable.set();
        }
    }

    /// The session that runs now.
    pub(crate) fn session(&self) -> Option<Arc<Running>> {
        lock(&self.session).upgrade()
    }

    /// Starts the one session, with a thread that is the driver's.
    pub(crate) fn start(&self, capacity: u32) -> Result<Arc<Running>, StartError> {
        let session = self.device.start(capacity)?;
        let (Some(readable), Some(written)) = (Event::new(), Event::new()) else {
            self.device.end();
            return Err(StartError::Removed);
        };
        let (written, stop) = (Arc::new(written), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (device, written) = (self.device.clone(), written.clone());
            let (stop, delivered) = (stop.clone(), self.delivered.clone());
            move || drive(&device, &written, &delivered, &stop)
        });
        let running = Arc::new(Running {
            device: self.device.clone(),
            session,
            readable,
            written,
            stop,
            thread: Mutex::new(Some(thread)),
        });
        *lock(&self.session) = Arc::downgrade(&running);
        Ok(running)
    }
}

impl Running {
    /// Ends the session: its thread first, so that what it has not taken yet stays lost.
    pub(crate) fn end(&self) {
        self.stop.store(true, SeqCst);
        self.written.set();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        self.device.end();
    }
}

/// The driver's thread: hands over what is in the ring, and sleeps until its event is set.
fn drive(device: &Device, written: &Event, delivered: &Event, stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        let before = device.counts().indicated;
        if !device.pump() {
            return;
        }
        if device.counts().indicated != before {
            delivered.set();
        }
        if device.fall_asleep() {
            written.wait(u32::MAX);
            device.wake_up();
        }
    }
}
