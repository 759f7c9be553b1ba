//! S1 to S7.

use super::world::*;
use crate::registration::*;

#[test]
fn s1_boot_without_registration_enrols_by_token_and_connects() {
    let mut world = World::new(pre_login());
    assert_eq!(world.boot(), ["enrol mycompany"]);
    assert_eq!(world.rows(), "D6 S1");
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} first")]);
    let activation = world.next().id;
    assert_eq!(world.event(Event::GenerationReady { activation }), ["commit"]);
    assert!(world.event(Event::Committed { activation }).is_empty());
    assert_eq!(world.carrying(), TOKEN);
    assert_eq!(world.rows(), "S1");
}

#[test]
fn s2_boot_without_pre_login_stays_unregistered() {
    let mut world = World::new(user_only());
    assert!(world.boot().is_empty());
    assert_eq!(world.rows(), "D6 S2");
    assert_eq!(world.logon("alice"), ["prompt alice"]);
    assert_eq!(world.carrying(), "nothing");
}

#[test]
fn s3_logon_prompts_at_the_first_organisation() {
    let settings = Settings { organizations: vec!["second-to-none".into(), "mycompany".into()], ..pre_login() };
    let mut world = World::before_login(settings);
    assert_eq!(world.logon("alice"), ["prompt alice"]);
    assert_eq!(world.rows(), "S3");
    assert_eq!(world.prompt().organization, "second-to-none");
}

#[test]
fn s4_sign_in_swaps_to_the_user_beside_the_active_one() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    assert_eq!(world.signs_in("alice"), ["activate alice@example.com kept"]);
    assert_eq!(world.rows(), "S4");
    assert_eq!(world.carrying(), TOKEN, "the old identity carries traffic until the commit");
    assert!(world.comes_up().is_empty());
    assert_eq!(world.carrying(), "alice@example.com");
    assert!(world.machine.state().slots.contains_key(&Slot::PreLogin), "a second registration, not a replacement");
}

#[test]
fn s5_the_user_s_registration_is_used_at_the_login_screen_and_after_a_reboot() {
    let mut world = World::signed_in(pre_login(), "alice");
    assert!(world.logoff("alice").is_empty());
    assert_eq!((world.carrying().as_str(), world.rows().as_str()), ("alice@example.com", "S5"));
    assert_eq!(world.boot(), ["deactivate", "activate alice@example.com first"]);
    world.comes_up();
    assert_eq!(world.carrying(), "alice@example.com");
    assert!(world.logon("alice").is_empty(), "no prompt, no swap");
}

#[test]
fn s6_deleted_registration_falls_back_at_log_off_not_before() {
    let mut world = World::signed_in(pre_login(), "alice");
    let id = world.id_of("alice@example.com");
    assert_eq!(world.deleted(id), ["deactivate", "prompt alice", &format!("forget {}", id.as_u128())]);
    assert_eq!(world.carrying(), "nothing");
    assert_eq!(world.leave("alice"), ["dismiss"], "the login screen is not a log-off");
    assert_eq!(world.carrying(), "nothing");
    assert_eq!(world.logoff("alice"), [format!("activate {TOKEN} first")]);
    world.comes_up();
    assert_eq!(world.carrying(), TOKEN);
}

#[test]
fn s7_another_user_gets_the_first_user_s_registration_and_no_prompt() {
    let mut world = World::signed_in(pre_login(), "alice");
    world.logoff("alice");
    assert!(world.logon("bob").is_empty());
    assert_eq!((world.carrying().as_str(), world.rows().as_str()), ("alice@example.com", "S7"));
    let id = world.id_of("alice@example.com");
    world.deleted(id);
    assert_eq!(world.prompt().user, "bob".into(), "once it is gone, the machine is free");
}

fn by_token(settings: Settings) -> Settings {
    Settings { by_token: true, ..settings }
}

#[test]
fn a_token_of_the_first_entry_connects_without_anybody_and_nobody_is_asked() {
    let mut world = World::new(by_token(user_only()));
    assert_eq!(world.boot(), ["enrol mycompany"]);
    assert_eq!(world.machine.state().enrolment.clone().unwrap().slot, Slot::Machine);
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} first")]);
    world.comes_up();
    assert!(world.logon("alice").is_empty());
    assert_eq!((world.carrying().as_str(), world.rows().as_str()), (TOKEN, "S5"));
    // Deleted: made again after a pause, without a prompt, whoever is there.
    let id = world.id_of(TOKEN);
    assert_eq!(world.deleted(id)[0], "deactivate");
    assert_eq!(world.deadline()[0], "enrol mycompany");
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} first")]);
}

#[test]
fn beside_pre_login_a_token_of_the_first_entry_takes_over_at_the_login() {
    let mut world = World::before_login(by_token(pre_login()));
    assert_eq!(world.logon("alice"), ["enrol mycompany"], "under the hold");
    assert_eq!(world.carrying(), TOKEN);
    let pre_login = world.id_of(TOKEN);
    assert_eq!(world.enrolled(), [format!("activate {TOKEN} kept")]);
    world.comes_up();
    assert_ne!(world.machine.state().tunnel.active.clone().unwrap().registration.id, pre_login);
}

#[test]
fn the_log_tells_the_story_in_plain_words() {
    let mut world = World::before_login(pre_login());
    world.logon("alice");
    world.signs_in("alice");
    world.comes_up();
    let story: Vec<&str> = world.machine.log().map(|entry| entry.plain.as_str()).collect();
    let expected = [
        "The system started. D6: after a system start the login screen's rules apply; S1: nobody is logged on and no \
         user has registered: the service token connects the device. To do: enrol at mycompany with the service token.",
        "Enrolled as non_identity@mycompany.cloudflareaccess.com. S1: nobody is logged on and no user has registered: \
         the service token connects the device. To do: bring non_identity@mycompany.cloudflareaccess.com (pre-login) \
         up, as activation 2.",
        "Activation 2: the handshake is confirmed. Swap: a step of bringing a registration up beside the active one; \
         S1: nobody is logged on and no user has registered: the service token connects the device. To do: move all \
         traffic to activation 2.",
    ];
    assert_eq!(story[..3], expected);
    assert_eq!(
        story[4],
        "alice logged on (session alice). S3: a user is logged on and no user has registered: the user is asked to sign \
         in; D1: from login until the user has signed in, the pre-login registration stays in force. To do: ask alice \
         to sign in at mycompany."
    );
    assert_eq!(story.len(), 9);
    assert!(story[8].starts_with("Activation 4 carries the traffic now. D2: "), "{}", story[8]);
}
