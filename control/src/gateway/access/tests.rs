//! Every action, rule list and selector, and that the table of them is complete.
#![allow(clippy::unwrap_used)]

use super::certificate::ClientCertificate;
use super::selector::{JUDGED, REFUSED};
use super::*;
use crate::rules::Person;
use serde_json::{Value, json};
use std::net::IpAddr;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const TOKEN: Applicant<'_> = Applicant { who: Who::Token { id: "t1" }, from: HOME, certificates: &[] };

fn ada() -> Person {
    let mut person = Person::with_email("ada@Example.com");
    person.attributes.insert("department".to_owned(), vec!["research".to_owned(), "teaching".to_owned()]);
    person
}

fn user<'a>(person: &'a Person, provider: Option<&'a str>) -> Applicant<'a> {
    Applicant { who: Who::User { person, provider }, from: HOME, certificates: &[] }
}

fn policy_with(decision: &str, include: Value, require: Value, exclude: Value) -> EnrolPolicy {
    EnrolPolicy::read(&PolicyRow {
        decision: decision.to_owned(),
        include: include.to_string(),
        require: require.to_string(),
        exclude: exclude.to_string(),
        ..PolicyRow::default()
    })
}

fn policy(decision: &str, include: Value) -> EnrolPolicy {
    policy_with(decision, include, json!([]), json!([]))
}

fn rules(include: Value) -> RuleSet {
    RuleSet::read(&include.to_string(), "[]", "[]").unwrap()
}

/// Whether one rule alone lets the applicant in.
fn lets_in(rule: Value, references: &References, applicant: &Applicant<'_>) -> bool {
    let decision = if matches!(applicant.who, Who::Token { .. }) { "non_identity" } else { "allow" };
    permits(&[policy(decision, json!([rule]))], references, applicant)
}

fn nothing() -> References {
    References::default()
}

#[test]
fn without_policies_nobody_enrols() {
    assert!(!permits(&[], &nothing(), &TOKEN) && !permits(&[], &nothing(), &user(&ada(), None)));
}

#[test]
fn a_token_passes_by_service_auth_or_bypass_only() {
    let passes = |policy| permits(&[policy], &nothing(), &TOKEN);
    let named = json!([{ "service_token": { "token_id": "t1" } }]);
    let everyone = json!([{ "everyone": {} }]);
    assert!(passes(policy("non_identity", named.clone())));
    assert!(passes(policy("bypass", named.clone())));
    assert!(passes(policy("non_identity", everyone.clone())));
    assert!(!passes(policy("allow", named.clone())));
    assert!(!passes(policy("allow", everyone.clone())));
    assert!(!passes(policy_with("non_identity", everyone, json!([]), named)), "excluded");
}

#[test]
fn a_user_passes_by_the_first_allow_or_block_that_matches() {
    let (person, references) = (ada(), nothing());
    let passes = |policies: &[EnrolPolicy]| permits(policies, &references, &user(&person, None));
    let domain = json!([{ "email_domain": { "domain": "example.com" } }]);
    let mail = json!([{ "email": { "email": "ada@example.com" } }]);
    assert!(passes(&[policy("allow", domain.clone())]));
    assert!(!passes(&[policy("deny", mail.clone()), policy("allow", domain.clone())]));
    assert!(passes(&[policy("allow", domain.clone()), policy("deny", mail.clone())]));
    assert!(!passes(&[policy("non_identity", json!([{ "everyone": {} }]))]), "Service Auth is for service tokens");
    assert!(passes(&[policy("deny", mail.clone()), policy("bypass", mail.clone())]), "Bypass is asked before Block");
    assert!(!passes(&[policy("bypass", json!([{ "any_valid_service_token": {} }]))]));
}

