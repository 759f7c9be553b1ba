//! The decisions about time: D1, D7, D10, D11, D16, and the user's switch.

use super::world::*;
use crate::registration::*;

fn held(hold: Hold) -> Settings {
    Settings { pre_login_hold: hold, ..pre_login() }
}

#[test]
fn d1_hold_until_authenticated_is_the_default() {
    assert_eq!(Settings::default().pre_login_hold, Hold::UntilAuthenticated);
    let mut world = World::before_login(pre_login());
    assert_eq!(world.logon("alice"), ["prompt alice"]);
    world.now = world.now.plus(7 * 24 * 3_600_000);
    assert!(world.event(Event::HoldExpired).is_empty());
    assert!(world.cancels().is_empty());
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn d1_zero_cuts_at_login() {
    let mut world = World::before_login(held(Hold::Cut));
    assert_eq!(world.logon("alice"), ["deactivate", "prompt alice"]);
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com first"]);
}

#[test]
fn d1_seconds_then_cut() {
    let mut world = World::before_login(held(Hold::Seconds(60)));
    assert_eq!(world.logon("alice"), ["prompt alice", "deadline 61000"]);
    world.now = SinceBoot(60_999);
    assert!(world.event(Event::HoldExpired).is_empty(), "too early");
    assert_eq!(world.deadline(), ["deactivate", "deadline none"]);
    assert_eq!(world.rows(), "D1 S3");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com first"]);
}

#[test]
fn d1_switching_away_and_back_does_not_lengthen_the_hold() {
    let mut world = World::before_login(multi(held(Hold::Seconds(60))));
    world.logon("alice");
    world.now = SinceBoot(31_000);
    assert_eq!(world.logon("bob"), ["dismiss", "prompt bob", "deadline 91000"]);
    world.now = SinceBoot(40_000);
    assert_eq!(world.switch_to("alice"), ["dismiss", "prompt alice", "deadline 61000"]);
    assert_eq!(world.deadline(), ["deactivate", "deadline none"]);
}

#[test]
fn d1_the_hold_enrols_too_when_the_login_was_quicker() {
    let mut world = World::new(pre_login());
    world.boot();
    assert_eq!(world.logon("alice"), ["prompt alice"]);
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} first")]);
}

#[test]
fn d7_sleep_keeps_the_registration_and_waking_renews_the_keys() {
    let mut world = World::signed_in(pre_login(), "alice");
    assert!(world.event(Event::Suspend).is_empty());
    world.now = world.now.plus(8 * 3_600_000);
    assert_eq!(world.event(Event::Resume), ["rehandshake"]);
    assert_eq!(world.carrying(), "alice@example.com");
}

#[test]
fn d10_a_rejected_token_leaves_the_registration_and_does_not_loop() {
    let mut world = World::before_login(pre_login());
    let rejected = Event::TokenRejected { request: None, reason: "token_expired".into() };
    assert_eq!(world.event(rejected.clone()), ["notify the service token was refused: token_expired"]);
    assert!(world.event(rejected).is_empty(), "said once, nothing tried");
    assert_eq!(world.carrying(), TOKEN);
    assert_eq!(world.machine.state().token_error.as_deref(), Some("token_expired"));
}

#[test]
fn d10_a_registration_that_the_gateway_revokes_with_its_token_is_down_at_once_and_tried_again_with_a_pause() {
    let mut world = World::before_login(pre_login());
    let id = world.id_of(TOKEN);
    let orders = world.event(Event::RegistrationRevoked { registration: id });
    assert_eq!(orders[0], "deactivate");
    assert!(orders.iter().all(|order| !order.starts_with("enrol")), "after a pause, not at once: {orders:?}");
    assert_eq!(world.deadline()[0], "enrol mycompany");
    let request = Some(world.machine.state().enrolment.clone().unwrap().request);
    let refused = world.event(Event::TokenRejected { request, reason: "token_disabled".into() });
    assert!(refused.contains(&"notify the service token was refused: token_disabled".to_owned()), "{refused:?}");
    assert_eq!(world.carrying(), "nothing");
}

