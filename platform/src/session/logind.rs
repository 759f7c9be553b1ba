//! Sessions of `systemd-logind`, over D-Bus: `org.freedesktop.login1`.
//!
//! Every signal of logind is a reason to look at all sessions again; the difference to what was known becomes events.
//! So nothing depends on the order of signals, on one that was missed while the bus was away, or on the properties that
//! logind changes without a signal.

use super::{
    SessionError, SessionEvent, SessionSource, Watch,
    seen::{Known, Seen},
};
use crate::clock;
use crossbeam_channel::{Sender, bounded, unbounded};
use std::{
    collections::HashMap,
    future::poll_fn,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::watch;
use zbus::{
    Connection, MatchRule, Message, MessageStream, connection,
    export::futures_core::Stream,
    message::Type,
    zvariant::{OwnedObjectPath, OwnedValue},
};

mod desktop;

const SERVICE: &str = "org.freedesktop.login1";
const MANAGER: &str = "/org/freedesktop/login1";
/// Signals come in bursts: a switch changes two sessions and their seat.
const SETTLE: Duration = Duration::from_millis(20);
/// Looked at anyway: a session that is closing changes its state without a signal.
const GLANCE: Duration = Duration::from_secs(30);
/// Until the bus is asked again after it was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Sessions told by logind, until this is dropped.
#[derive(Debug)]
pub struct Logind {
    shared: Arc<Mutex<Shared>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    known: Known,
    watchers: Vec<Sender<SessionEvent>>,
}

impl Logind {
    /// Whether this system is run by systemd with logind.
    #[must_use]
    pub fn present() -> bool {
        Path::new("/run/systemd/sessions").is_dir()
    }

    /// Follows logind on the system's bus (`DBUS_SYSTEM_BUS_ADDRESS`, or the usual place).
    ///
    /// # Errors
    /// There is no bus, or no logind on it.
    pub fn connect() -> Result<Self, SessionError> {
        Self::start(None)
    }

    /// Follows logind on the bus at a D-Bus address such as `unix:path=/run/dbus/system_bus_socket`.
    ///
    /// # Errors
    /// There is no bus, or no logind on it.
    pub fn connect_to(address: &str) -> Result<Self, SessionError> {
        Self::start(Some(address.to_owned()))
    }

    fn start(address: Option<String>) -> Result<Self, SessionError> {
        let shared = Arc::<Mutex<Shared>>::default();
        let (stop, stopped) = watch::channel(false);
        let (ready, started) = bounded(1);
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| SessionError::Logind { cause };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.into()))?;
        let kept = shared.clone();
        let thread = thread::Builder::new()
            .name("vestibule-logind".to_owned())
            .spawn(move || runtime.block_on(run(address.as_deref(), &kept, stopped, ready)))
            .map_err(|error| failed(error.into()))?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { shared, stop, thread: Some(thread) }),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(error) => Err(failed(error.into())),
        }
    }
}

