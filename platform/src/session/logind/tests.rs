//! Against a private bus and a stand-in for logind that the tests play.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{files::scratch::Scratch, session::Seat};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};
use zbus::zvariant::{ObjectPath, Value};

/// A `dbus-daemon` of the test's own.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// `None` where the tests of this kind are off.
    fn start(scratch: &Scratch) -> Option<Self> {
        if std::env::var("VESTIBULE_END_TO_END").is_ok_and(|word| word == "off") {
            println!("skipped: VESTIBULE_END_TO_END=off");
            return None;
        }
        let address = format!("unix:path={}", scratch.path("bus").display());
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address", "--address", &address])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is missing: tests/setup installs it");
        // It prints its address when it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with(&address), "{line}");
        Some(Self { daemon, address })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[derive(Clone)]
struct Session {
    id: String,
    user: String,
    class: &'static str,
    kind: &'static str,
    seat: &'static str,
    remote: bool,
    active: bool,
    locked: bool,
    closing: bool,
    since: u64,
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

#[derive(Clone, Default)]
struct Manager(Arc<Mutex<Vec<Session>>>);

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

/// The stand-in: what it says is what the test made it say, and it signals as logind does.
struct Login1 {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    manager: Manager,
    clock: u64,
}

impl Login1 {
    fn start(bus: &Bus, manager: Manager) -> Self {
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

    fn login(&mut self, id: &str, user: &str, change: impl FnOnce(Session) -> Session) {
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

    fn change(&self, id: &str, what: impl Fn(&mut Session)) {
        self.manager.0.lock().unwrap().iter_mut().filter(|session| session.id == id).for_each(&what);
        self.runtime.block_on(async {
            let of = self.connection.object_server().interface::<_, Session>(path(id)).await.unwrap();
            what(&mut *of.get_mut().await);
        });
    }

    /// `seat0` shows this session, and no other.
    fn show(&self, id: &str) {
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

    fn lock(&self, id: &str, locked: bool) {
        self.change(id, |session| session.locked = locked);
        self.changed(&path(id), "org.freedesktop.login1.Session", "LockedHint", Value::from(locked));
    }

    fn end(&self, id: &str) {
        self.manager.0.lock().unwrap().retain(|session| session.id != id);
        self.runtime.block_on(self.connection.object_server().remove::<Session, _>(path(id))).unwrap();
        self.manager_signal("SessionRemoved", id);
    }

    fn sleep(&self, begins: bool) {
        self.signal(MANAGER, "org.freedesktop.login1.Manager", "PrepareForSleep", &begins);
    }
}

fn logon(user: &str, session: &str, seat: Seat) -> SessionEvent {
    SessionEvent::Logon { user: user.into(), session: session.into(), seat }
}

fn activated(session: &str) -> SessionEvent {
    SessionEvent::Activated { session: session.into(), seat: Seat::Console }
}

fn logoff(session: &str) -> SessionEvent {
    SessionEvent::Logoff { session: session.into() }
}

fn deactivated(session: &str) -> SessionEvent {
    SessionEvent::Deactivated { session: session.into() }
}

#[track_caller]
fn told(watch: &Watch, expected: &[SessionEvent]) {
    for event in expected {
        assert_eq!(watch.events.recv_timeout(Duration::from_secs(10)).as_ref(), Ok(event));
    }
    assert!(watch.events.is_empty(), "{:?} besides", watch.events.try_recv());
}

#[test]
fn a_day_of_logins_switches_locks_remote_sessions_and_sleep() {
    let scratch = Scratch::new();
    let Some(bus) = Bus::start(&scratch) else { return };
    let mut login1 = Login1::start(&bus, Manager::default());
    login1.login("c1", "gdm", |session| Session { class: "greeter", active: true, ..session });
    let source = Logind::connect_to(&bus.address).unwrap();
    let watch = source.watch().unwrap();
    assert_eq!((watch.boot_id, watch.sessions), (clock::boot_id().unwrap(), Vec::new()));
    let watch = source.watch().unwrap();

    login1.login("2", "anna", |session| session);
    login1.login("3", "anna", |session| Session { class: "manager", kind: "unspecified", seat: "", ..session });
    login1.show("2");
    told(&watch, &[logon("anna", "2", Seat::Console)]);
    login1.lock("2", true);
    told(&watch, &[SessionEvent::Lock]);
    login1.lock("2", false);
    told(&watch, &[SessionEvent::Unlock]);

    // A fast user switch past the greeter, and one straight back.
    login1.show("c1");
    told(&watch, &[deactivated("2")]);
    login1.login("4", "ben", |session| session);
    login1.show("4");
    told(&watch, &[logon("ben", "4", Seat::Console)]);
    login1.show("2");
    told(&watch, &[activated("2")]);

    // A remote desktop beside it, and a shell over the network that is none.
    login1.login("5", "root", |session| Session { kind: "tty", seat: "", remote: true, active: true, ..session });
    login1.login("6", "cleo", |session| Session { kind: "x11", seat: "", remote: true, active: true, ..session });
    told(&watch, &[logon("cleo", "6", Seat::Remote)]);
    let now = source.watch().unwrap().sessions;
    let now: Vec<_> = now.iter().map(|session| (session.id.as_str(), session.user.as_str(), session.active)).collect();
    assert_eq!(now, [("4", "ben", false), ("2", "anna", true), ("6", "cleo", true)]);
    login1.end("6");
    told(&watch, &[logoff("6")]);

    login1.sleep(true);
    told(&watch, &[SessionEvent::Suspend]);
    login1.sleep(false);
    told(&watch, &[SessionEvent::Resume]);

    // Ben ends his in the background; anna logs off and leaves a process behind, so that hers is only closing.
    login1.end("4");
    told(&watch, &[logoff("4")]);
    login1.change("2", |session| session.closing = true);
    login1.show("c1");
    told(&watch, &[logoff("2")]);
    login1.end("2");
    login1.login("7", "anna", |session| session);
    login1.show("7");
    told(&watch, &[logon("anna", "7", Seat::Console)]);
}

#[test]
fn who_was_logged_on_before_the_service_is_known_in_the_order_of_activation() {
    let scratch = Scratch::new();
    let Some(bus) = Bus::start(&scratch) else { return };
    let mut login1 = Login1::start(&bus, Manager::default());
    for (id, user) in [("1", "anna"), ("2", "ben"), ("3", "cleo")] {
        login1.login(id, user, |session| session);
    }
    login1.show("1");
    let source = Logind::connect_to(&bus.address).unwrap();
    let sessions = source.watch().unwrap().sessions;
    let sessions: Vec<_> = sessions.iter().map(|session| (session.user.as_str(), session.active)).collect();
    assert_eq!(sessions, [("ben", false), ("cleo", false), ("anna", true)]);
}

#[test]
fn a_bus_that_restarts_is_found_again_and_what_happened_meanwhile_is_told() {
    let scratch = Scratch::new();
    let Some(bus) = Bus::start(&scratch) else { return };
    let manager = Manager::default();
    let mut login1 = Login1::start(&bus, manager.clone());
    login1.login("1", "anna", |session| session);
    login1.show("1");
    let source = Logind::connect_to(&bus.address).unwrap();
    let watch = source.watch().unwrap();
    assert_eq!(watch.sessions.len(), 1);
    drop(login1);
    drop(bus);
    std::fs::remove_file(scratch.path("bus")).unwrap_or_default();
    // Nobody is logged off because the bus is.
    assert!(watch.events.recv_timeout(Duration::from_millis(300)).is_err());
    manager.0.lock().unwrap()[0].active = false;
    let bus = Bus::start(&scratch).unwrap();
    let mut login1 = Login1::start(&bus, manager);
    login1.clock = 1;
    login1.login("2", "ben", |session| Session { active: true, ..session });
    assert_eq!(watch.events.recv_timeout(Duration::from_secs(20)), Ok(logon("ben", "2", Seat::Console)));
    login1.end("1");
    told(&watch, &[logoff("1")]);
}

#[test]
fn without_a_bus_or_without_logind_there_is_no_source() {
    let scratch = Scratch::new();
    let Some(bus) = Bus::start(&scratch) else { return };
    let start = Instant::now();
    let nowhere = format!("unix:path={}", scratch.path("nowhere").display());
    for address in [nowhere.as_str(), bus.address.as_str()] {
        let error = Logind::connect_to(address).unwrap_err();
        assert!(matches!(error, SessionError::Logind { .. }), "{error:?}");
        assert!(error.to_string().contains("system bus"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(15));
}
