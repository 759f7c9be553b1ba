//! A stand-in for systemd-logind (`org.freedesktop.login1`) on a bus of the test's own: what it says is what the test
//! made it say, and it signals as logind does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::bus::Bus;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use zbus::zvariant::{ObjectPath, Value};
use zbus::{Connection, connection};

const SERVICE: &str = "org.freedesktop.login1";
const MANAGER: &str = "/org/freedesktop/login1";

/// A session as logind has it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// `user`, `greeter`, `manager`.
    pub class: &'static str,
    /// `wayland`, `x11`, `tty`, `unspecified`.
    pub kind: &'static str,
    /// `seat0`, or empty.
    pub seat: &'static str,
    /// Over the network.
    pub remote: bool,
    /// Shown.
    pub active: bool,
    /// Behind a lock screen.
    pub locked: bool,
    /// Ended, with a process left behind.
    pub closing: bool,
    /// Greater for what began later.
    pub since: u64,
}

fn path(id: &str) -> String {
    format!("/org/freedesktop/login1/session/_{id}")
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn name(&self) -> &str {
        &self.user
    }
    #[zbus(property)]
    fn class(&self) -> &str {
        self.class
    }
    #[zbus(property, name = "Type")]
    fn kind(&self) -> &str {
        self.kind
    }
    #[zbus(property)]
    fn state(&self) -> &str {
        match (self.closing, self.active) {
            (true, _) => "closing",
            (_, true) => "active",
            _ => "online",
        }
    }
    #[zbus(property)]
    fn seat(&self) -> (String, ObjectPath<'static>) {
        let path = if self.seat.is_empty() { "/" } else { "/org/freedesktop/login1/seat/seat0" };
        (self.seat.to_owned(), ObjectPath::from_static_str_unchecked(path))
    }
    #[zbus(property)]
    fn remote(&self) -> bool {
        self.remote
    }
    #[zbus(property)]
    fn active(&self) -> bool {
        self.active
    }
    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.locked
    }
    #[zbus(property)]
    fn timestamp(&self) -> u64 {
        self.since
    }
}

type Listed = (String, u32, String, String, ObjectPath<'static>);

/// What it knows; clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Manager(pub Arc<Mutex<Vec<Session>>>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn list_sessions(&self) -> Vec<Listed> {
        let listed = |session: &Session| {
            let path = ObjectPath::try_from(path(&session.id)).unwrap();
            (session.id.clone(), 1000, session.user.clone(), session.seat.to_owned(), path)
        };
        self.0.lock().unwrap().iter().map(listed).collect()
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct Login1 {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    manager: Manager,
    /// `since` of the session that began last.
    pub clock: u64,
}

impl Login1 {
    /// One that knows these sessions.
    ///
    /// # Panics
    /// When the bus is not there.
    #[must_use]
    pub fn start(bus: &Bus, manager: Manager) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let connection = connection::Builder::address(bus.address.as_str())
                .unwrap()
                .serve_at(MANAGER, manager.clone())
                .unwrap()
                .build()
                .await
                .unwrap();
            let sessions = manager.0.lock().unwrap().clone();
            for session in sessions {
                connection.object_server().at(path(&session.id), session).await.unwrap();
            }
            connection.request_name(SERVICE).await.unwrap();
            connection
        });
        Self { runtime, connection, manager, clock: 0 }
    }

    fn signal(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &(impl zbus::export::serde::Serialize + zbus::zvariant::DynamicType),
    ) {
        self.runtime.block_on(self.connection.emit_signal(None::<&str>, path, interface, member, body)).unwrap();
    }

    fn manager_signal(&self, member: &str, id: &str) {
        let body = (id, ObjectPath::try_from(path(id)).unwrap());
        self.signal(MANAGER, "org.freedesktop.login1.Manager", member, &body);
    }

    /// A session begins.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn login(&mut self, id: &str, user: &str, change: impl FnOnce(Session) -> Session) {
        self.clock += 1;
        let session = change(Session {
            id: id.to_owned(),
            user: user.to_owned(),
            class: "user",
            kind: "wayland",
            seat: "seat0",
            remote: false,
            active: false,
            locked: false,
            closing: false,
            since: self.clock,
        });
        self.manager.0.lock().unwrap().push(session.clone());
        self.runtime.block_on(self.connection.object_server().at(path(id), session)).unwrap();
        self.manager_signal("SessionNew", id);
    }

    /// A session's properties change without a signal.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn change(&self, id: &str, what: impl Fn(&mut Session)) {
        self.manager.0.lock().unwrap().iter_mut().filter(|session| session.id == id).for_each(&what);
        self.runtime.block_on(async {
            let of = self.connection.object_server().interface::<_, Session>(path(id)).await.unwrap();
            what(&mut *of.get_mut().await);
        });
    }

    /// `seat0` shows this session, and no other.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn show(&self, id: &str) {
        let all: Vec<String> =
            self.manager.0.lock().unwrap().iter().filter(|one| one.seat == "seat0").map(|one| one.id.clone()).collect();
        for one in &all {
            self.change(one, |session| session.active = session.id == id);
        }
        for one in &all {
            self.changed(&path(one), "org.freedesktop.login1.Session", "Active", Value::from(one == id));
        }
        let seat = "/org/freedesktop/login1/seat/seat0";
        let shown = Value::from((id, ObjectPath::try_from(path(id)).unwrap()));
        self.changed(seat, "org.freedesktop.login1.Seat", "ActiveSession", shown);
    }

    fn changed(&self, path: &str, interface: &str, name: &str, value: Value<'_>) {
        let body = (interface, HashMap::from([(name, value)]), Vec::<&str>::new());
        self.signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body);
    }

    /// A desktop is locked or unlocked.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn lock(&self, id: &str, locked: bool) {
        self.change(id, |session| session.locked = locked);
        self.changed(&path(id), "org.freedesktop.login1.Session", "LockedHint", Value::from(locked));
    }

    /// A session ends.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn end(&self, id: &str) {
        self.manager.0.lock().unwrap().retain(|session| session.id != id);
        self.runtime.block_on(self.connection.object_server().remove::<Session, _>(path(id))).unwrap();
        self.manager_signal("SessionRemoved", id);
    }

    /// The system is about to sleep, or woke up.
    ///
    /// # Panics
    /// When the bus is gone.
    pub fn sleep(&self, begins: bool) {
        self.signal(MANAGER, "org.freedesktop.login1.Manager", "PrepareForSleep", &begins);
    }
}