#[test]
fn include_is_or_require_is_and_exclude_is_not() {
    let (person, references) = (ada(), nothing());
    let passes = |include, require, exclude| {
        permits(&[policy_with("allow", include, require, exclude)], &references, &user(&person, None))
    };
    let (yes, no) = (json!({ "everyone": {} }), json!({ "email": { "email": "eve@example.com" } }));
    assert!(passes(json!([no, yes]), json!([]), json!([])));
    assert!(!passes(json!([no]), json!([]), json!([])));
    assert!(passes(json!([yes]), json!([yes, yes]), json!([no])));
    assert!(!passes(json!([yes]), json!([yes, no]), json!([])));
    assert!(!passes(json!([yes]), json!([]), json!([no, yes])));
}

#[test]
fn a_selector_sees_what_it_names() {
    let person = ada();
    let (local, federated) = (user(&person, None), user(&person, Some("idp-1")));
    let references = References::of(
        &[
            ("staff", rules(json!([{ "email_list": { "id": "mails" } }]))),
            ("nested", rules(json!([{ "group": { "id": "staff" } }]))),
        ],
        &[("mails", &["bob@example.com", "ADA@example.com"]), ("nets", &["203.0.113.0/24", "192.0.2.1..192.0.2.9"])],
    );
    for (rule, token, ada_local, ada_federated) in [
        (json!({ "everyone": {} }), true, true, true),
        (json!({ "everyone": null }), true, true, true),
        (json!({ "email": { "email": "Ada@example.COM" } }), false, true, true),
        (json!({ "email": { "email": "bob@example.com" } }), false, false, false),
        (json!({ "email_domain": { "domain": "EXAMPLE.com" } }), false, true, true),
        (json!({ "email_domain": { "domain": "@example.com" } }), false, true, true),
        (json!({ "email_domain": { "domain": "ample.com" } }), false, false, false),
        (json!({ "email_list": { "id": "mails" } }), false, true, true),
        (json!({ "email_list": { "id": "gone" } }), false, false, false),
        (json!({ "ip": { "ip": "192.0.2.0/24" } }), true, true, true),
        (json!({ "ip": { "ip": "192.0.2.7" } }), true, true, true),
        (json!({ "ip": { "ip": "2001:db8::/32" } }), false, false, false),
        (json!({ "ip_list": { "id": "nets" } }), true, true, true),
        (json!({ "ip_list": { "id": "gone" } }), false, false, false),
        (json!({ "group": { "id": "nested" } }), false, true, true),
        (json!({ "group": { "id": "gone" } }), false, false, false),
        (json!({ "service_token": { "token_id": "t1" } }), true, false, false),
        (json!({ "service_token": { "token_id": "t2" } }), false, false, false),
        (json!({ "any_valid_service_token": {} }), true, false, false),
        (json!({ "login_method": { "id": "local" } }), false, true, false),
        (json!({ "login_method": { "id": "idp-1" } }), false, false, true),
        (json!({ "certificate": {} }), false, false, false),
        (json!({ "common_name": { "common_name": "laptop-7" } }), false, false, false),
        (claim("idp-1", "department", "teaching"), false, false, true),
        (claim("idp-2", "department", "teaching"), false, false, false),
        (claim("idp-1", "department", "sales"), false, false, false),
        (claim("idp-1", "level", "teaching"), false, false, false),
    ] {
        assert_eq!(lets_in(rule.clone(), &references, &TOKEN), token, "token: {rule}");
        assert_eq!(lets_in(rule.clone(), &references, &local), ada_local, "local: {rule}");
        assert_eq!(lets_in(rule.clone(), &references, &federated), ada_federated, "federated: {rule}");
    }
    let certificates = |name: Option<&str>| [ClientCertificate { common_name: name.map(str::to_owned) }];
    for (name, any, named) in [(None, true, false), (Some("laptop-7"), true, true), (Some("Laptop-7"), true, false)] {
        let certificates = certificates(name);
        let with = Applicant { certificates: &certificates, ..TOKEN };
        assert_eq!(lets_in(json!({ "certificate": {} }), &references, &with), any, "{name:?}");
        assert_eq!(
            lets_in(json!({ "common_name": { "common_name": "laptop-7" } }), &references, &with),
            named,
            "{name:?}"
        );
    }
    let mapped = Applicant { from: "::ffff:192.0.2.7".parse().unwrap(), ..local };
    assert!(lets_in(json!({ "ip": { "ip": "192.0.2.7" } }), &references, &mapped), "a mapped address is an IPv4 one");
}

