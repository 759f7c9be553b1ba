//! The tables of keys against the reader, and `docs/compatibility.md` against the tables.

use super::super::{
    dict::Dict,
    keys::{ORGANIZATION, OVERRIDE, PRE_LOGIN, TOP_LEVEL},
    *,
};
use super::EVERY_KEY;
use serde_json::json;
use std::collections::BTreeSet;

/// The keys that a reader looks for.
fn asked<T>(read: impl FnOnce(&mut Dict) -> T) -> BTreeSet<&'static str> {
    let mut dict = Dict::of(plist::parse("<dict/>").unwrap(), "").unwrap();
    read(&mut dict);
    dict.asked().clone()
}

#[test]
fn the_tables_name_every_key_that_is_read_and_no_other() {
    let organization = asked(|dict| organization::read(dict).unwrap());
    assert_eq!(organization, BTreeSet::from(ORGANIZATION));
    assert_eq!(asked(|dict| organization::read_override(dict).unwrap()), BTreeSet::from(OVERRIDE));
    assert_eq!(asked(|dict| read::pre_login_parts(dict).is_ok()), BTreeSet::from(PRE_LOGIN));
    let whole = asked(|dict| read::top(dict, &mut dict::Report::of("")).unwrap());
    assert_eq!(whole, organization.into_iter().chain(TOP_LEVEL).collect());
}

#[test]
fn every_key_stands_in_the_table_of_compatibility() {
    let within =
        |outer: &'static str, keys: &'static [&'static str]| keys.iter().map(move |key| format!("{outer}.{key}"));
    let mut names: Vec<String> = TOP_LEVEL.iter().chain(&ORGANIZATION).map(ToString::to_string).collect();
    names.extend(within("pre_login", &PRE_LOGIN));
    names.extend(within("organization_configs", &OVERRIDE));
    crate::compatibility::assert_complete("MDM keys", names.iter().map(String::as_str));
}

#[test]
fn the_values_of_a_team_are_those_of_its_entry_and_of_what_overrides_it() {
    let config = parse("mdm.xml", EVERY_KEY.as_bytes()).unwrap();
    let values = config.values("MyCompany");
    let of =
        |name: &str| values.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.clone()).collect::<Vec<_>>();
    assert_eq!(of("environment"), [json!("fedramp_high")], "the override counts");
    assert_eq!(of("no_auth_no_internet"), [json!(true)]);
    assert_eq!(of("override_warp_endpoint"), [json!("203.0.113.7:0")]);
    assert_eq!(of("auth_client_secret"), [json!("(redacted)")]);
    assert!(of("multi_user").is_empty(), "not in the file");
    let keys: BTreeSet<_> = values.iter().map(|(key, _)| *key).collect();
    assert!(ORGANIZATION.iter().all(|key| keys.contains(key)));
    assert!(config.values("another").iter().all(|(key, _)| TOP_LEVEL.contains(key)));
}
