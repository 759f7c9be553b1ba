use super::super::*;
use super::{EVERY_KEY, FLAT, MULTI_USER, PRE_LOGIN};
use crate::registration::{Hold, Settings};

fn read(text: &str) -> MdmConfig {
    parse("mdm.xml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_vendor_s_pre_login_example_works_unchanged() {
    let config = read(PRE_LOGIN);
    let pre_login = config.pre_login.as_ref().unwrap();
    assert_eq!(pre_login.organization, "mycompany");
    assert_eq!(pre_login.token.client_id, "TOKEN-ID");
    assert_eq!(pre_login.token.client_secret.expose(), "TOKEN-SECRET");
    assert_eq!(config.configs.len(), 1);
    assert_eq!(config.configs[0].organization.as_deref(), Some("mycompany"));
    assert_eq!(config.configs[0].display_name.as_deref(), Some("Default"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let expected = Settings {
        pre_login: Some("mycompany".into()),
        organizations: vec!["mycompany".into()],
        ..Settings::default()
    };
    assert_eq!(config.settings(), expected);
}

#[test]
fn a_whole_plist_with_prologue_comment_cdata_and_entities() {
    let config = read(MULTI_USER);
    assert!(config.multi_user && !config.multi_user_keep_previous);
    assert_eq!(config.pre_login_hold, Hold::Seconds(120));
    assert_eq!(config.configs[0].display_name.as_deref(), Some("Work & travel"));
    assert_eq!(config.configs[1].display_name.as_deref(), Some("Other <company>"));
    assert_eq!(config.organization("MYCOMPANY"), config.configs.first(), "any letter case");
    let settings = config.settings();
    assert_eq!(settings.organizations, ["mycompany", "othercompany"]);
    assert_eq!((settings.switch_locked, settings.auto_connect, settings.keep_previous), (true, Some(15 * 60), false));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_flat_file_is_one_organisation() {
    let config = read(FLAT);
    assert_eq!(config.configs.len(), 1);
    assert_eq!(config.configs[0].auto_connect, Some(0));
    assert_eq!(config.configs[0].onboarding, Some(false));
    assert_eq!(config.pre_login, None);
}

#[test]
fn every_documented_key_is_known_and_typed() {
    let config = read(EVERY_KEY);
    let all = &config.configs[0];
    assert_eq!(all.service_mode, Some(ServiceMode::Proxy));
    assert_eq!(all.warp_tunnel_protocol, Some(TunnelProtocol::Wireguard));
    assert_eq!(all.override_warp_endpoint, Some("203.0.113.7:0".parse().unwrap()));
    assert_eq!(all.external_emergency_signal_interval, Some(30));
    assert!(all.external_emergency_signal_fingerprint.as_ref().unwrap().starts_with("dcaf"));
    assert_eq!(config.organization_configs["mycompany"].environment, Some(Environment::FedrampHigh));
    // All of them are read: a field left out would show as null.
    let json = serde_json::to_value(all).unwrap();
    let absent: Vec<_> = json.as_object().unwrap().iter().filter(|(_, value)| value.is_null()).collect();
    assert!(absent.is_empty(), "{absent:?}");
    let odd: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let old = "mdm.xml: line 42: `configs[0].enabled`: replaced by `switch_locked` and `auto_connect`, which are used instead: remove it";
    assert_eq!(odd, [old]);
}

#[test]
fn an_unknown_key_is_a_warning_with_a_suggestion() {
    let text = FLAT.replace("auto_connect", "autoconnect").replace("onboarding", "wallpaper");
    let odd: Vec<_> = read(&text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        odd,
        [
            "mdm.xml: line 4: `autoconnect`: unknown key, ignored: did you mean `auto_connect`?",
            "mdm.xml: line 6: `wallpaper`: unknown key, ignored",
        ]
    );
}

#[test]
fn a_key_on_the_wrong_level_is_a_warning_that_says_where_it_belongs() {
    let text = PRE_LOGIN.replace("<key>display_name</key>", "<key>multi_user</key><true/><key>display_name</key>");
    let warnings = read(&text).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].key, "configs[0].multi_user");
    assert!(warnings[0].message.contains("top level"), "{}", warnings[0]);

    let text = FLAT.replacen("<dict>", "<dict><key>pre_login_hold</key><integer>5</integer>", 1);
    assert!(read(&text).warnings[0].message.contains("without `pre_login`"));
}

#[test]
fn organisation_keys_beside_configs_are_a_warning() {
    let text = PRE_LOGIN.replacen("<dict>", "<dict><key>auto_connect</key><integer>5</integer>", 1);
    let config = read(&text);
    assert!(config.warnings[0].message.contains("beside `configs`"), "{}", config.warnings[0]);
    assert_eq!(config.configs[0].auto_connect, None);
}

#[test]
fn windows_encodings_and_line_ends_are_read() {
    let with_mark = [b"\xef\xbb\xbf".as_slice(), PRE_LOGIN.as_bytes()].concat();
    let lines = PRE_LOGIN.replace('\n', "\r\n");
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(lines.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for content in [with_mark, lines.into_bytes(), utf16] {
        assert_eq!(parse("mdm.xml", &content).unwrap(), read(PRE_LOGIN));
    }
}

#[test]
fn the_hold_takes_its_three_forms() {
    let hold = |seconds: &str| {
        let key = format!("<dict><key>pre_login_hold</key><integer>{seconds}</integer>");
        read(&PRE_LOGIN.replacen("<dict>", &key, 1)).pre_login_hold
    };
    assert_eq!(hold("-1"), Hold::UntilAuthenticated);
    assert_eq!(hold("0"), Hold::Cut);
    assert_eq!(hold("7200"), Hold::Seconds(7_200));
}

#[test]
fn secrets_are_in_no_output() {
    let config = read(PRE_LOGIN);
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("TOKEN-SECRET"), "{shown}");
    assert!(shown.contains("redacted"), "the field is shown as present");
}

#[test]
fn the_default_path_is_the_vendor_s() {
    assert_eq!(default_path("windows"), r"C:\ProgramData\Cloudflare\mdm.xml");
    assert_eq!(default_path("linux"), "/var/lib/cloudflare-warp/mdm.xml");
}
