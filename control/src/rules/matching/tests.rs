#![allow(clippy::unwrap_used)]
use super::*;
use crate::rules::{Group, List, ListKind, Person};
use std::collections::{BTreeMap, BTreeSet};

fn ada() -> Subject {
    let group = |id: &str, name: &str, email: &str| Group { id: id.into(), name: name.into(), email: email.into() };
    Subject {
        person: Person {
            email: "Ada@Example.com".into(),
            name: "Ada Lovelace".into(),
            groups: vec![group("g-1", "developers", "dev@example.com"), group("g-2", "finance", "")],
            attributes: BTreeMap::from([("group".to_owned(), vec!["admins".to_owned(), "staff".to_owned()])]),
        },
        service_token: None,
        os_name: "windows".into(),
        os_version: "10.0.19045".into(),
        network: Some("Austin office".into()),
        posture_passed: BTreeSet::from(["ee4c2a3c-0000-4000-8000-000000000001".to_owned()]),
        posture_failed: BTreeSet::from(["ee4c2a3c-0000-4000-8000-000000000002".to_owned()]),
    }
}

fn token() -> Subject {
    Subject {
        service_token: Some("5e1a8c3b-0000-4000-8000-000000000003".into()),
        ..Subject::with_email("non_identity@mycompany.cloudflareaccess.com")
    }
}

fn lists() -> Lists {
    let mut lists = Lists::default();
    lists.insert("0e1f0000-0000-4000-8000-00000000000A", List::new(ListKind::Email, ["ada@example.com"]));
    lists.insert("ips", List::new(ListKind::Ip, ["10.0.0.0/8"]));
    lists
}

