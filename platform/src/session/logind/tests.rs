//! Against a private bus and a stand-in for logind that the tests play.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{
    files::scratch::Scratch,
    session::Seat,
    testing::{
        bus::Bus,
        login1::{Login1, Manager, Session},
        private_bus,
    },
};
use std::time::Instant;

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
    let Some(bus) = private_bus(&scratch) else { return };
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
    let Some(bus) = private_bus(&scratch) else { return };
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
    let Some(bus) = private_bus(&scratch) else { return };
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
    let bus = Bus::start(&scratch.path("bus"));
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
    let Some(bus) = private_bus(&scratch) else { return };
    let start = Instant::now();
    let nowhere = format!("unix:path={}", scratch.path("nowhere").display());
    for address in [nowhere.as_str(), bus.address.as_str()] {
        let error = Logind::connect_to(address).unwrap_err();
        assert!(matches!(error, SessionError::Logind { .. }), "{error:?}");
        assert!(error.to_string().contains("system bus"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(15));
}
