//! Profiles against the loop: what they change, and who beats whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::{
    api::profile::{
        Destination, Mode, ProfileDocument, ProfileSettings, ServiceMode, SplitTunnel, TunnelEntry, TunnelProtocol,
    },
    daemon::{
        ipc::{Answer, Origin, Request, SettingView, SettingsView, State, Status},
        settings::Sources,
        twin::{MDM, TestDevice, World},
    },
};
use std::time::Duration;

const PRE: &str = "non_identity@mycompany.cloudflareaccess.com";

/// A device of which nobody knows yet, and a gateway with these settings.
fn world(name: &str, settings: ProfileSettings) -> World {
    let world = World::new(name, MDM);
    world.gateway.set_profile(profile(settings));
    world
}

fn profile(settings: ProfileSettings) -> ProfileDocument {
    ProfileDocument { id: "1".into(), name: "Laptops".into(), settings, ..ProfileDocument::default() }
}

async fn settings(device: &TestDevice) -> SettingsView {
    match device.ask(Request::Settings).await {
        Answer::Ok(value) => serde_json::from_value(value).unwrap(),
        Answer::Error(failure) => panic!("{failure}"),
    }
}

fn setting(view: &SettingsView, name: &str) -> SettingView {
    view.settings.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("no `{name}`")).clone()
}

