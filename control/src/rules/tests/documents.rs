//! Rules to policies and documents.

use super::flows::{Flow, lists};
use crate::api::device::{POLICY_FORMAT, PolicyDocument};
use crate::rules::Lists;
use crate::rules::{Applying, Match, Rule, Scope, Traffic, document, engine_policy, judged_by_the_gateway, policy};
use vestibule_engine::packet::header::{ICMP, TCP, UDP};
use vestibule_engine::policy::Action;

fn rule(name: &str, action: Action, traffic: &str, lists: &Lists) -> Rule {
    Rule {
        name: name.into(),
        action,
        identity: Match::parse("", Scope::Identity).unwrap(),
        device_posture: Match::everybody(),
        traffic: Traffic::parse(traffic, lists).unwrap(),
    }
}

fn rules() -> Vec<Rule> {
    let to = Action::Override { address: "10.0.0.9".parse().unwrap(), port: Some(8443) };
    let lists = lists();
    vec![
        rule("directory", Action::Allow, "net.dst.ip in $ad-servers and net.dst.port in {53 88 389}", &lists),
        rule("elsewhere", to, "net.dst.ip == 10.0.0.8", &lists),
        rule("not there", Action::Block, "not net.dst.ip in $ad-servers and net.dst.port != 443", &lists),
        rule("again", Action::Allow, r#"net.src.ip in $ad-servers or net.protocol == "icmp""#, &lists),
    ]
}

fn applying(rules: &[Rule]) -> Applying<'_> {
    Applying { rules: rules.iter().collect(), default_allow: true, version: 7 }
}

#[test]
fn a_device_makes_the_gateways_policy_of_its_document() {
    let rules = rules();
    let here = policy(&applying(&rules));
    let sent = serde_json::to_string(&document(&applying(&rules))).unwrap();
    let there = engine_policy(&serde_json::from_str(&sent).unwrap());
    for to in ["10.9.0.2", "10.20.0.7", "10.0.0.8", "192.0.2.1", "fd00::2", "fd00::9"] {
        for (protocol, port) in [(TCP, 53), (UDP, 88), (TCP, 443), (ICMP, 0)] {
            let key = Flow::to(to, protocol, port).key();
            let (mine, its) = (here.verdict(&key), there.verdict(&key));
            assert_eq!(mine.rule, its.rule, "{key:?}");
            assert_eq!(mine.action.permits(), its.action.permits(), "{key:?}");
        }
    }
    let elsewhere = here.verdict(&Flow::to("10.0.0.8", TCP, 443).key());
    assert_eq!(elsewhere.action, Action::Override { address: "10.0.0.9".parse().unwrap(), port: Some(8443) });
}

#[test]
fn a_list_is_sent_once_and_addresses_are_not_unfolded() {
    let rules = rules();
    let document = document(&applying(&rules));
    assert_eq!(document.lists.len(), 1);
    let places =
        document.rules.iter().flat_map(|rule| &rule.clauses).flat_map(|clause| [&clause.destinations, &clause.sources]);
    let named: Vec<_> = places.flatten().filter(|place| place.list == Some(0)).map(|place| place.outside).collect();
    // "not there" is two clauses: other ports, and what has none.
    assert_eq!(named, [false, true, true, false]);
    assert_eq!(
        document.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(),
        ["directory", "elsewhere", "not there", "again"]
    );
}

/// A device whose gateway is newer still connects, and lets the gateway judge.
#[test]
fn what_a_device_does_not_understand_passes_there() {
    let known = document(&applying(&[rule("no", Action::Block, "", &lists())]));
    let blocked = Flow::to("10.0.0.1", TCP, 80).key();
    assert_eq!(engine_policy(&known).verdict(&blocked).action, Action::Block);
    let newer = r#"{"format": 3, "version": 9, "default_allow": false, "moods": ["grim"], "rules": [{"id": 0, "name": "x",
        "allow": false, "clauses": [{"mood": 0}]}]}"#;
    let mut broken = vec![serde_json::from_str::<PolicyDocument>(newer).unwrap()];
    assert_ne!(broken[0].format, POLICY_FORMAT);
    for clause in [
        r#"{"destinations": {"list": 5}}"#,
        r#"{"payload": [{"detected": ["gopher"]}]}"#,
        r#"{"payload": [{}]}"#,
        r#"{"payload": [{"sni_matches": "("}]}"#,
    ] {
        let mut document = known.clone();
        document.rules[0].clauses.push(serde_json::from_str(clause).unwrap());
        broken.push(document);
    }
    for document in broken {
        assert_eq!(engine_policy(&document).verdict(&blocked).action, Action::Allow, "{document:?}");
    }
    assert_eq!(engine_policy(&judged_by_the_gateway(3)).verdict(&blocked).action, Action::Allow);
}