/// Scope, expression, whether it is true of Ada on her Windows laptop, and of a service token.
const TABLE: &[(Scope, &str, bool, bool)] = &[
    // The vendor's published examples.
    (Scope::Identity, r#"identity.email in {"non_identity@mycompany.cloudflareaccess.com"}"#, false, true),
    (Scope::Identity, r#"identity.email == "ada@example.com""#, true, false),
    (Scope::Identity, r#"identity.name == "Ada Lovelace""#, true, false),
    (Scope::Identity, r#"any(identity.groups[*].id in {"g-0" "g-1"})"#, true, false),
    (Scope::Identity, r#"any(identity.groups[*].name in {"finance"})"#, true, false),
    (Scope::Identity, r#"any(identity.groups.name[*] in {"finance"})"#, true, false),
    (Scope::Identity, r#"any(identity.groups[*].email in {"Dev@example.com"})"#, true, false),
    (Scope::Identity, r#"any(identity.groups.email[*] in {"ops@example.com"})"#, false, false),
    (Scope::Identity, r#"any(identity.saml_attributes["group"] in {"admins"})"#, true, false),
    (Scope::Identity, r#"any(identity.saml_attributes[*] == "group=staff")"#, true, false),
    (Scope::Identity, r#"any(identity.saml_attributes[*] in {"group=guests"})"#, false, false),
    (
        Scope::DevicePosture,
        r#"any(device_posture.checks.passed[*] in {"ee4c2a3c-0000-4000-8000-000000000001"})"#,
        true,
        false,
    ),
    (
        Scope::DevicePosture,
        r#"any(device_posture.checks.failed[*] in {"EE4C2A3C-0000-4000-8000-000000000002"})"#,
        true,
        false,
    ),
    (
        Scope::Profile,
        r#"identity.email in {"jdoe@example.com"} or any(identity.groups.name[*] in {"developers" "admin"}) and os.name == "windows""#,
        true,
        false,
    ),
    (Scope::Profile, r#"network == "Austin office""#, true, false),
    (Scope::Profile, r#"os.version == "1.2.0""#, false, false),
    (Scope::Profile, r#"identity.service_token_uuid == "5e1a8c3b-0000-4000-8000-000000000003""#, false, true),
    (Scope::Profile, r#"identity.email == "test@cloudflare.com""#, false, false),
    (Scope::Profile, r#"identity.email matches ".*@example\.com""#, true, false),
    // Precedence: not > and > xor > or.
    (Scope::Identity, "", true, true),
    (
        Scope::Identity,
        r#"identity.name == "x" or identity.name == "Ada Lovelace" and not identity.name == "Ada Lovelace""#,
        false,
        false,
    ),
    (
        Scope::Identity,
        r#"identity.name == "Ada Lovelace" || identity.name == "x" && identity.name == "y""#,
        true,
        false,
    ),
    (
        Scope::Identity,
        r#"(identity.name == "Ada Lovelace" or identity.name == "x") and identity.name == "y""#,
        false,
        false,
    ),
    (Scope::Identity, r#"!(identity.email in {"a@x"}) and not identity.name eq "x""#, true, true),
    (Scope::Identity, r#"identity.email contains "ada" xor identity.name contains "Ada""#, false, false),
    (Scope::Identity, r#"identity.name contains "ada" ^^ identity.email contains "@""#, true, true),
    // Operators.
    (Scope::Identity, r#"identity.email != "ada@example.com""#, false, true),
    (Scope::Identity, r#"identity.email ne "ada@example.com""#, false, true),
    (Scope::Identity, r#"identity.email not in {"ada@example.com" "b@x"}"#, false, true),
    (Scope::Identity, r#"identity.name ~ "^Ada\s""#, true, false),
    (Scope::Identity, r##"identity.name matches r#"^Ada\sLove"#"##, true, false),
    (Scope::Identity, r#"identity.name == "Ada\x20Lovelace""#, true, false),
    (Scope::Identity, "identity.email in $0e1f0000-0000-4000-8000-00000000000a", true, false),
    (Scope::Identity, "not identity.email in $0e1f0000-0000-4000-8000-00000000000A", false, true),
    // Cases count in names, not in addresses.
    (Scope::Identity, r#"identity.name == "ada lovelace""#, false, false),
    (Scope::Identity, r#"any(identity.groups.name[*] == "Developers")"#, false, false),
    // Many values.
    (Scope::Identity, r#"all(identity.groups.name[*] in {"developers" "finance"})"#, true, true),
    (Scope::Identity, r#"all(identity.groups.name[*] in {"developers"})"#, false, true),
    (Scope::Identity, r#"any(identity.groups.name[*] != "developers")"#, true, false),
    (Scope::Identity, r#"identity.groups.name == "developers""#, true, false),
    (Scope::Identity, r#"identity.groups.name != "developers""#, false, true),
    // What is not known is equal to nothing.
    (Scope::Profile, r#"network != "Austin office""#, false, true),
    (Scope::Profile, r#"os.name matches "^$""#, false, false),
    // Versions, by number.
    (Scope::Profile, r#"os.version >= "10.0.9999""#, true, false),
    (Scope::Profile, r#"os.version < "10.0.19045""#, false, false),
    (Scope::Profile, r#"os.version <= "10.0.19045" and os.version gt "9.9.9""#, true, false),
    (Scope::Profile, r#"os.version in {"10.0.19044" "10.0.19045"}"#, true, false),
];

#[test]
fn expressions_about_subjects_give_the_documented_result() {
    for &(scope, text, of_ada, of_token) in TABLE {
        let expression = Match::parse(text, scope).unwrap_or_else(|error| panic!("{text}: {error}"));
        expression.check_lists(&lists()).unwrap();
        assert_eq!(expression.matches(&ada(), &lists()), of_ada, "{text} of a user");
        assert_eq!(expression.matches(&token(), &lists()), of_token, "{text} of a service token");
        let again =
            Match::parse(&expression.to_string(), scope).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(again.to_string(), expression.to_string());
        assert_eq!(again.matches(&ada(), &lists()), of_ada, "{expression} reads as something else than {text}");
    }
}

#[test]
fn a_systems_version_is_its_first_three_numbers() {
    let newer = Match::parse(r#"os.version >= "6.1.0""#, Scope::Profile).unwrap();
    let of = |os_version: &str| Subject { os_version: os_version.into(), ..Subject::default() };
    for (version, is) in
        [("6.1.0-18-amd64", true), ("6.2.0", true), ("6.0.9", false), ("6.1", false), ("unknown", false)]
    {
        assert_eq!(newer.matches(&of(version), &Lists::default()), is, "{version}");
    }
}

#[test]
fn lists_must_be_there_and_fit() {
    let check = |text| Match::parse(text, Scope::Identity).unwrap().check_lists(&lists()).unwrap_err().to_string();
    assert_eq!(
        check("identity.email in $nowhere"),
        "column 19: there is no list `nowhere`: create it under /gateway/lists first"
    );
    assert_eq!(
        check("identity.email in $ips"),
        "column 19: `identity.email` is compared with lists of type EMAIL, `ips` is of type IP"
    );
}

#[test]
fn flows_are_no_subjects() {
    assert!(Match::parse("net.dst.port == 80", Scope::Traffic).is_err());
}
