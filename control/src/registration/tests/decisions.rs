//! D2 to D15, D17 to D21: who is at the desktop, and what is registered.

use super::world::*;
use crate::registration::*;

#[test]
fn d2_inner_addresses_are_kept_at_the_switch() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com kept"]);
    assert!(world.comes_up().is_empty(), "no deactivation, so the adapter and its addresses stay");
    assert_eq!(world.rows(), "D2 S5");
}

#[test]
fn d3_the_switch_is_one_commit_so_open_connections_can_be_judged_again() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    world.signs_in("alice");
    let activation = world.next().id;
    assert_eq!(world.event(Event::GenerationReady { activation }), ["commit"]);
    assert_eq!(world.carrying(), TOKEN);
    assert!(world.event(Event::Committed { activation }).is_empty());
    assert_eq!(world.carrying(), "alice@example.com");
    assert!(world.machine.log().last().unwrap().plain.contains(Row::D3.text()));
}

#[test]
fn d4_leaving_a_desktop_leads_to_the_login_screen_or_the_next_user() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.logon("bob");
    world.comes_up();
    world.signs_in("bob");
    world.comes_up();
    assert_eq!(world.switch_to("alice"), ["activate alice@example.com kept"]);
    world.comes_up();
    assert_eq!(world.leave("alice"), [format!("activate {TOKEN} kept")]);
    assert_eq!(world.rows(), "D4 M4");
    world.comes_up();
    assert!(world.logoff("alice").is_empty());
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn d5_lock_and_unlock_change_nothing() {
    for settings in [pre_login(), multi(pre_login())] {
        let mut world = World::before_login(settings);
        world.logon("alice");
        for event in [Event::Lock, Event::Unlock] {
            let before = world.machine.state().clone();
            assert!(world.event(event).is_empty());
            assert_eq!(*world.machine.state(), before);
            assert_eq!(world.rows().split(' ').next(), Some("D5"));
        }
    }
}

#[test]
fn d6_a_cold_start_never_resumes_a_user_in_multi_user_mode() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    assert_eq!(world.boot(), ["deactivate", &format!("activate {TOKEN} first")]);
    assert_eq!(world.rows(), "D6 M4");

    let mut world = World::signed_in(multi(user_only()), "alice");
    world.event(Event::MdmChanged { settings: multi(pre_login()) });
    assert_eq!(world.boot(), ["deactivate", "enrol mycompany"], "pre-login is configured: alice must not come back");
    assert_eq!(world.carrying(), "nothing");
}

#[test]
fn d8_the_session_activated_last_owns_the_traffic_console_or_remote() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    let remote = Event::SessionLogon { user: "bob".into(), session: "bob".into(), seat: Seat::Remote };
    assert_eq!(world.event(remote), [&format!("activate {TOKEN} kept"), "prompt bob"]);
    world.comes_up();
    world.signs_in("bob");
    world.comes_up();
    assert_eq!(world.leave("bob"), ["activate alice@example.com kept"], "alice is still at the console");
    world.comes_up();
    world.logoff("alice");
    world.comes_up();
    assert_eq!(world.carrying(), TOKEN, "bob's session is disconnected: login screen");
    assert!(world.machine.state().slots.contains_key(&Slot::User("bob".into())), "and keeps its registration");
}

#[test]
fn d9_deletion_under_a_user_s_desktop_is_down_at_once_and_no_hold_until_they_sign_in() {
    for settings in [pre_login(), multi(pre_login())] {
        let mut world = World::signed_in(settings, "alice");
        let id = world.id_of("alice@example.com");
        assert_eq!(world.deleted(id), ["deactivate", "prompt alice", &format!("forget {}", id.as_u128())]);
        assert!(world.rows().starts_with("D9"));
        assert_eq!(world.logoff("alice"), [&format!("activate {TOKEN} first"), "dismiss"]);
        assert!(world.rows().starts_with("S6"));
        world.comes_up();
        assert_eq!(world.logon("alice"), ["deactivate", "prompt alice"], "no hold for alice");
        world.logoff("alice");
        world.comes_up();
        assert_eq!(world.logon("bob"), ["prompt bob"], "but for bob");
        assert_eq!(world.carrying(), TOKEN);
        world.logoff("bob");
        world.logon("alice");
        assert_eq!(world.carrying(), "nothing");
        assert_eq!(world.signs_in("alice"), ["activate alice@example.com first"]);
        assert!(world.machine.state().denied.is_empty());
    }
}