/// Waits until the settings hold `wanted`.
async fn until(device: &TestDevice, wanted: impl Fn(&SettingsView) -> bool) -> SettingsView {
    for _ in 0..500 {
        let view = settings(device).await;
        if wanted(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in force: {:#?}", settings(device).await);
}

fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Error(failure) => failure.code,
        Answer::Ok(_) => "none".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_locks_the_switch_at_once_and_after_a_restart_without_a_gateway() {
    let world = world("locked", ProfileSettings::default());
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    assert!(matches!(device.ask(Request::Disconnect).await, Answer::Ok(_)));
    device.ask(Request::Connect).await;
    device.connected_as(PRE).await;
    let locked = ProfileSettings { switch_locked: true, allowed_to_leave: false, ..ProfileSettings::default() };
    world.gateway.set_profile(profile(locked));
    let view = until(&device, |view| setting(view, "switch_locked").value == true).await;
    assert_eq!((setting(&view, "switch_locked").origin, view.profile.as_deref()), (Origin::Profile, Some("Laptops")));
    assert_eq!(refusal(device.ask(Request::Disconnect).await), "switch_locked");
    assert_eq!(refusal(device.ask(Request::RegistrationDelete { id: None }).await), "leave_not_allowed");
    for _ in 0..100 {
        if world.vault.text("profiles").is_some_and(|text| text.contains("\"switch_locked\":true")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    device.kill().await;
    world.gateway.set_reachable(false);
    let device = world.device(Vec::new());
    let view = until(&device, |view| view.profile.is_some()).await;
    assert_eq!(setting(&view, "switch_locked").value, true);
    assert_eq!(refusal(device.ask(Request::Disconnect).await), "switch_locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_beats_the_profile_and_the_profile_beats_the_default() {
    let world = world("merge", ProfileSettings { captive_portal: 60, ..ProfileSettings::default() });
    let device = world.device(Vec::new());
    let before = settings(&device).await;
    device.connected_as(PRE).await;
    let view = until(&device, |view| view.profile.is_some()).await;
    assert_eq!(setting(&before, "captive_portal").origin, Origin::Default);
    let portal = setting(&view, "captive_portal");
    assert_eq!((portal.value, portal.origin, portal.unit.as_deref()), (60.into(), Origin::Profile, Some("seconds")));
    assert_eq!((portal.enforced, portal.note.as_deref()), (false, Some("not enforced yet")));
    assert_eq!(setting(&view, "switch_locked").origin, Origin::Profile);
    device.write_mdm(b"pre_login switch_locked");
    let view = until(&device, |view| setting(view, "switch_locked").origin == Origin::Mdm).await;
    assert_eq!(setting(&view, "switch_locked").value, true, "the profile says false");
    assert_eq!(refusal(device.ask(Request::Disconnect).await), "switch_locked");
    assert_eq!(setting(&view, "mtu").origin, Origin::User);
}

#[test]
fn the_file_s_tunnel_protocol_beats_the_profile_s() {
    let file = |protocol: &str| {
        let key = format!("<key>warp_tunnel_protocol</key><string>{protocol}</string>");
        format!("<dict><key>organization</key><string>mycompany</string>{key}</dict>")
    };
    let profile = profile(ProfileSettings { tunnel_protocol: TunnelProtocol::Masque, ..ProfileSettings::default() });
    for (text, forced) in [
        (file("wireguard"), Some(TunnelProtocol::Wireguard)),
        (file("masque"), Some(TunnelProtocol::Masque)),
        ("<dict><key>organization</key><string>mycompany</string></dict>".to_owned(), None),
    ] {
        let mdm = crate::mdm::parse("mdm.xml", text.as_bytes()).unwrap();
        let sources = Sources { mdm: Some(&mdm), profile: Some(&profile), ..Sources::default() };
        assert_eq!(sources.forced_protocol(), forced);
        let shown = sources.settle().settings.into_iter().find(|setting| setting.name == "tunnel_protocol").unwrap();
        assert_eq!(shown.value, serde_json::json!(forced.unwrap_or(TunnelProtocol::Masque)));
        assert!(shown.enforced);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_turns_a_switch_on_again_after_its_seconds() {
    let world = world("auto", ProfileSettings { auto_connect: 1, ..ProfileSettings::default() });
    let device = world.device(Vec::new());
    device.connected_as(PRE).await;
    until(&device, |view| setting(view, "auto_connect").value == 1).await;
    device.ask(Request::Disconnect).await;
    let status = device.status().await;
    assert_eq!((status.state, status.switched_on), (State::Disconnected, false));
    device.connected_as(PRE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn split_tunnels_are_routes_and_what_is_not_carried_is_said() {
    let world = world("split", ProfileSettings::default());
    let device = world.device(Vec::new());
    let routes = device.connected_as(PRE).await.routes;
    let entry = |destination| TunnelEntry { destination, description: String::new() };
    let excluded = entry(Destination::Address("10.128.0.0/9".parse().unwrap()));
    let settings = ProfileSettings { split_tunnel: SplitTunnel::Exclude(vec![excluded]), ..ProfileSettings::default() };
    world.gateway.set_profile(profile(settings));
    let status = device.until("the hole", |status| status.routes != routes).await;
    assert_eq!(status.routes, ["10.0.0.0/9".parse().unwrap()]);

    let included = entry(Destination::Address("10.0.0.0/24".parse().unwrap()));
    let host = entry(Destination::Host("*.example.com".into()));
    world.gateway.set_profile(profile(ProfileSettings {
        split_tunnel: SplitTunnel::Include(vec![included, host]),
        service_mode_v2: ServiceMode { mode: Mode::Proxy, port: Some(40_000) },
        tunnel_protocol: TunnelProtocol::Masque,
        ..ProfileSettings::default()
    }));
    let only = ["10.0.0.0/24".parse().unwrap()];
    let status = device.until("the one route", |status| status.routes == only).await;
    assert!(status.last_error.unwrap().message.contains("service mode \"proxy\" is not carried"));
    let view = self::settings(&device).await;
    for name in ["split_tunnel", "service_mode_v2"] {
        let shown = setting(&view, name);
        assert!(!shown.enforced && shown.note.unwrap().starts_with("not enforced yet: "), "{name}");
    }
}

/// Its gateway knows no MASQUE: it is asked for it all the same, once for every change.
#[tokio::test(flavor = "multi_thread")]
async fn another_tunnel_protocol_is_swapped_to_at_once() {
    use TunnelProtocol::{Masque, Wireguard};
    let world = world("protocol", ProfileSettings::default());
    let device = world.device(Vec::new());
    let first = device.connected_as(PRE).await;
    let mut expected = vec![Wireguard];
    for (wanted, asked) in [(Masque, vec![Masque, Wireguard]), (Wireguard, vec![Wireguard])] {
        let before = device.status().await;
        let settings = ProfileSettings { tunnel_protocol: wanted, ..ProfileSettings::default() };
        world.gateway.set_profile(profile(settings));
        let swapped = |status: &Status| status.swaps > before.swaps;
        let after = device.until("a swap", swapped).await;
        assert_eq!((after.state, after.identity), (State::Connected, first.identity.clone()));
        expected.extend(asked);
        assert_eq!(world.gateway.protocols(), expected);
    }
    // A profile that leaves it alone swaps nothing.
    let locked = ProfileSettings { switch_locked: true, ..ProfileSettings::default() };
    world.gateway.set_profile(profile(locked));
    until(&device, |view| setting(view, "switch_locked").value == true).await;
    assert_eq!(world.gateway.protocols(), expected);
}
