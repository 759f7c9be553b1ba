//! Guards that the rows' own tests pass by: answers that come late, and what must or must not outlive what happened.

use super::world::*;
use crate::registration::*;

fn for_a_minute(settings: Settings) -> Settings {
    Settings { pre_login_hold: Hold::Seconds(60), ..settings }
}

/// Alice and Bob are registered; the one logged on last is at the desktop.
fn alice_and_bob(settings: Settings) -> World {
    let mut world = World::signed_in(settings, "alice");
    world.logon("bob");
    if world.machine.state().tunnel.next.is_some() {
        world.comes_up();
    }
    world.signs_in("bob");
    world.comes_up();
    assert_eq!(world.carrying(), "bob@example.com");
    world
}

fn orders_commit(world: &mut World) {
    let activation = world.next().id;
    assert_eq!(world.event(Event::GenerationReady { activation }), ["commit"]);
}

fn restarted(world: &mut World, user: &str) -> Vec<String> {
    world.event(Event::ServiceStarted { boot_id: "boot-1".into(), sessions: vec![session(user, user, true)] })
}

#[test]
fn a_commit_already_ordered_is_waited_for_also_while_the_login_screen_enrols() {
    let mut world = alice_and_bob(multi(user_only()));
    world.switch_to("alice");
    world.comes_up();
    world.event(Event::MdmChanged { settings: multi(pre_login()) });
    world.switch_to("bob");
    orders_commit(&mut world);
    assert!(world.switch_to("alice").is_empty());
    assert_eq!(world.leave("alice"), ["enrol mycompany"], "the engine may have committed: too late for an abort");
    let activation = world.next().id;
    assert_eq!(world.event(Event::Committed { activation }), ["deactivate"]);
}

#[test]
fn a_registration_deleted_under_its_commit_never_carries_traffic() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    world.signs_in("alice");
    orders_commit(&mut world);
    world.logoff("alice");
    let id = world.id_of("alice@example.com");
    let orders = world.deleted(id);
    assert_eq!(orders, ["deactivate", &format!("activate {TOKEN} first"), &format!("forget {}", id.as_u128())]);
}

#[test]
fn a_pre_login_registration_revoked_under_its_commit_never_carries_traffic() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.leave("alice");
    orders_commit(&mut world);
    assert!(world.switch_to("alice").is_empty());
    let registration = world.id_of(TOKEN);
    let orders = world.event(Event::RegistrationRevoked { registration });
    assert_eq!(orders[..2], ["deactivate", "activate alice@example.com first"]);
}

#[test]
fn the_login_screen_does_not_keep_a_previous_user_who_must_sign_in_anew() {
    let mut world = alice_and_bob(multi(user_only()));
    world.event(Event::MdmChanged { settings: user_only() });
    world.switch_to("alice");
    world.event(Event::MdmChanged { settings: multi(user_only()) });
    assert!(world.machine.state().slots.contains_key(&Slot::User("alice".into())), "of the earlier time");
    assert_eq!(world.logoff("alice"), ["dismiss"]);
    assert_eq!(world.carrying(), "nothing");
}

#[test]
fn a_system_start_turns_the_user_s_switch_on_again() {
    let mut world = World::signed_in(pre_login(), "alice");
    assert_eq!(world.event(Event::Disconnect), ["deactivate"]);
    assert_eq!(world.boot(), ["activate alice@example.com first"]);
}

#[test]
fn locking_the_switch_turns_it_on() {
    let mut world = World::signed_in(pre_login(), "alice");
    world.event(Event::Disconnect);
    let settings = Settings { switch_locked: true, ..pre_login() };
    assert_eq!(world.event(Event::MdmChanged { settings }), ["activate alice@example.com first"]);
}

#[test]
fn a_service_start_neither_lengthens_the_hold_nor_asks_again() {
    let mut world = World::new(for_a_minute(pre_login()));
    world.event(Event::ServiceStarted { boot_id: "boot-1".into(), sessions: vec![] });
    world.enrolled();
    world.comes_up();
    assert_eq!(world.logon("alice"), ["prompt alice", "deadline 61000"]);
    world.now = SinceBoot(31_000);
    let activate = format!("activate {TOKEN} first");
    assert_eq!(restarted(&mut world, "alice"), ["deactivate", &activate, "prompt alice", "deadline 61000"]);
    world.cancels();
    assert_eq!(restarted(&mut world, "alice"), ["deactivate", &activate, "deadline 61000"]);
}