#[test]
fn d9_revocation_keeps_the_record_and_falls_the_same_way() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    let id = world.id_of("alice@example.com");
    assert_eq!(world.event(Event::RegistrationRevoked { registration: id }), ["deactivate", "prompt alice"]);
    assert!(world.machine.state().slots[&Slot::User("alice".into())].revoked);
    let orders = world.signs_in("alice");
    assert_eq!(orders, ["activate alice@example.com first", &format!("forget {}", id.as_u128())]);
}

#[test]
fn d9_deletion_with_nobody_logged_on_is_pre_login_at_once() {
    let mut world = World::signed_in(pre_login(), "alice");
    world.logoff("alice");
    let id = world.id_of("alice@example.com");
    let orders = world.deleted(id);
    assert_eq!(orders, ["deactivate", &format!("activate {TOKEN} first"), &format!("forget {}", id.as_u128())]);
}

#[test]
fn d9_a_deleted_pre_login_registration_enrols_again() {
    let mut world = World::before_login(pre_login());
    let id = world.id_of(TOKEN);
    let orders = world.deleted(id);
    assert_eq!(orders[0], "deactivate");
    assert_eq!(world.deadline()[0], "enrol mycompany");
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} first")]);
}

#[test]
fn d9_a_user_revoked_in_the_background_does_not_disturb_the_desktop() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.logon("bob");
    world.comes_up();
    world.signs_in("bob");
    world.comes_up();
    let id = world.id_of("alice@example.com");
    assert_eq!(world.deleted(id), [format!("forget {}", id.as_u128())]);
    assert_eq!(world.carrying(), "bob@example.com");
    assert_eq!(world.switch_to("alice"), ["deactivate", "prompt alice"]);
}

#[test]
fn d12_another_organisation_is_made_before_the_first_is_broken() {
    let settings = Settings { organizations: vec!["othercompany".into()], ..pre_login() };
    let mut world = World::before_login(settings);
    world.logon("alice");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com replaced"]);
    assert_eq!(world.carrying(), TOKEN);
    assert!(world.comes_up().is_empty());
    assert_eq!(world.rows(), "D12 S5");
}

#[test]
fn d13_keep_previous_off_means_nobody_at_the_login_screen() {
    let settings = Settings { keep_previous: false, ..multi(user_only()) };
    let mut world = World::signed_in(settings, "alice");
    assert_eq!(world.logoff("alice"), ["deactivate"]);
    assert_eq!(world.rows(), "D4 D13");
    assert_eq!(world.logon("alice"), ["activate alice@example.com first"]);
}

#[test]
fn d14_a_broken_file_leaves_the_last_good_configuration_in_force() {
    let mut world = World::signed_in(pre_login(), "alice");
    let broken = Event::MdmBroken { message: "mdm.xml: line 3: `pre_login`: expected a dict".into() };
    assert_eq!(world.event(broken.clone()), ["notify mdm.xml: line 3: `pre_login`: expected a dict"]);
    assert!(world.event(broken).is_empty(), "said once");
    assert_eq!(world.carrying(), "alice@example.com");
    let state = world.machine.state();
    assert_eq!(state.settings, pre_login());
    assert!(state.configuration_error.is_some());
    world.event(Event::MdmChanged { settings: pre_login() });
    assert_eq!(world.machine.state().configuration_error, None);
}

#[test]
fn d15_the_newest_target_wins_and_a_late_answer_is_kept_unused() {
    let mut world = World::before_login(multi(pre_login()));
    world.logon("alice");
    let alice = world.prompt();
    assert_eq!(world.logon("bob"), ["dismiss", "prompt bob"]);
    assert!(world.answer(&alice, "alice").is_empty());
    assert!(world.rows().starts_with("D15"));
    assert_eq!(world.carrying(), TOKEN);
    assert_eq!(world.switch_to("alice"), ["activate alice@example.com kept", "dismiss"], "kept for her return");
}

#[test]
fn d15_single_user_a_late_answer_does_not_take_the_next_user_s_desktop() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    let alice = world.prompt();
    world.logon("bob");
    assert!(world.answer(&alice, "alice").is_empty());
    assert_eq!(world.carrying(), TOKEN);
    assert_eq!(world.prompt().user, "bob".into());
}

