//! The loop against a gateway twin, with real engines and real packets on a network in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{End, Input};
use crate::{
    api::device::RegistrationStatus,
    daemon::{
        ipc::{Answer, MdmState, Request, State, WhyView},
        twin::{MDM, TestDevice, World},
    },
    registration::{Event, Seat, Session},
};
use std::time::Duration;
use vestibule_platform::local::Peer;

const PRE: &str = "non_identity@mycompany.cloudflareaccess.com";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

fn logon(user: &str, session: &str) -> Event {
    Event::SessionLogon { user: user.into(), session: session.into(), seat: Seat::Console }
}

fn logoff(session: &str) -> Event {
    Event::SessionLogoff { session: session.into() }
}

/// A UDP packet from the device to 10.0.0.`host`, checksums right.
fn packet(host: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 100, 96, 0, 2, 10, 0, 0, host];
    let sum = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&[0x10, 0, 0x20, 0, 0, 12, 0, 0, b'a', b'b', b'c', b'd']);
    packet
}

/// Whether a packet from the device reaches the intranet.
async fn passes(world: &World, device: &TestDevice) -> bool {
    while world.gateway.intranet.receive(Duration::ZERO).is_some() {}
    device.host.send(packet(5));
    let intranet = world.gateway.intranet.clone();
    tokio::task::spawn_blocking(move || intranet.receive(Duration::from_millis(500))).await.unwrap().is_some()
}

