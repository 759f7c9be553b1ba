#![allow(clippy::unwrap_used)]
use super::{
    super::nrpt::{LOCAL, Registry, Value, tests::config},
    *,
};

/// The system's registry, but below a key of its own that goes with it.
struct Scratch(System);

impl Scratch {
    fn new(name: &str) -> Self {
        let root = format!(r"SOFTWARE\Vestibule Tests\{name} {}\", std::process::id());
        Self(System { registry: LocalMachine { root } })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        LocalMachine::default().remove(self.0.registry.root.trim_end_matches('\\')).unwrap();
    }
}

#[test]
fn values_and_keys_are_read_as_they_were_written() {
    let scratch = Scratch::new("values");
    let registry = &scratch.0.registry;
    let long: Vec<String> = (0..400).map(|number| format!(".suffix-{number}.example")).collect();
    for (name, value) in [
        ("number", Value::Number(0x1234_5678)),
        ("text", Value::Text("bücher".to_owned())),
        ("nothing", Value::Text(String::new())),
        ("texts", Value::Texts(long)),
        ("none", Value::Texts(Vec::new())),
    ] {
        registry.set(r"one\two", name, &value).unwrap();
        assert_eq!(registry.value(r"one\two", name).unwrap(), Some(value));
    }
    assert_eq!(registry.keys("one").unwrap(), ["two"]);
    assert_eq!(registry.value(r"one\two", "missing").unwrap(), None);
    assert_eq!(registry.value(r"one\missing", "x").unwrap(), None);
    assert_eq!(registry.keys("missing").unwrap(), [""; 0]);
    registry.remove("one").unwrap();
    registry.remove("one").unwrap();
    assert_eq!(registry.keys("one").unwrap(), [""; 0]);
}

#[test]
fn rules_are_set_changed_seen_and_taken_back() {
    let scratch = Scratch::new("rules");
    let mut applied = scratch.0.apply(&config(60)).unwrap();
    assert_eq!(applied.keeper(), Keeper::Policy);
    assert!(applied.in_place());
    let registry = &scratch.0.registry;
    assert_eq!(registry.keys(LOCAL).unwrap().len(), 2);
    applied.change(&config(1)).unwrap();
    let keys = registry.keys(LOCAL).unwrap();
    assert_eq!(keys.len(), 1);
    let path = format!(r"{LOCAL}\{}", keys[0]);
    assert_eq!(registry.value(&path, "GenericDNSServers").unwrap(), Some(Value::Text("127.0.2.2".to_owned())));
    registry.set(&path, "GenericDNSServers", &Value::Text("192.0.2.1".to_owned())).unwrap();
    assert!(!applied.in_place(), "somebody has changed it");
    applied.revert().unwrap();
    assert!(registry.keys(LOCAL).unwrap().is_empty());
}

#[test]
fn what_a_killed_predecessor_left_is_cleared() {
    let scratch = Scratch::new("crash");
    std::mem::forget(scratch.0.apply(&config(3)).unwrap());
    assert!(scratch.0.recover().unwrap());
    assert!(!scratch.0.recover().unwrap());
    assert!(scratch.0.registry.keys(LOCAL).unwrap().is_empty());
}

#[test]
fn the_servers_asked_now_are_read_once_each() {
    let servers = System::default().servers().unwrap();
    let distinct: std::collections::BTreeSet<_> = servers.iter().collect();
    assert_eq!(distinct.len(), servers.len(), "{servers:?}");
}
