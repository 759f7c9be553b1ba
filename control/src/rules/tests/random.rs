//! Random text, random trees, random flows.

use super::flows::{Flow, clauses_hold, lists, tree, tree_holds};
use crate::rules::clauses::unfold;
use crate::rules::language::{Scope, parse};
use crate::rules::{Applying, Match, Rule, Traffic, document, engine_policy, policy};
use proptest::prelude::*;
use vestibule_engine::classify::Extracted;
use vestibule_engine::policy::{Action, Detected};

fn comparison() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("net.dst.ip in {10.0.0.0/30 fd00::/126}".to_owned()),
        (0u8..8).prop_map(|last| format!("net.dst.ip == 10.0.0.{last}")),
        (0u8..8).prop_map(|last| format!("net.dst.ip >= 10.0.0.{last}")),
        Just("net.dst.ip in $ad-servers".to_owned()),
        Just("net.dst.ip in $empty".to_owned()),
        Just("net.src.ip not in $ad-servers".to_owned()),
        (0u8..8).prop_map(|last| format!("net.src.internal_src_ip != 10.0.0.{last}")),
        (0u16..6, 0u16..3).prop_map(|(from, more)| format!("net.dst.port in {{{from}..{} 9}}", from + more)),
        (0u16..6).prop_map(|port| format!("net.dst.port < {port}")),
        (0u16..6).prop_map(|port| format!("net.src.port != {port}")),
        Just(r#"net.protocol == "tcp""#.to_owned()),
        Just(r#"net.protocol in {"udp" "icmp"}"#.to_owned()),
        Just(r#"net.sni.host == "a.example""#.to_owned()),
        Just(r#"net.sni.domains == "example""#.to_owned()),
        Just("any(net.sni.domains[*] in $partners)".to_owned()),
        Just("net.sni.host in $many".to_owned()),
        Just("net.sni.domains in $many".to_owned()),
        Just("net.sni.host not in $nobody".to_owned()),
        Just(r#"net.sni.host matches "^[a-b]\.""#.to_owned()),
        Just(r#"net.sni.host contains "exam""#.to_owned()),
        Just(r#"net.detected_protocol in {"tls" "ssh"}"#.to_owned()),
        Just(r#"net.vnet_id == "00000000-0000-0000-0000-000000000000""#.to_owned()),
        Just(r#"net.onramp.type != "device_client""#.to_owned()),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    comparison().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) xor {b}")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") and ("))),
            prop::collection::vec(inner, 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let address = || prop::sample::select(vec!["10.0.0.1", "10.0.0.5", "10.9.0.2", "fd00::1", "fd00::6", "192.0.2.1"]);
    let name = prop::option::of(prop::sample::select(vec!["a.example", "b.example", "x.partner.example", "c.test"]));
    let spoken = prop::option::of(prop::sample::select(vec![Detected::Tls, Detected::Ssh, Detected::Http]));
    let protocol = prop::sample::select(vec![1u8, 6, 17, 58, 47]);
    (address(), address(), protocol, 0u16..10, 0u16..10, name, spoken).prop_map(
        |(destination, source, protocol, destination_port, source_port, sni, detected)| Flow {
            destination: destination.parse().unwrap(),
            source: source.parse().unwrap(),
            protocol,
            destination_port,
            source_port,
            sni: sni.map(str::to_owned),
            detected,
        },
    )
}

/// Pieces of the language, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "net.dst.ip",
        "identity.groups[*].name",
        "identity.saml_attributes[\"a\"]",
        "any(",
        "all(",
        "not",
        "!",
        "(",
        ")",
        "and",
        "or",
        "xor",
        "==",
        "!=",
        "in",
        "matches",
        "contains",
        ">=",
        "{",
        "}",
        "10.0.0.1",
        "1..2",
        "\"a@b\"",
        "r#\"x\"#",
        "\"\\",
        "$x",
        "[*]",
        "os.version",
        "\"1.2.3\"",
        "net.sni.domains",
        "device_posture.checks.passed",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

const SCOPES: [Scope; 4] = [Scope::Traffic, Scope::Identity, Scope::DevicePosture, Scope::Profile];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn clauses_agree_with_the_tree(text in expression(), flows in prop::collection::vec(flow(), 1..8)) {
        let tree = tree(&text);
        // Some have more alternatives than a rule may.
        if let Ok(clauses) = unfold(&tree, &lists()) {
            for flow in flows {
                prop_assert_eq!(clauses_hold(&clauses, &flow), tree_holds(&tree, &flow), "{} of {:?}", text, flow);
            }
        }
    }

    /// From text to both ends' engines, against asking the trees one after the other.
    #[test]
    fn engines_agree_with_the_trees(
        texts in prop::collection::vec((expression(), any::<bool>()), 1..6),
        flows in prop::collection::vec(flow(), 1..8),
    ) {
        let lists = lists();
        let parse = |(text, allow): &(String, bool)| {
            let action = if *allow { Action::Allow } else { Action::Block };
            let traffic = Traffic::parse(text, &lists).ok()?;
            let (identity, device_posture) = (Match::everybody(), Match::everybody());
            Some((tree(text), Rule { name: text.as_str().into(), action, identity, device_posture, traffic }))
        };
        // Some have more alternatives than a rule may.
        let (trees, rules): (Vec<_>, Vec<_>) = texts.iter().filter_map(parse).unzip();
        let applying = Applying { rules: rules.iter().collect(), default_allow: true, version: 1 };
        let sent = serde_json::to_string(&document(&applying)).unwrap();
        let (here, there) = (policy(&applying), engine_policy(&serde_json::from_str(&sent).unwrap()));
        for flow in flows {
            let extracted = Extracted { protocol: flow.detected, server_name: flow.sni.as_deref().map(Into::into) };
            let expected = trees.iter().position(|tree| tree_holds(tree, &flow)).map(|at| at as u32);
            for policy in [&here, &there] {
                prop_assert_eq!(policy.decide(&flow.key(), &extracted).rule, expected, "{:?} of {:?}", texts, flow);
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same(text in expression(), flows in prop::collection::vec(flow(), 1..8)) {
        let before = tree(&text);
        let printed = before.to_string();
        let after = parse(&printed, Scope::Traffic);
        prop_assert!(after.is_ok(), "{} -> {}: {:?}", text, printed, after);
        let after = after.unwrap();
        prop_assert_eq!(after.to_string(), printed);
        for flow in flows {
            prop_assert_eq!(tree_holds(&after, &flow), tree_holds(&before, &flow));
        }
    }

    #[test]
    fn no_text_panics(text in prop_oneof!["\\PC{0,60}", "[a-z0-9 .:/{}()\"\\\\$!=<>&|^~#é\\[\\]*-]{0,80}", pieces()]) {
        let _ = Traffic::parse(&text, &lists());
        for scope in SCOPES {
            if let Ok(read) = Match::parse(&text, scope) {
                let again = Match::parse(&read.to_string(), scope);
                prop_assert_eq!(again.map(|again| again.to_string()), Ok(read.to_string()));
            }
        }
    }
}