#[test]
fn d10_a_token_rejected_at_enrolment_is_retried_with_a_pause() {
    let mut world = World::new(pre_login());
    world.boot();
    let request = Some(world.machine.state().enrolment.clone().unwrap().request);
    let orders = world.event(Event::TokenRejected { request, reason: "token_unknown".into() });
    assert!(orders[0].starts_with("deadline"), "{orders:?}");
    assert_eq!(world.deadline()[0], "enrol mycompany");
    let settings = Settings { pre_login_hold: Hold::Cut, ..pre_login() };
    world.enrol_fails();
    assert_eq!(world.event(Event::MdmChanged { settings })[0], "enrol mycompany", "a new file is tried at once");
}

#[test]
fn d11_refused_enrolment_backs_off_to_a_minute() {
    let mut world = World::new(pre_login());
    world.boot();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let orders = world.enrol_fails();
        assert!(orders.iter().all(|order| order.starts_with("deadline")), "{orders:?}");
        let from = world.now;
        assert_eq!(world.deadline()[0], "enrol mycompany");
        pauses.push(world.now.0 - from.0);
    }
    assert!((750..=1_000).contains(&pauses[0]), "{pauses:?}");
    assert!((1_500..=2_000).contains(&pauses[1]), "{pauses:?}");
    assert!(pauses[7..].iter().all(|pause| (45_000..=60_000).contains(pause)), "{pauses:?}");
}

#[test]
fn d11_network_and_configuration_retry_at_once_and_the_login_is_never_delayed() {
    let mut world = World::new(pre_login());
    world.boot();
    world.enrol_fails();
    assert_eq!(world.event(Event::NetworkUp), ["enrol mycompany", "deadline none"]);
    world.enrol_fails();
    assert_eq!(world.event(Event::MdmChanged { settings: pre_login() }), ["enrol mycompany", "deadline none"]);
    world.enrol_fails();
    assert_eq!(world.logon("alice"), ["prompt alice"], "the pause does not hold the prompt up");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com first", "deadline none"]);
}

#[test]
fn d11_a_failed_connection_is_tried_again_with_a_pause() {
    let mut world = World::new(pre_login());
    world.boot();
    world.enrolled();
    assert!(world.generation_fails()[0].starts_with("deadline"));
    assert_eq!(world.deadline()[0], format!("activate {TOKEN} first"));
    world.comes_up();
    let activation = world.machine.state().tunnel.active.clone().unwrap().id;
    let lost = Event::GenerationFailed { activation, reason: "keys never renewed".into() };
    assert_eq!(world.event(lost), [format!("activate {TOKEN} first")]);
}

#[test]
fn d16_the_wall_clock_decides_nothing() {
    let run = |skew: i64| {
        let mut world = World::before_login(held(Hold::Seconds(60)));
        let mut orders = world.logon("alice");
        world.wall += skew;
        orders.extend(world.event(Event::Resume));
        orders.extend(world.event(Event::HoldExpired));
        orders.extend(world.deadline());
        (orders, world.machine.state().clone())
    };
    let year = 365 * 24 * 3_600_000;
    assert_eq!(run(0), run(year));
    assert_eq!(run(0), run(-year));
}

#[test]
fn the_user_s_switch_is_down_until_connect_or_auto_connect_or_log_off() {
    let mut world = World::signed_in(Settings { auto_connect: Some(300), ..pre_login() }, "alice");
    assert_eq!(world.event(Event::Disconnect), ["deactivate", "deadline 301000"]);
    assert_eq!(world.event(Event::Connect), ["activate alice@example.com first", "deadline none"]);
    world.comes_up();
    world.event(Event::Disconnect);
    assert_eq!(world.deadline(), ["activate alice@example.com first", "deadline none"]);
    world.event(Event::Disconnect);
    assert_eq!(world.logoff("alice"), ["activate alice@example.com first", "deadline none"]);
}

#[test]
fn a_locked_switch_stays_on() {
    let mut world = World::signed_in(Settings { switch_locked: true, ..pre_login() }, "alice");
    let orders = world.event(Event::Disconnect);
    assert_eq!(orders, ["notify the administrator has locked the switch: disconnecting is not allowed"]);
    assert_eq!(world.carrying(), "alice@example.com");
}

#[test]
fn a_closed_form_comes_back_only_for_a_reason() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    assert!(world.cancels().is_empty());
    for event in [Event::Lock, Event::Unlock, Event::NetworkUp, Event::DeadlineReached, Event::Resume] {
        let orders = world.event(event);
        assert!(orders.iter().all(|order| !order.starts_with("prompt")), "{orders:?}");
    }
    assert_eq!(world.event(Event::Connect), ["prompt alice"]);
}
