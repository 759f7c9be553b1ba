use super::super::*;
use super::{FLAT, MULTI_USER, PRE_LOGIN};

/// The whole message of the error that `text` must give.
fn error(text: &str) -> String {
    match parse("mdm.xml", text.as_bytes()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(error(text), message);
}

/// A flat file with this after its first key.
fn flat(inside: &str) -> String {
    FLAT.replacen("</string>\n", &format!("</string>\n{inside}\n"), 1)
}

#[test]
fn empty_files() {
    for text in ["", " \r\n\t ", "\u{feff}", "<?xml version=\"1.0\"?>\n<!-- nothing -->\n"] {
        let message = "mdm.xml: the file is empty: expected a <dict>; remove the file to run without a configuration";
        refused(text, message);
    }
}

#[test]
fn a_file_of_ten_megabytes() {
    let text = format!("<dict>{}</dict>", " ".repeat(10_000_000));
    let message = "mdm.xml: the file is larger than 1048576 bytes (10000013 read): this is not an MDM file, replace it";
    refused(&text, message);
}

#[test]
fn half_written_files_at_every_byte() {
    for text in [PRE_LOGIN, MULTI_USER, FLAT] {
        for end in 1..text.trim_end().len() {
            let Some(half) = text.get(..end) else { continue };
            if let Ok(config) = parse("mdm.xml", half.as_bytes()) {
                panic!("half a file of {end} bytes was accepted: {config:?}");
            }
        }
    }
    let half = &PRE_LOGIN[..PRE_LOGIN.find("SECRET").unwrap() + 3];
    let message = "mdm.xml: line 9: `pre_login.auth_client_secret`: the file ends inside <string> of line 9: it is half-written, write it again as a whole";
    refused(half, message);
}

#[test]
fn text_that_is_no_plist() {
    refused("{\"multi_user\": true}", "mdm.xml: line 1: expected a <dict>, got text");
    refused(
        "<html><body/></html>",
        "mdm.xml: line 1: expected an element of a plist (dict, array, key, string, ...), got <html>",
    );
    refused("<array></array>", "mdm.xml: line 1: expected a <dict>, got an <array>");
    refused("<dict></dict>\n<dict></dict>", "mdm.xml: line 2: expected the end of the file, got another value");
    refused(
        "<dict></array>",
        "mdm.xml: line 1: not well-formed XML: <dict> of line 1 is not closed where it should be",
    );
    let message = parse("mdm.xml", b"<dict>\xff\xfe</dict>").unwrap_err().to_string();
    assert_eq!(message, "mdm.xml: line 1: the text is neither UTF-8 nor UTF-16: save it as UTF-8");
}

#[test]
fn values_without_keys_and_keys_without_values() {
    refused("<dict>\n<true/>\n</dict>", "mdm.xml: line 2: expected a <key> or </dict>, got <true>");
    refused("<dict>\n<key>multi_user</key>\n</dict>", "mdm.xml: line 2: `multi_user`: expected a value, got </dict>");
    refused(
        "<dict>\n<key>multi_user</key>\n<key>configs</key>\n</dict>",
        "mdm.xml: line 3: `multi_user`: expected a value, got <key>",
    );
    refused("<dict>\nmulti_user\n</dict>", "mdm.xml: line 2: expected a <key> or </dict>, got text");
}

#[test]
fn duplicate_keys() {
    let text = flat("<key>onboarding</key><true/>");
    refused(&text, "mdm.xml: line 7: `onboarding`: the key is already on line 4: keep one of them");
}

#[test]
fn wrong_types() {
    let cases = [
        ("auto_connect", "<string>5</string>", "expected an <integer> of minutes, got a <string>"),
        ("switch_locked", "<string>true</string>", "expected <true/> or <false/>, got a <string>"),
        ("display_name", "<integer>5</integer>", "expected a <string>, got an <integer>"),
        ("configs", "<dict/>", "expected an <array> of <dict>, got a <dict>"),
        ("pre_login", "<array/>", "expected a <dict>, got an <array>"),
        ("proxy_port", "<real>1.5</real>", "expected an <integer>, got a <real>"),
    ];
    for (key, value, problem) in cases {
        let text = FLAT.replace("auto_connect", "spare").replacen(
            "<key>spare",
            &format!("<key>{key}</key>\n{value}\n<key>spare"),
            1,
        );
        refused(&text, &format!("mdm.xml: line 5: `{key}`: {problem}"));
    }
}

#[test]
fn wrong_values() {
    let cases = [
        ("auto_connect", "<integer>1441</integer>", "expected an <integer> of minutes from 0 to 1440, got `1441`"),
        ("proxy_port", "<integer>0</integer>", "expected an <integer> from 1 to 65535, got `0`"),
        ("pre_login_hold", "<integer>-2</integer>", "expected an <integer> of seconds from -1 to 7200, got `-2`"),
        (
            "pre_login_hold",
            "<integer>two</integer>",
            "expected a whole number of 64 bits inside <integer>, got 3 other characters",
        ),
        (
            "service_mode",
            "<string>vpn</string>",
            "expected one of warp, 1dot1, proxy, postureonly, tunnelonly, got `vpn`",
        ),
        (
            "override_api_endpoint",
            "<string>203.0.113.256</string>",
            "expected an IP address, e.g. 203.0.113.7 or 2001:db8::7, got `203.0.113.256`",
        ),
        (
            "override_warp_endpoint",
            "<string>203.0.113.7</string>",
            "expected an IP address and a port, e.g. 203.0.113.7:2408 or [2001:db8::7]:2408, got `203.0.113.7`",
        ),
        (
            "external_emergency_signal_url",
            "<string>https://example.com/</string>",
            "expected an https:// address whose host is an IP address, got `https://example.com/`",
        ),
        ("display_name", "<string> </string>", "the value is empty: expected a <string>, or remove the key"),
    ];
    for (key, value, problem) in cases {
        let text = FLAT.replace("auto_connect", "spare").replacen(
            "<key>spare",
            &format!("<key>{key}</key>\n{value}\n<key>spare"),
            1,
        );
        refused(&text, &format!("mdm.xml: line 5: `{key}`: {problem}"));
    }
    let text = FLAT.replace("mycompany", "my company");
    let problem = "expected a team name (1 to 63 letters, digits and inner hyphens), got `my company`";
    refused(&text, &format!("mdm.xml: line 3: `organization`: {problem}"));
}

#[test]
fn keys_that_require_each_other() {
    let secret = "<key>auth_client_secret</key>\n    <string>TOKEN-SECRET</string>";
    refused(
        &PRE_LOGIN.replace(secret, ""),
        "mdm.xml: line 3: `pre_login.auth_client_secret`: the key is missing: `auth_client_id` requires it",
    );
    refused(
        &flat("<key>auth_client_secret</key><string>s</string>"),
        "mdm.xml: line 1: `auth_client_id`: the key is missing: `auth_client_secret` requires it",
    );
    refused(
        &PRE_LOGIN.replace("configs", "config"),
        "mdm.xml: line 1: `configs`: the key is missing: `pre_login` requires it, also with a single organisation",
    );
    refused(
        &flat("<key>multi_user</key><true/>"),
        "mdm.xml: line 1: `configs`: the key is missing: `multi_user` requires it, also with a single organisation",
    );
    refused(
        &PRE_LOGIN.replace("display_name", "name"),
        "mdm.xml: line 13: `configs[0].display_name`: the key is missing: every entry of `configs` needs a label for the menu",
    );
}

#[test]
fn more_than_25_organisations() {
    let entry = |n: usize| {
        format!("<dict><key>organization</key><string>t{n}</string><key>display_name</key><string>{n}</string></dict>")
    };
    let file =
        |n: usize| format!("<dict><key>configs</key><array>{}</array></dict>", (0..n).map(entry).collect::<String>());
    assert_eq!(parse("mdm.xml", file(25).as_bytes()).unwrap().configs.len(), 25);
    refused(&file(26), "mdm.xml: line 1: `configs`: 26 organisations: at most 25 are allowed");
}

#[test]
fn environments_of_one_organisation_that_disagree() {
    let text = MULTI_USER.replace("othercompany", "MYCOMPANY").replace(
        "<key>display_name</key>\n      <string><!",
        "<key>environment</key><string>fedramp_high</string><key>display_name</key>\n      <string><!",
    );
    let problem = "expected the same environment in every entry of an organisation, normal as in the first one, got `fedramp_high`";
    refused(&text, &format!("mdm.xml: line 21: `configs[1].environment`: {problem}"));
}

#[test]
fn entities_are_never_expanded() {
    let bomb = "<!DOCTYPE dict [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n<dict><key>organization</key><string>&b;</string></dict>";
    let advice = "entities are never expanded; write the text itself, `&amp;` for `&`, `&lt;` for `<`";
    refused(bomb, &format!("mdm.xml: line 1: a DOCTYPE with declarations: {advice}"));
    refused(
        &FLAT.replace("mycompany", "&file;"),
        &format!("mdm.xml: line 3: `organization`: a reference other than XML's own five: {advice}"),
    );
}

#[test]
fn a_nesting_bomb() {
    let text = format!("<dict><key>a</key>{}", "<array>".repeat(100_000));
    let message = error(&text);
    assert!(message.ends_with("elements are nested more than 16 deep: an MDM file needs 4"), "{message}");
}

#[test]
fn a_secret_is_never_repeated_in_an_error() {
    let secret = "cfast_0123456789";
    let token = |secret: &str| PRE_LOGIN.replace("TOKEN-SECRET", secret);
    for text in [
        token(&format!("<{secret}>")),
        token(&format!("{secret} {secret}")),
        token(&format!("{secret}&{secret};")),
        token(&format!("{secret}<{secret}")),
        token(&format!("{secret}</{secret}>")),
        token(secret).replace("<string>cfast", "<integer>cfast"),
        token(secret).replace("<string>cfast", "cfast"),
        token(secret).replace("</string>\n  </dict>", ""),
    ] {
        let message = error(&text);
        assert!(!message.contains("cfast"), "{message}");
        assert!(message.starts_with("mdm.xml: line "), "{message}");
        assert!(message.contains(": `pre_login.auth_client_secret`: "), "{message}");
    }
}