/// The whole registration log.
async fn why(device: &TestDevice) -> Vec<crate::daemon::ipc::WhyEntry> {
    let Answer::Ok(why) = device.ask(Request::Why { last: Some(1000) }).await else { panic!() };
    serde_json::from_value::<WhyView>(why).unwrap().entries
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_to_pre_login_to_user_with_one_address_and_packets_all_along() {
    let world = World::new("walk", MDM);
    let device = world.device(Vec::new());
    let status = device.connected_as(PRE).await;
    assert_eq!((status.state, status.swap_seq), (State::Connected, Some(1)));
    assert!(passes(&world, &device).await);
    device.happened(logon("alice", "1"));
    let held = device.until("a prompt", |status| status.auth_url.is_some()).await;
    assert_eq!(held.identity.as_deref(), Some(PRE), "D1: the hold");
    assert!(passes(&world, &device).await);
    let page = device.sign_in(&world.gateway, ALICE).await;
    assert!(page.contains("You are signed in") && page.contains(ALICE), "{page}");
    let after = device.connected_as(ALICE).await;
    assert_eq!((after.addresses, after.swap_seq, after.swaps), (status.addresses, Some(2), 2));
    assert!(passes(&world, &device).await);
    assert_eq!(world.gateway.commits(), [1, 2]);
    assert_eq!(world.gateway.emails(), [ALICE, PRE]);
    assert_eq!(device.network.history().len(), 1, "the host's network is not touched by a swap");
    assert_eq!(device.stop().await, End::Asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_it_uses_what_it_had() {
    let world = World::new("kill", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.happened(logon("alice", "1"));
    device.sign_in(&world.gateway, ALICE).await;
    let before = device.connected_as(ALICE).await;
    let story = why(&device).await;
    device.kill().await;
    let session = Session::new("1", "alice", Seat::Console, true);
    let device = world.device(vec![session]);
    let after = device.connected_as(ALICE).await;
    let longer = why(&device).await;
    assert_eq!(longer[..story.len()], story, "the log goes on where it was");
    assert_eq!(longer[story.len()].row, "D18");
    assert!(longer.iter().all(|entry| entry.boot.as_deref() == Some("boot-1")));
    let log = std::fs::read_to_string(world.directory.join("why.log")).unwrap();
    let secrets: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&world.vault.text("registrations").unwrap()).unwrap();
    assert!(secrets.values().all(|secret| !log.contains(secret)) && !log.contains("\"secret\""));
    assert_eq!(after.device_id, before.device_id);
    assert_eq!(after.registration, before.registration);
    assert!(after.swap_seq > before.swap_seq);
    assert_eq!(world.gateway.calls("enrol"), 2, "no third registration");
    assert!(passes(&world, &device).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_seq_that_was_lost_is_learned_from_the_gateway() {
    let world = World::new("seq", MDM);
    world.gateway.forget_orders_below(40);
    let device = world.device(Vec::new());
    assert_eq!(device.connected_as(PRE).await.swap_seq, Some(41));
    assert_eq!(world.vault.text("swap-seq").as_deref(), Some("41"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_may_come_later_and_nothing_spins_until_then() {
    let world = World::new("later", MDM);
    world.gateway.set_reachable(false);
    let device = world.device(Vec::new());
    let status = device.until("an error", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().message.contains("cannot reach the gateway"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(world.gateway.calls("nonce") <= 4, "{} calls in 1.5 s", world.gateway.calls("nonce"));
    world.gateway.set_reachable(true);
    let status = device.connected_as(PRE).await;
    assert_eq!(status.last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_and_retried_slowly() {
    let world = World::new("token", MDM);
    world.gateway.refuse_token(Some("token_expired"));
    let device = world.device(Vec::new());
    let status = device.until("an error", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().message.contains("token_expired"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(world.gateway.calls("enrol") <= 4, "{} calls in 1.5 s", world.gateway.calls("enrol"));
    world.gateway.refuse_token(None);
    device.connected_as(PRE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rules_are_in_force_without_new_keys() {
    let world = World::new("rules", MDM);
    let device = world.device(Vec::new());
    let before = device.connected_as(PRE).await;
    assert!(passes(&world, &device).await);
    world.gateway.publish(false);
    let after = device.until("new rules", |status| status.policy_version != before.policy_version).await;
    assert_eq!(after.generation, before.generation);
    assert!(!passes(&world, &device).await);
    assert!(device.status().await.counters.contains_key("drop.denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_down_at_once_and_prompted_and_pre_login_again_at_log_off() {
    let world = World::new("deleted", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.happened(logon("alice", "1"));
    device.sign_in(&world.gateway, ALICE).await;
    device.connected_as(ALICE).await;
    world.gateway.end(ALICE, RegistrationStatus::Deleted);
    let down = device.until("down", |status| status.state == State::Prompting).await;
    assert_eq!((down.identity, down.generation, down.generations.len()), (None, None, 0));
    assert!(!passes(&world, &device).await);
    assert!(device.network.current().unwrap().routes.is_empty());
    device.happened(logoff("1"));
    device.connected_as(PRE).await;
    assert!(passes(&world, &device).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_account_is_told_so_and_the_next_attempt_succeeds() {
    let world = World::new("account", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.happened(logon("alice", "1"));
    let first = device.until("a prompt", |status| status.auth_url.is_some()).await.auth_url;
    let page = device.sign_in(&world.gateway, "mallory@example.com").await;
    assert!(page.contains("refused") && page.contains("/login"), "{page}");
    let second = device.until("a fresh address", |status| status.auth_url != first).await.auth_url;
    assert!(second.is_some());
    device.sign_in(&world.gateway, ALICE).await;
    device.connected_as(ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sign_in_is_not_repeated_until_the_user_asks() {
    let world = World::new("cancel", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.happened(logon("alice", "1"));
    device.browser_returns("error=access_denied").await;
    let status = device.until("no prompt", |status| status.auth_url.is_none()).await;
    assert_eq!(status.identity.as_deref(), Some(PRE));
    assert!(status.last_error.unwrap().message.contains("access_denied"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(device.status().await.auth_url, None);
    assert!(matches!(device.ask(Request::Connect).await, Answer::Ok(_)));
    device.sign_in(&world.gateway, ALICE).await;
    device.connected_as(ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_new_prompts_again_and_refuses_when_there_is_nobody_to_prompt() {
    let world = World::new("new", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    let refused = async |code: &str| match device.ask(Request::RegistrationNew).await {
        Answer::Error(failure) => assert_eq!(failure.code, code, "{failure}"),
        Answer::Ok(status) => panic!("not refused: {status}"),
    };
    refused("nobody_logged_on").await;
    device.happened(logon("alice", "1"));
    let first = device.until("a prompt", |status| status.auth_url.is_some()).await.auth_url;
    assert!(matches!(device.ask(Request::RegistrationNew).await, Answer::Ok(_)));
    assert_eq!(device.status().await.auth_url, first, "a prompt that is open stays the same");
    for _ in 0..2 {
        device.browser_returns("error=access_denied").await;
        device.until("no prompt", |status| status.auth_url.is_none()).await;
        assert!(matches!(device.ask(Request::RegistrationNew).await, Answer::Ok(_)));
    }
    device.sign_in(&world.gateway, ALICE).await;
    device.connected_as(ALICE).await;
    refused("registered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_answer_leaves_the_active_generation_alone() {
    let world = World::new("handshake", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    world.gateway.swallow_handshakes(true);
    device.happened(logon("alice", "1"));
    device.sign_in(&world.gateway, ALICE).await;
    device.until("an error", |status| status.last_error.is_some()).await;
    world.gateway.swallow_handshakes(false);
    device.connected_as(ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_user_swaps_back_and_forth_and_every_commit_is_counted_once() {
    let world = World::new("multi", b"pre_login multi_user");
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    for (user, email) in [("alice", ALICE), ("bob", BOB)] {
        device.happened(logon(user, user));
        device.sign_in(&world.gateway, email).await;
        device.connected_as(email).await;
        device.happened(logoff(user));
        device.connected_as(PRE).await;
    }
    for _ in 0..5 {
        device.happened(logon("alice", "again"));
        device.connected_as(ALICE).await;
        assert!(passes(&world, &device).await);
        device.happened(logoff("again"));
        device.connected_as(PRE).await;
        assert!(passes(&world, &device).await);
    }
    let status = device.status().await;
    assert_eq!(status.swaps, 15);
    assert_eq!(world.gateway.commits(), (1..=15).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_the_last_good_one_in_force_also_after_a_restart() {
    let world = World::new("mdm", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.write_mdm(b"nonsense");
    let status = device.until("the error", |status| status.mdm.error.is_some()).await;
    assert_eq!((status.mdm.state, status.identity.as_deref()), (MdmState::LastGood, Some(PRE)));
    assert!(status.last_error.unwrap().message.contains("`nonsense` is no key"));
    device.kill().await;
    let device = world.device(Vec::new());
    let status = device.connected_as(PRE).await;
    assert_eq!((status.mdm.state, status.mdm.pre_login.as_deref()), (MdmState::LastGood, Some("mycompany")));
    device.write_mdm(MDM);
    let status = device.until("no error", |status| status.mdm.error.is_none()).await;
    assert_eq!((status.mdm.state, status.last_error), (MdmState::Loaded, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_it_is_unmanaged_until_there_is_one() {
    let world = World::new("unmanaged", b"");
    std::fs::remove_file(world.directory.join("mdm.xml")).unwrap();
    let device = world.device(Vec::new());
    let status = device.until("unmanaged", |status| status.state == State::Unmanaged).await;
    assert_eq!((status.mdm.state, status.last_error), (MdmState::Missing, None));
    device.write_mdm(MDM);
    device.connected_as(PRE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_and_deleting_by_hand() {
    let world = World::new("switch", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    assert!(matches!(device.ask(Request::Disconnect).await, Answer::Ok(_)));
    assert_eq!(device.status().await.state, State::Disconnected);
    assert!(!passes(&world, &device).await);
    device.ask(Request::Connect).await;
    let first = device.connected_as(PRE).await.registration;
    let Answer::Ok(deleted) = device.ask(Request::RegistrationDelete { id: None }).await else { panic!() };
    assert_eq!(deleted["identity"], PRE);
    // D9: a pre-login registration is made anew.
    device.until("another registration", |status| status.registration.is_some_and(|id| Some(id) != first)).await;
    device.write_mdm(b"pre_login switch_locked");
    device.until("loaded", |status| status.mdm.error.is_none()).await;
    assert!(matches!(device.ask(Request::Disconnect).await, Answer::Error(failure) if failure.code == "switch_locked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_and_who_is_at_the_desktop_steer() {
    let world = World::new("steer", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    let peer = |user: &str| Peer { user: user.into(), process: Some(7), administrator: false };
    let refused = |answer: Answer| matches!(answer, Answer::Error(failure) if failure.code == "not_allowed");
    let steering =
        [Request::Disconnect, Request::Connect, Request::RegistrationNew, Request::RegistrationDelete { id: None }];
    for request in steering {
        assert!(refused(device.ask_as(peer("bob"), request).await), "nobody is at the desktop");
    }
    assert!(matches!(device.ask_as(peer("bob"), Request::Status).await, Answer::Ok(_)));
    device.happened(logon("alice", "1"));
    device.until("alice at the desktop", |status| status.desktop.as_deref() == Some("alice")).await;
    assert!(refused(device.ask_as(peer("bob"), Request::Disconnect).await));
    assert_eq!(device.connected_as(PRE).await.swap_seq, Some(1), "nothing was steered");
    assert!(matches!(device.ask_as(peer("alice"), Request::Disconnect).await, Answer::Ok(_)));
    assert_eq!(device.status().await.state, State::Disconnected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_cannot_be_stored_is_not_used_and_no_secret_is_shown() {
    let world = World::new("disk", MDM);
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    device.happened(logon("alice", "1"));
    device.until("a prompt", |status| status.auth_url.is_some()).await;
    world.vault.set_full(true);
    device.sign_in(&world.gateway, ALICE).await;
    let status = device.until("an error", |status| status.last_error.is_some()).await;
    assert_eq!(status.identity.as_deref(), Some(PRE));
    assert!(status.last_error.unwrap().message.contains("no storage space"));
    let bearers = world.vault.text("registrations").unwrap();
    let Answer::Ok(why) = device.ask(Request::Why { last: None }).await else { panic!() };
    let shown = format!("{why}{}", world.vault.text("state").unwrap());
    let secrets: std::collections::BTreeMap<String, String> = serde_json::from_str(&bearers).unwrap();
    assert!(!secrets.is_empty() && secrets.values().all(|secret| !shown.contains(secret)));
    let why: WhyView = serde_json::from_value(why).unwrap();
    assert!(why.entries.iter().any(|entry| entry.row == "D1" || entry.row == "S3"), "{why:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_sleep_the_keys_are_renewed_at_once() {
    let world = World::new("sleep", MDM);
    let device = world.device(Vec::new());
    let before = device.connected_as(PRE).await;
    let handshakes = |status: &crate::daemon::ipc::Status| status.counters.get("engine.handshakes").copied();
    device.slept.store(3_600_000, std::sync::atomic::Ordering::Relaxed);
    let after = device.until("another handshake", |status| handshakes(status) > handshakes(&before)).await;
    assert_eq!((after.generation, after.swaps), (before.generation, before.swaps), "D7: the same registration");
    assert!(passes(&world, &device).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn d21_the_file_beside_the_mdm_file_disconnects_also_over_a_restart() {
    let world = World::new("emergency", b"pre_login emergency_file");
    let signal = world.directory.join("emergency_disconnect.json");
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    std::fs::write(&signal, "{\"emergency_disconnect\": true}").unwrap();
    device.inputs.send(Input::EmergencyTouched).unwrap();
    let status = device.until("down", |status| status.state == State::Disconnected).await;
    assert!(status.summary.contains("emergency disconnect"), "{}", status.summary);
    assert!(!passes(&world, &device).await);
    assert!(matches!(device.ask(Request::Connect).await, Answer::Ok(_)));
    assert_eq!(device.status().await.state, State::Disconnected, "above the user's switch");
    device.kill().await;
    let device = world.device(Vec::new());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(device.status().await.state, State::Disconnected);
    std::fs::write(&signal, "{\"emergency_disc").unwrap();
    device.inputs.send(Input::EmergencyTouched).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(device.status().await.state, State::Disconnected, "half a file changes nothing");
    device.write_mdm(b"pre_login");
    device.connected_as(PRE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_an_entry_of_configs_connects_without_anybody() {
    let world = World::new("entry-token", b"token");
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    assert!(passes(&world, &device).await);
    device.happened(logon("alice", "1"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = device.status().await;
    assert_eq!((status.identity.as_deref(), status.auth_url), (Some(PRE), None), "nobody is asked");
    let Answer::Ok(shown) = device.ask(Request::RegistrationShow).await else { panic!() };
    assert_eq!(
        (&shown["registrations"][0]["slot"], &shown["registrations"][0]["service_token"]),
        (&"machine".into(), &true.into())
    );
    world.gateway.end(PRE, RegistrationStatus::Deleted);
    device.until("enrolled again", |now| now.registration.is_some() && now.registration != status.registration).await;
}
