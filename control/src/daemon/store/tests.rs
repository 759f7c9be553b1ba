//! What is stored is found again, and what is damaged is never overwritten.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{daemon::twin::MemoryVault, registration::Machine};
use vestibule_platform::signing::memory::MemoryKeys;

fn open(vault: &MemoryVault) -> Store {
    Store::open(Box::new(vault.clone()), &MemoryKeys::new(None)).unwrap().0
}

#[test]
fn a_restart_finds_key_secrets_orders_and_state() {
    let vault = MemoryVault::default();
    let (store, key) = Store::open(Box::new(vault.clone()), &MemoryKeys::new(None)).unwrap();
    let (kept, dropped) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for id in [kept, dropped] {
        store.keep_bearer(id, &Secret::new(format!("secret of {id}"))).unwrap();
    }
    store.forget_bearers(|id| id == kept).unwrap();
    assert_eq!((store.next_swap_seq().unwrap(), store.next_swap_seq().unwrap()), (1, 2));
    let machine = Machine::new(crate::registration::Settings::default(), 7);
    store.keep_state(machine.state()).unwrap();
    let (again, same) = Store::open(Box::new(vault), &MemoryKeys::new(None)).unwrap();
    assert_eq!(same.device_id(), key.device_id());
    assert_eq!(again.bearer(kept).unwrap().expose(), format!("secret of {kept}"));
    assert!(again.bearer(dropped).is_none());
    assert_eq!(again.next_swap_seq().unwrap(), 3);
    assert_eq!(again.state().unwrap().as_ref(), Some(machine.state()));
}

#[test]
fn swap_seq_is_on_disk_before_it_is_used_and_rises_only() {
    let vault = MemoryVault::default();
    let store = open(&vault);
    assert_eq!(store.next_swap_seq().unwrap(), 1);
    vault.set_full(true);
    assert!(store.next_swap_seq().is_err());
    vault.set_full(false);
    assert_eq!(store.next_swap_seq().unwrap(), 2);
    store.raise_swap_seq(10).unwrap();
    store.raise_swap_seq(5).unwrap();
    store.raise_swap_seq(u64::MAX).unwrap();
    assert_eq!(open(&vault).next_swap_seq().unwrap(), 11);
}

#[test]
fn damage_is_told_and_left_alone() {
    for (name, expected) in [("device-key", "PKCS #8"), ("swap-seq", "a number"), ("registrations", "in JSON")] {
        let vault = MemoryVault::default();
        vault.set(name, b"half");
        let error = Store::open(Box::new(vault.clone()), &MemoryKeys::new(None)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(vault.text(name).as_deref(), Some("half"));
    }
}