impl SessionSource for Logind {
    fn watch(&self) -> Result<Watch, SessionError> {
        let boot_id = clock::boot_id().map_err(|cause| SessionError::Logind { cause: cause.into() })?;
        let mut shared = lock(&self.shared);
        let (sender, events) = unbounded();
        shared.watchers.push(sender);
        Ok(Watch { boot_id, sessions: shared.known.sessions().to_vec(), events })
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(shared: &Mutex<Shared>, change: impl FnOnce(&mut Known) -> Vec<SessionEvent>) {
    let mut shared = lock(shared);
    for event in change(&mut shared.known) {
        // Whoever has dropped their end watches no longer.
        shared.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }
}

/// Follows logind until it is stopped. The first attempt is answered through `ready`; after that a bus that is lost is
/// looked for again, and what was known stays.
async fn run(
    address: Option<&str>,
    shared: &Mutex<Shared>,
    mut stopped: watch::Receiver<bool>,
    ready: Sender<Result<(), zbus::Error>>,
) {
    let mut ready = Some(ready);
    loop {
        let error = tokio::select! {
            _ = stopped.changed() => return,
            result = follow(address, shared, &mut ready) => match result {
                Ok(never) => match never {},
                Err(error) => error,
            },
        };
        if let Some(ready) = ready.take() {
            let _ = ready.send(Err(error));
            return;
        }
        tracing::warn!(%error, "logind is out of reach: who is logged on is taken to be as it was");
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn follow(
    address: Option<&str>,
    shared: &Mutex<Shared>,
    ready: &mut Option<Sender<Result<(), zbus::Error>>>,
) -> Result<std::convert::Infallible, zbus::Error> {
    let builder = match address {
        Some(address) => connection::Builder::address(address)?,
        None => connection::Builder::system()?,
    };
    let bus = tokio::time::timeout(ANSWER, builder.method_timeout(ANSWER).build())
        .await
        .map_err(|_| zbus::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(SERVICE)?.build();
    // Before the first look, so that no change falls between the two.
    let mut signals = MessageStream::for_match_rule(rule, &bus, None).await?;
    let seen = look(&bus).await?;
    tell(shared, |known| if ready.is_some() { known.begin(seen) } else { known.observe(seen) });
    if let Some(ready) = ready.take() {
        let _ = ready.send(Ok(()));
    }
    loop {
        let mut burst = tokio::time::timeout(GLANCE, next(&mut signals)).await.ok();
        while let Some(signal) = burst {
            if let Some(event) = sleep(&signal?) {
                tell(shared, |_| vec![event]);
            }
            burst = tokio::time::timeout(SETTLE, next(&mut signals)).await.ok();
        }
        let seen = look(&bus).await?;
        tell(shared, |known| known.observe(seen));
    }
}

/// The next signal; an error when the bus is gone.
async fn next(signals: &mut MessageStream) -> Result<Message, zbus::Error> {
    let signal = poll_fn(|context| Pin::new(&mut *signals).poll_next(context)).await;
    signal.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()))
}

/// The event of a `PrepareForSleep`.
fn sleep(signal: &Message) -> Option<SessionEvent> {
    if signal.header().member()?.as_str() != "PrepareForSleep" {
        return None;
    }
    let begins: bool = signal.body().deserialize().ok()?;
    Some(if begins { SessionEvent::Suspend } else { SessionEvent::Resume })
}

/// All sessions there are.
async fn look(bus: &Connection) -> Result<Vec<Seen>, zbus::Error> {
    type Listed = (String, u32, String, String, OwnedObjectPath);
    let answer =
        bus.call_method(Some(SERVICE), MANAGER, Some("org.freedesktop.login1.Manager"), "ListSessions", &()).await?;
    let listed: Vec<Listed> = answer.body().deserialize()?;
    let mut seen = Vec::new();
    for (id, _, _, _, path) in listed {
        let properties = Some("org.freedesktop.DBus.Properties");
        let of = "org.freedesktop.login1.Session";
        match bus.call_method(Some(SERVICE), path.as_str(), properties, "GetAll", &of).await {
            Ok(answer) => seen.extend(session(id, &Properties(answer.body().deserialize()?))),
            // It ended since it was listed.
            Err(zbus::Error::MethodError(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

struct Properties(HashMap<String, OwnedValue>);

impl Properties {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(|value| value.downcast_ref::<&str>().ok()).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(|value| value.downcast_ref::<bool>().ok()).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(|value| value.downcast_ref::<u64>().ok()).unwrap_or_default()
    }

    /// The name of the seat, empty without one.
    fn seat(&self) -> String {
        let seat = self.0.get("Seat").and_then(|value| value.try_clone().ok());
        let seat = seat.and_then(|value| <(String, OwnedObjectPath)>::try_from(value).ok());
        seat.map(|(name, _)| name).unwrap_or_default()
    }
}

fn session(id: String, properties: &Properties) -> Option<Seen> {
    desktop::seen(
        id,
        &desktop::Facts {
            user: properties.text("Name"),
            class: properties.text("Class"),
            kind: properties.text("Type"),
            state: properties.text("State"),
            seat: &properties.seat(),
            remote: properties.flag("Remote"),
            active: properties.flag("Active"),
            locked: properties.flag("LockedHint"),
            since: properties.number("Timestamp"),
        },
    )
}

#[cfg(test)]
mod tests;