fn claim(provider: &str, name: &str, value: &str) -> Value {
    json!({ "oidc": { "identity_provider_id": provider, "claim_name": name, "claim_value": value } })
}

#[test]
fn what_cannot_be_judged_lets_nobody_in_and_keeps_nobody_from_being_blocked() {
    let (person, references) = (ada(), nothing());
    let passes = |policies: &[EnrolPolicy]| permits(policies, &references, &user(&person, None));
    let (gone, everyone) = (json!([{ "ip_list": { "id": "gone" } }]), json!([{ "everyone": {} }]));
    assert!(!passes(&[policy("allow", gone.clone())]));
    assert!(!passes(&[policy_with("allow", everyone.clone(), json!([]), gone.clone())]), "an Exclude that is gone");
    assert!(!passes(&[policy_with("allow", everyone.clone(), gone.clone(), json!([]))]));
    assert!(!passes(&[policy("deny", gone), policy("allow", everyone.clone())]), "a Block that is gone");
    assert!(
        !passes(&[policy("deny", json!([{ "geo": {} }])), policy("allow", everyone.clone())]),
        "an unreadable Block"
    );
    assert!(!passes(&[policy("perhaps", everyone.clone()), policy("allow", everyone)]), "an unreadable action");
}

#[test]
fn a_circle_of_groups_is_seen() {
    let references = References::of(
        &[
            ("a", rules(json!([{ "group": { "id": "b" } }]))),
            ("b", rules(json!([{ "group": { "id": "c" } }]))),
            ("c", rules(json!([{ "everyone": {} }]))),
        ],
        &[],
    );
    let back = |id: &str| rules(json!([{ "everyone": {} }, { "group": { "id": id } }]));
    assert!(cycle("c", &back("a"), &references) && cycle("a", &back("a"), &references));
    assert!(!cycle("d", &back("a"), &references));
}

#[test]
fn a_selector_that_cannot_be_judged_is_refused_by_name_with_the_reason() {
    for (name, why) in REFUSED {
        let error = Selector::parse(&json!({ name: { "id": "x" } })).unwrap_err();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
    for (rule, named) in [
        (json!({ "mail": { "email": "a@b" } }), "expected one of email, email_domain"),
        (json!({ "email": { "email": "a@b", "x": 1 } }), "unknown field `x`"),
        (json!({ "email": { "email": "nobody" } }), "mail address"),
        (json!({ "email": "a@b" }), "email"),
        (json!({ "email_domain": { "domain": "a@b" } }), "domain"),
        (json!({ "ip": { "ip": "192.0.2.300" } }), "192.0.2.300"),
        (json!({ "email": { "email": "a@b" }, "everyone": {} }), "one field"),
        (json!("everyone"), "one field"),
        (claim("idp", "", "x"), "claim_name"),
        (json!({ "common_name": { "common_name": "" } }), "common_name"),
    ] {
        let error = Selector::parse(&rule).unwrap_err();
        assert!(error.contains(named), "{rule}: {error}");
    }
}

#[test]
fn the_table_of_enrolment_is_complete() {
    let words = [
        "allow",
        "deny",
        "bypass",
        "non_identity",
        "Include",
        "Require",
        "Exclude",
        "Access groups",
        "Reusable policies",
    ];
    let fields = ["allowed_idps", "auto_redirect_to_identity", "app_launcher_visible", "session_duration", "policies"];
    let providers = ["oidc provider", "onetimepin provider", "saml provider", "local accounts"];
    let refused = REFUSED.iter().map(|(name, _)| *name);
    let names = words.into_iter().chain(JUDGED).chain(refused).chain(fields).chain(providers);
    crate::compatibility::assert_complete("Enrolment", names);
}
