#![allow(clippy::unwrap_used)]

use super::*;
use crate::files::scratch::Scratch;
use std::os::unix::fs::symlink;

const FORMER: &str = "# mine\nnameserver 192.0.2.53\nsearch lan\n";

fn config(search: &str) -> ResolverConfig {
    ResolverConfig {
        interface: "vestibule0".into(),
        servers: vec!["127.0.2.2".parse().unwrap()],
        domains: vec!["corp.example".into()],
        search: vec![search.into()],
    }
}

/// A system with `FORMER` in its file.
fn system(scratch: &Scratch) -> (System, PathBuf) {
    let (path, state) = (scratch.path("resolv.conf"), scratch.path("state"));
    fs::create_dir_all(&state).unwrap();
    fs::write(&path, FORMER).unwrap();
    (System::at(&path, state), path)
}

/// Nothing is left to put back.
fn assert_forgotten(scratch: &Scratch) {
    assert_eq!(fs::read_dir(scratch.path("state")).unwrap().count(), 0);
}

#[test]
fn the_file_is_replaced_changed_and_put_back() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    assert_eq!(system.servers().unwrap(), ["192.0.2.53".parse::<IpAddr>().unwrap()]);
    let mut applied = system.apply(&config("corp.example")).unwrap();
    assert_eq!(applied.keeper(), Keeper::File);
    assert!(fs::read_to_string(&path).unwrap().contains("nameserver 127.0.2.2\nsearch corp.example lan\n"));
    applied.change(&config("other.example")).unwrap();
    assert!(applied.in_place());
    assert!(fs::read_to_string(&path).unwrap().contains("search other.example lan\n"));
    applied.revert().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    assert_forgotten(&scratch);
    assert!(!system.recover().unwrap());
}

#[test]
fn after_a_crash_the_next_start_puts_it_back() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    std::mem::forget(system.apply(&config("corp.example")).unwrap());
    assert!(system.recover().unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    assert_forgotten(&scratch);
}

#[test]
fn after_a_crash_and_the_loss_of_its_notes_the_file_itself_tells_what_it_was() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    let lose = || fs::remove_dir_all(scratch.path("state")).unwrap();
    std::mem::forget(system.apply(&config("corp.example")).unwrap());
    lose();
    // Another daemon's file is not taken back, nor is one that somebody has changed.
    assert!(!System::at(&path, scratch.path("other")).recover().unwrap());
    let ours = fs::read_to_string(&path).unwrap();
    fs::write(&path, ours.replace("127.0.2.2", "127.0.2.9")).unwrap();
    assert!(!system.recover().unwrap());
    fs::write(&path, ours).unwrap();
    assert!(system.recover().unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    assert!(!system.recover().unwrap());

    // The same under a daemon that runs: its next change, and its end.
    let mut applied = system.apply(&config("corp.example")).unwrap();
    lose();
    assert!(applied.in_place());
    applied.change(&config("other.example")).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("search other.example lan\n"));
    lose();
    applied.revert().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    assert_forgotten(&scratch);

    // A link, and nothing at all.
    fs::rename(&path, scratch.path("elsewhere")).unwrap();
    symlink("elsewhere", &path).unwrap();
    std::mem::forget(system.apply(&config("corp.example")).unwrap());
    lose();
    assert!(system.recover().unwrap());
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
    fs::remove_file(&path).unwrap();
    std::mem::forget(system.apply(&config("corp.example")).unwrap());
    lose();
    assert!(system.recover().unwrap());
    assert!(!path.exists());
}

#[test]
fn a_crash_between_any_two_steps_leaves_the_former_or_what_can_be_put_back() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    let state = |name: &str| scratch.path(&format!("state/resolv.conf.{name}"));
    // Noted, and not yet written.
    fs::write(state("former"), FORMER).unwrap();
    fs::write(state("ours"), "ours\n").unwrap();
    assert!(!system.recover().unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    // Changed to the next text, and the note not yet renamed.
    fs::write(state("former"), FORMER).unwrap();
    fs::write(state("ours"), "ours\n").unwrap();
    fs::write(state("next"), "next\n").unwrap();
    fs::write(&path, "next\n").unwrap();
    assert!(system.recover().unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    // The former is kept, and nothing noted yet.
    fs::write(state("former"), "older\n").unwrap();
    drop(system.apply(&config("corp.example")).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);
    assert_forgotten(&scratch);
}

#[test]
fn what_somebody_else_wrote_meanwhile_stays() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    let mut applied = system.apply(&config("corp.example")).unwrap();
    fs::write(&path, "nameserver 198.51.100.53\n").unwrap();
    assert!(!applied.in_place());
    assert!(matches!(applied.change(&config("other.example")), Err(DnsError::Displaced { .. })));
    applied.revert().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 198.51.100.53\n");
    assert_forgotten(&scratch);
}

#[test]
fn a_link_and_a_missing_file_come_back_as_they_were() {
    let scratch = Scratch::new();
    let (system, path) = system(&scratch);
    fs::rename(&path, scratch.path("elsewhere")).unwrap();
    symlink("elsewhere", &path).unwrap();
    let mut applied = system.apply(&config("corp.example")).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    applied.change(&config("other.example")).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("search other.example lan\n"));
    applied.revert().unwrap();
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
    assert_eq!(fs::read_to_string(&path).unwrap(), FORMER);

    fs::remove_file(&path).unwrap();
    let applied = system.apply(&config("corp.example")).unwrap();
    assert!(path.exists());
    applied.revert().unwrap();
    assert!(!path.exists());
    assert_forgotten(&scratch);
}

#[test]
fn systemd_resolved_keeps_what_names_its_stub_alone() {
    assert!(resolved::keeps("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"));
    assert!(!resolved::keeps("nameserver 127.0.0.53\nnameserver 192.0.2.53\n"));
    assert!(!resolved::keeps("nameserver 192.0.2.53\n"));
    assert!(!resolved::keeps(""));
}