#[test]
fn d15_a_generation_no_longer_wanted_is_aborted_and_never_committed() {
    let mut world = World::before_login(multi(pre_login()));
    world.logon("alice");
    world.signs_in("alice");
    let stale = world.next().id;
    assert_eq!(world.logoff("alice"), ["abort"]);
    assert!(world.event(Event::GenerationReady { activation: stale }).is_empty());
    assert_eq!(world.rows(), "D15 M4");
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn d15_a_commit_already_ordered_is_waited_for_then_undone() {
    let mut world = World::before_login(multi(pre_login()));
    world.logon("alice");
    world.signs_in("alice");
    let ordered = world.next().id;
    world.event(Event::GenerationReady { activation: ordered });
    assert!(world.logoff("alice").is_empty());
    assert_eq!(world.event(Event::Committed { activation: ordered }), [format!("activate {TOKEN} kept")]);
    world.comes_up();
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn d15_a_late_enrolment_never_replaces_a_good_registration() {
    let mut world = World::new(pre_login());
    world.boot();
    let late = world.machine.state().enrolment.clone().unwrap();
    world.boot();
    world.enrolled();
    world.comes_up();
    let registration = world.registration(TOKEN, "mycompany");
    let event = Event::EnrolSucceeded { request: late.request, slot: late.slot, registration: registration.clone() };
    assert_eq!(world.event(event), [format!("forget {}", registration.id.as_u128())]);
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn d17_a_switch_to_an_unregistered_user_goes_to_pre_login_never_to_the_previous_user() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    assert_eq!(world.logon("bob"), [&format!("activate {TOKEN} kept"), "prompt bob"]);
    assert_eq!(world.rows(), "D17");
    assert_eq!(world.generation_fails()[0], "deactivate", "alice's does not wait for a second attempt");
    assert_eq!(world.carrying(), "nothing");

    let mut world = World::signed_in(multi(user_only()), "alice");
    assert_eq!(world.logon("bob"), ["deactivate", "prompt bob"], "without pre-login: down and prompt");
}

#[test]
fn d18_a_service_start_in_mid_session_derives_the_state_again() {
    let mut world = World::new(multi(pre_login()));
    let start = |boot: &str, sessions| Event::ServiceStarted { boot_id: boot.into(), sessions };
    world.event(start("boot-1", vec![]));
    world.enrolled();
    world.comes_up();
    world.logon("alice");
    world.signs_in("alice");
    world.comes_up();
    let mut machine = Machine::restore(world.machine.state().clone());
    std::mem::swap(&mut world.machine, &mut machine);
    let sessions = vec![session("alice", "alice", true)];
    let orders = world.event(start("boot-1", sessions.clone()));
    assert_eq!(orders, ["deactivate", "activate alice@example.com first"]);
    assert_eq!(world.rows(), "D18 M6");
    assert_eq!(world.event(start("boot-2", vec![])), ["deactivate", &format!("activate {TOKEN} first")]);
    assert_eq!(world.rows(), "D6 M4");
}

#[test]
fn d19_multi_user_off_makes_the_desktop_s_user_the_machine_s() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.logon("bob");
    world.comes_up();
    world.signs_in("bob");
    world.comes_up();
    assert!(world.event(Event::MdmChanged { settings: pre_login() }).is_empty(), "bob's goes on untouched");
    let state = world.machine.state();
    assert_eq!(state.slots[&Slot::Machine].email, "bob@example.com");
    assert!(state.slots.contains_key(&Slot::User("alice".into())), "kept unused");
    assert!(world.switch_to("alice").is_empty());
    assert_eq!(world.rows(), "S7");
}

#[test]
fn d20_login_screen_with_pre_login_configured_enrols_then_m4() {
    let mut world = World::signed_in(multi(user_only()), "alice");
    world.event(Event::MdmChanged { settings: multi(pre_login()) });
    assert_eq!(world.logoff("alice"), ["enrol mycompany"]);
    assert_eq!(world.rows(), "D4 D20");
    assert_eq!(world.carrying(), "alice@example.com", "M5 until then");
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} kept")]);
    world.comes_up();
    assert_eq!((world.carrying().as_str(), world.rows().as_str()), (TOKEN, "D2 M4"));
}

#[test]
fn d21_emergency_disconnect_stands_above_every_row() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    assert_eq!(world.event(Event::EmergencyDisconnect { engaged: true }), ["deactivate"]);
    assert!(world.logoff("alice").is_empty());
    assert!(world.logon("bob").is_empty());
    assert!(world.event(Event::Connect).is_empty());
    assert_eq!(world.machine.state().slots.len(), 2, "registrations untouched");
    let orders = world.event(Event::EmergencyDisconnect { engaged: false });
    assert_eq!(orders, [&format!("activate {TOKEN} first"), "prompt bob"], "what the events meanwhile lead to");
}
