//! What comes from outside, as the fuzz targets feed it (`tests/fuzz`) and the corpus is replayed: any bytes are
//! answered by a value or by an error that can be read, never by a panic, and what two ways lead to is the same.

use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use vestibule_control::api::device::{Changes, EnrolResponse, PolicyDocument, SwapResponse};
use vestibule_control::api::profile::ProfileDocument;
use vestibule_control::mdm::{self, MAX_CONFIGS};
use vestibule_control::rules::{
    Applying, Group, List, ListKind, Lists, Match, Person, Rule, Scope, Subject, Traffic, document as sent,
    engine_policy, policy,
};
use vestibule_engine::classify::{Extracted, FlowKey};
use vestibule_engine::policy::{Action, Detected, Policy};

/// An MDM file.
///
/// # Panics
/// When something is wrong with the reader.
pub fn mdm(content: &[u8]) {
    match mdm::parse("mdm.xml", content) {
        Ok(config) => {
            assert!(config.configs.len() <= MAX_CONFIGS);
            assert!(config.pre_login.is_none() || !config.configs.is_empty(), "nobody could ever sign in");
            let settings = config.settings();
            for team in &settings.organizations {
                let _ = config.values(team);
            }
            for warning in &config.warnings {
                readable(&warning.to_string());
            }
        }
        Err(error) => {
            let message = error.to_string();
            readable(&message);
            assert!(message.starts_with("mdm.xml: "), "{message}");
        }
    }
}

/// An expression: the first character, a digit, says of what, the rest is its text.
///
/// # Panics
/// When something is wrong with parser, printer or compiler.
pub fn expression(content: &[u8]) {
    let Some((scope, text)) = content.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match scope.wrapping_sub(b'0') % 4 {
        0 => traffic(text),
        1 => matching(text, Scope::Identity),
        2 => matching(text, Scope::DevicePosture),
        _ => matching(text, Scope::Profile),
    }
}

/// A document that a gateway sends: the first character, a digit, says which, the rest is JSON.
///
/// # Panics
/// When something is wrong with what reads it.
pub fn document(content: &[u8]) {
    let Some((kind, json)) = content.split_first() else { return };
    match kind.wrapping_sub(b'0') % 5 {
        0 => {
            let Some(document) = read_and_written::<PolicyDocument>(json) else { return };
            let policy = engine_policy(&document);
            let rules: BTreeSet<u32> = document.rules.iter().map(|rule| rule.id).collect();
            for (key, extracted) in flows() {
                let verdict = policy.decide(&key, &extracted);
                assert!(verdict.rule.is_none_or(|rule| rules.contains(&rule)), "{verdict:?}");
            }
        }
        1 => drop(read_and_written::<ProfileDocument>(json)),
        2 => drop(read_and_written::<Changes>(json)),
        3 => drop(serde_json::from_slice::<SwapResponse>(json)),
        _ => drop(serde_json::from_slice::<EnrolResponse>(json)),
    }
}

fn readable(message: &str) {
    assert!(!message.is_empty() && message.len() < 2_000, "a message of {} bytes", message.len());
    assert!(!message.contains(['\n', '\r', '\x1b']), "{message:?}");
}

fn read_and_written<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(json).ok()?;
    let written = serde_json::to_vec(&read).unwrap_or_else(|error| panic!("{read:?}: {error}"));
    let again: T = serde_json::from_slice(&written).unwrap_or_else(|error| panic!("{read:?}: {error}"));
    assert_eq!(again, read);
    Some(read)
}

fn traffic(text: &str) {
    let lists = lists();
    let traffic = match Traffic::parse(text, &lists) {
        Ok(traffic) => traffic,
        Err(error) => return readable(&error.to_string()),
    };
    let (identity, device_posture) = (Match::everybody(), Match::everybody());
    let rule = Rule { name: "fuzzed".into(), action: Action::Block, identity, device_posture, traffic };
    let applying = Applying { rules: vec![&rule], default_allow: true, version: 1 };
    let json = serde_json::to_vec(&sent(&applying)).unwrap_or_else(|error| panic!("{error}"));
    let read: PolicyDocument = serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{error}"));
    let (here, there) = (policy(&applying), engine_policy(&read));
    let rule = |policy: &Policy, (key, extracted): &(FlowKey, Extracted)| policy.decide(key, extracted).rule;
    for flow in flows() {
        assert_eq!(rule(&here, &flow), rule(&there, &flow), "the ends differ about {flow:?}");
    }
}

fn matching(text: &str, scope: Scope) {
    let read = match Match::parse(text, scope) {
        Ok(read) => read,
        Err(error) => return readable(&error.to_string()),
    };
    let printed = read.to_string();
    let again = Match::parse(&printed, scope).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again.to_string(), printed);
    let lists = lists();
    if read.check_lists(&lists).is_err() {
        return;
    }
    for subject in subjects() {
        assert_eq!(read.matches(&subject, &lists), again.matches(&subject, &lists), "{printed} of {subject:?}");
    }
}

fn lists() -> Lists {
    let mut lists = Lists::default();
    lists.insert("ips", List::new(ListKind::Ip, ["10.9.0.2", "10.20.0.0/24", "fd00::1..fd00::5"]));
    lists.insert("none", List::new(ListKind::Ip, []));
    let names: Vec<String> = (0..20).map(|i| format!("n{i}.example")).collect();
    lists.insert("names", List::new(ListKind::Domain, names.iter().map(String::as_str).chain(["a.example"])));
    lists.insert("mails", List::new(ListKind::Email, ["anna@example.com"]));
    lists
}

fn flows() -> Vec<(FlowKey, Extracted)> {
    let speaking = |protocol, name: Option<&str>| Extracted { protocol, server_name: name.map(Into::into) };
    let flow = |source: [u8; 4], destination: IpAddr, protocol, destination_port| FlowKey {
        source: source.into(),
        destination,
        protocol,
        source_port: 40_000,
        destination_port,
    };
    let (inner, server) = ([100, 96, 0, 7], IpAddr::from([10, 9, 0, 2]));
    let v6 = FlowKey {
        source: "fd00::9".parse().unwrap_or(server),
        destination: "fd00::3".parse().unwrap_or(server),
        ..flow(inner, server, 17, 53)
    };
    vec![
        (flow(inner, server, 6, 443), speaking(Some(Detected::Tls), Some("a.example"))),
        (flow(inner, server, 6, 443), speaking(Some(Detected::Tls), Some("x.partner.example"))),
        (flow(inner, server, 6, 22), speaking(Some(Detected::Ssh), None)),
        (flow(inner, [203, 0, 113, 1].into(), 17, 53), speaking(None, None)),
        (FlowKey { source_port: 0, ..flow(inner, server, 1, 0) }, speaking(None, None)),
        (v6, speaking(None, None)),
    ]
}

fn subjects() -> Vec<Subject> {
    let anna = Person {
        name: "Anna".into(),
        groups: vec![Group { id: "g1".into(), name: "developers".into(), email: "dev@example.com".into() }],
        attributes: [("department".to_owned(), vec!["sales".to_owned()])].into_iter().collect(),
        ..Person::with_email("anna@example.com")
    };
    let anna = Subject {
        os_name: "linux".into(),
        posture_passed: ["p1".into()].into(),
        posture_failed: ["p2".into()].into(),
        ..Subject::of(anna)
    };
    vec![anna, Subject::with_email("non_identity@mycompany.cloudflareaccess.com"), Subject::with_email("")]
}
