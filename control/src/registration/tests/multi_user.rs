//! M1 to M7.

use super::world::*;
use crate::registration::*;

#[test]
fn m1_turning_multi_user_on_prompts_even_a_registered_user() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.event(Event::MdmChanged { settings: pre_login() });
    let orders = world.event(Event::MdmChanged { settings: multi(pre_login()) });
    assert_eq!(orders, [&format!("activate {TOKEN} kept"), "prompt alice"]);
    assert_eq!(world.rows(), "M1");
    world.comes_up();
    assert_eq!(world.carrying(), TOKEN, "under the hold");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com kept"]);
}

#[test]
fn m1_a_registration_of_an_earlier_multi_user_time_does_not_count() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.logoff("alice");
    world.comes_up();
    world.event(Event::MdmChanged { settings: pre_login() });
    world.logon("alice");
    assert!(world.machine.state().slots.contains_key(&Slot::User("alice".into())), "kept");
    world.event(Event::MdmChanged { settings: multi(pre_login()) });
    assert_eq!((world.prompt().user, world.carrying().as_str()), ("alice".into(), TOKEN));
    world.logoff("alice");
    assert_eq!(world.logon("alice"), ["prompt alice"], "still owed after a log-off");
    assert_eq!(world.signs_in("alice")[0], "activate alice@example.com kept");
}

#[test]
fn m2_prompted_user_logs_off_to_the_login_screen() {
    let mut world = World::before_login(multi(pre_login()));
    world.logon("alice");
    assert_eq!(world.logoff("alice"), ["dismiss"]);
    assert_eq!(world.rows(), "M2 M4");
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn m3_prompted_user_switches_to_the_next_user() {
    let mut world = World::signed_in(multi(pre_login()), "bob");
    assert_eq!(world.logon("alice"), [&format!("activate {TOKEN} kept"), "prompt alice"]);
    world.comes_up();
    assert_eq!(world.switch_to("bob"), ["activate bob@example.com kept", "dismiss"], "never past the login screen");
    assert_eq!(world.rows(), "M3 M6");
}

#[test]
fn m4_login_screen_uses_the_pre_login_registration() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    assert_eq!(world.logoff("alice"), [format!("activate {TOKEN} kept")]);
    assert_eq!(world.rows(), "D4 M4");
    assert_eq!(world.carrying(), "alice@example.com", "until the commit");
    world.comes_up();
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn m5_login_screen_without_pre_login_keeps_the_previous_user() {
    let mut world = World::signed_in(multi(user_only()), "alice");
    assert!(world.logoff("alice").is_empty());
    assert_eq!(world.rows(), "D4 M5");
    assert_eq!(world.carrying(), "alice@example.com");
    assert_eq!(world.boot(), ["deactivate", "activate alice@example.com first"], "also after a reboot (D6)");
}

#[test]
fn m5_the_previous_user_is_the_last_one_at_the_desktop() {
    let mut world = World::signed_in(multi(user_only()), "alice");
    world.logon("bob");
    world.signs_in("bob");
    world.comes_up();
    assert!(world.logoff("bob").is_empty(), "alice is logged on but not at the desktop");
    assert_eq!(world.carrying(), "bob@example.com");
    assert_eq!(world.switch_to("alice"), ["activate alice@example.com kept"]);
}

#[test]
fn m6_logon_of_a_registered_user_swaps_to_their_registration() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    world.logoff("alice");
    world.comes_up();
    assert_eq!(world.logon("alice"), ["activate alice@example.com kept"]);
    assert_eq!(world.rows(), "M6");
    assert_eq!(world.carrying(), TOKEN);
    world.comes_up();
    assert_eq!(world.carrying(), "alice@example.com");
}

#[test]
fn m7_logon_of_an_unregistered_user_prompts() {
    let mut world = World::before_login(multi(pre_login()));
    assert_eq!(world.logon("bob"), ["prompt bob"]);
    assert_eq!(world.rows(), "M7");
    assert_eq!(world.carrying(), TOKEN, "under the hold (D1)");
    assert_eq!(world.signs_in("bob"), ["activate bob@example.com kept"]);
}

#[test]
fn a_token_of_the_first_entry_registers_every_user_without_a_prompt() {
    let mut world = World::new(Settings { by_token: true, ..multi(user_only()) });
    assert!(world.boot().is_empty(), "at the login screen nobody's");
    for user in ["alice", "bob"] {
        assert_eq!(world.logon(user).last().unwrap(), "enrol mycompany");
        assert_eq!(world.machine.state().enrolment.clone().unwrap().slot, Slot::User(user.into()));
        world.enrolled();
        world.comes_up();
        assert_eq!(world.carrying(), TOKEN);
    }
    assert_eq!(world.machine.state().slots.len(), 2);
    assert_eq!(world.switch_to("alice"), [format!("activate {TOKEN} kept")]);
}

#[test]
fn log_on_and_log_off_swap_every_time_without_a_gap_or_a_prompt() {
    let mut world = World::signed_in(multi(pre_login()), "alice");
    for _ in 0..100 {
        assert_eq!(world.logoff("alice"), [format!("activate {TOKEN} kept")]);
        world.comes_up();
        assert_eq!(world.carrying(), TOKEN);
        assert_eq!(world.logon("alice"), ["activate alice@example.com kept"]);
        world.comes_up();
        assert_eq!(world.carrying(), "alice@example.com");
    }
    assert_eq!(world.machine.log().len(), LOG_CAPACITY);
}