#[test]
fn another_configuration_is_a_reason_to_ask_again() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    world.cancels();
    let orders = world.event(Event::MdmChanged { settings: for_a_minute(pre_login()) });
    assert_eq!(orders, ["prompt alice", "deadline 61000"]);
}

#[test]
fn a_late_sign_in_to_a_machine_of_somebody_else_is_kept_in_the_user_s_own_slot() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    let alice = world.prompt();
    world.logon("bob");
    world.signs_in("bob");
    world.comes_up();
    world.switch_to("alice");
    assert!(world.answer(&alice, "alice").is_empty());
    let state = world.machine.state();
    assert_eq!(state.slots[&Slot::User("alice".into())].email, "alice@example.com");
    assert_eq!((world.carrying().as_str(), state.machine_owner.clone()), ("bob@example.com", Some("bob".into())));
}

#[test]
fn an_enrolment_by_token_for_a_user_who_has_left_is_a_late_answer() {
    let mut world = World::new(Settings { by_token: true, ..multi(user_only()) });
    world.boot();
    assert_eq!(world.logon("alice"), ["enrol mycompany"]);
    let Enrolment { request, slot, .. } = world.machine.state().enrolment.clone().unwrap();
    world.logoff("alice");
    let registration = world.registration("alice@example.com", "mycompany");
    world.event(Event::EnrolSucceeded { request, slot, registration });
    assert!(world.rows().starts_with("D15"), "{}", world.rows());
}

#[test]
fn a_swap_that_failed_once_does_not_outlive_the_hold_however_often_it_is_tried() {
    let mut world = World::before_login(for_a_minute(pre_login()));
    world.logon("alice");
    world.signs_in("alice");
    world.generation_fails();
    assert_eq!(world.carrying(), TOKEN);
    assert_eq!(world.event(Event::NetworkUp), ["activate alice@example.com kept", "deadline 61000"]);
    assert_eq!(world.deadline(), ["deactivate", "activate alice@example.com first", "deadline none"]);
}

#[test]
fn a_pause_is_for_the_registration_that_failed_alone() {
    let mut world = alice_and_bob(multi(pre_login()));
    world.switch_to("alice");
    assert_eq!(world.generation_fails()[0], "deactivate");
    assert_eq!(world.switch_to("bob"), ["activate bob@example.com first", "deadline none"]);
}

#[test]
fn an_emergency_is_the_reason_that_is_told_whatever_the_switch_says() {
    let mut world = World::signed_in(pre_login(), "alice");
    world.event(Event::Disconnect);
    world.event(Event::EmergencyDisconnect { engaged: true });
    world.event(Event::Lock);
    assert_eq!(world.rows(), "D5 D21");
}

#[test]
fn another_transport_is_another_generation_of_the_same_registration() {
    let mut world = World::signed_in(pre_login(), "alice");
    let activation = world.machine.state().tunnel.active.clone().unwrap().id;
    let changed = Event::TransportChanged { activation };
    assert_eq!(world.event(changed.clone()), ["activate alice@example.com kept"]);
    assert!(world.event(changed.clone()).is_empty(), "once");
    orders_commit(&mut world);
    let next = world.next().id;
    assert!(world.event(Event::Committed { activation: next }).is_empty());
    assert_eq!(world.carrying(), "alice@example.com");
    assert!(world.event(changed).is_empty(), "of one that is active no longer");
}

#[test]
fn a_transport_that_fails_leaves_the_former_one_and_is_tried_again() {
    let mut world = World::signed_in(pre_login(), "alice");
    let activation = world.machine.state().tunnel.active.clone().unwrap().id;
    assert_eq!(world.event(Event::TransportChanged { activation }), ["activate alice@example.com kept"]);
    let next = world.next().id;
    let failed = Event::GenerationFailed { activation: next, reason: "no answer".into() };
    assert!(world.event(failed).iter().all(|order| order.starts_with("deadline")));
    assert_eq!(world.carrying(), "alice@example.com");
    assert_eq!(world.deadline()[0], "activate alice@example.com kept");
}
