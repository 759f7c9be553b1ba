//! Windows' name resolution policy table: rules in the registry that say which servers are asked under which suffix.
//!
//! Two places hold rules. Those under [`LOCAL`] count only where an administrator has made none under [`POLICY`]: ours
//! stand in both then. Every key of ours begins alike, so that a later start finds what a crash has left.

use super::ResolverConfig;
use std::io;

/// Rules of this host.
pub(super) const LOCAL: &str = r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig";
/// Rules of a group policy.
pub(super) const POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient\DnsPolicyConfig";
/// What the keys of our rules begin with: a GUID of ours without its last two digits, which count the rules.
const OURS: &str = "{6d5b0e9a-7d0c-4c1e-9a55-7665737469";
/// Suffixes in one rule; the system takes no more.
const MAX_NAMES: usize = 50;
/// Rules, by two hexadecimal digits.
const MAX_RULES: usize = 256;
/// `ConfigOptions`: the rule names servers.
const SERVERS: u32 = 8;

/// A value in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u32),
    Text(String),
    Texts(Vec<String>),
}

/// The registry below the local machine, as far as we use it.
pub(super) trait Registry {
    /// The keys in `path`; none when it does not exist.
    fn keys(&self, path: &str) -> io::Result<Vec<String>>;
    /// The value `name` in `path`, when it is there and of such a type.
    fn value(&self, path: &str, name: &str) -> io::Result<Option<Value>>;
    /// Writes a value, and makes the key if need be.
    fn set(&self, path: &str, name: &str, value: &Value) -> io::Result<()>;
    /// Removes a key and all in it.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes a key if nothing is in it; whether it did.
    fn remove_empty(&self, path: &str) -> io::Result<bool>;
}

/// What a change of the table has touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Rules of this host.
    pub(super) local: bool,
    /// Rules of a group policy: the system reads them again only when it is told so.
    pub(super) policy: bool,
}

impl Touched {
    fn at(&mut self, place: &str) {
        if place == POLICY {
            self.policy = true;
        } else {
            self.local = true;
        }
    }

    pub(super) fn any(self) -> bool {
        self.local || self.policy
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    key: String,
    values: [(&'static str, Value); 6],
}

/// The rules that make the system ask the servers of `config` under its suffixes.
fn rules(config: &ResolverConfig) -> Vec<Rule> {
    let mut names: Vec<String> = Vec::new();
    for suffix in config.domains.iter().chain(&config.search) {
        // With the dot: the domain itself and all below it.
        let name = format!(".{}", suffix.trim_matches('.'));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
    let rule = |(number, names): (usize, &[String])| Rule {
        key: format!("{OURS}{number:02x}}}"),
        values: [
            ("Version", Value::Number(2)),
            ("Name", Value::Texts(names.to_vec())),
            ("ConfigOptions", Value::Number(SERVERS)),
            ("GenericDNSServers", Value::Text(servers.join(";"))),
            ("IPSECCARestriction", Value::Text(String::new())),
            ("Comment", Value::Text("Vestibule: made while the tunnel is up".to_owned())),
        ],
    };
    names.chunks(MAX_NAMES).take(MAX_RULES).enumerate().map(rule).collect()
}

/// Brings the table to the rules for `config`. Former ones of ours that are not among them go.
pub(super) fn apply(registry: &impl Registry, config: &ResolverConfig) -> io::Result<Touched> {
    let rules = rules(config);
    let mut touched = tidy(registry)?;
    let places = places(registry)?;
    for place in &places {
        for rule in &rules {
            for (name, value) in &rule.values {
                registry.set(&format!(r"{place}\{}", rule.key), name, value)?;
            }
            touched.at(place);
        }
    }
    for (place, key) in ours(registry)? {
        if !places.contains(&place) || !rules.iter().any(|rule| rule.key.eq_ignore_ascii_case(&key)) {
            registry.remove(&format!(r"{place}\{key}"))?;
            touched.at(place);
        }
    }
    touched.policy |= tidy(registry)?.policy;
    Ok(touched)
}

/// Removes all rules of ours, whoever wrote them.
pub(super) fn clear(registry: &impl Registry) -> io::Result<Touched> {
    let mut touched = Touched::default();
    for (place, key) in ours(registry)? {
        registry.remove(&format!(r"{place}\{key}"))?;
        touched.at(place);
    }
    tidy(registry)?;
    Ok(touched)
}

/// A policy without a rule, which ours or somebody else's have left behind, makes the system ignore the host's own rules.
fn tidy(registry: &impl Registry) -> io::Result<Touched> {
    Ok(Touched { policy: registry.remove_empty(POLICY)?, local: false })
}

/// Whether the table has the rules for `config`, where they count.
pub(super) fn in_place(registry: &impl Registry, config: &ResolverConfig) -> io::Result<bool> {
    for place in places(registry)? {
        for rule in rules(config) {
            for (name, value) in &rule.values {
                if registry.value(&format!(r"{place}\{}", rule.key), name)?.as_ref() != Some(value) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Where rules have to stand.
fn places(registry: &impl Registry) -> io::Result<Vec<&'static str>> {
    let policies = registry.keys(POLICY)?;
    Ok(if policies.iter().any(|key| !is_ours(key)) { vec![LOCAL, POLICY] } else { vec![LOCAL] })
}

fn ours(registry: &impl Registry) -> io::Result<Vec<(&'static str, String)>> {
    let mut all = Vec::new();
    for place in [LOCAL, POLICY] {
        all.extend(registry.keys(place)?.into_iter().filter(|key| is_ours(key)).map(|key| (place, key)));
    }
    Ok(all)
}

fn is_ours(key: &str) -> bool {
    key.get(..OURS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OURS))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{cell::RefCell, collections::BTreeMap};

    /// Keys by path, which hold values by name.
    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<String, BTreeMap<String, Value>>>);

    impl Registry for Memory {
        fn keys(&self, path: &str) -> io::Result<Vec<String>> {
            let inside = |key: &String| {
                let rest = key.strip_prefix(path)?.strip_prefix('\\')?;
                Some(rest.split('\\').next()?.to_owned())
            };
            let mut all: Vec<String> = self.0.borrow().keys().filter_map(inside).collect();
            all.dedup();
            Ok(all)
        }

        fn value(&self, path: &str, name: &str) -> io::Result<Option<Value>> {
            Ok(self.0.borrow().get(path).and_then(|key| key.get(name)).cloned())
        }

        fn set(&self, path: &str, name: &str, value: &Value) -> io::Result<()> {
            self.0.borrow_mut().entry(path.to_owned()).or_default().insert(name.to_owned(), value.clone());
            Ok(())
        }

        fn remove(&self, path: &str) -> io::Result<()> {
            self.0.borrow_mut().retain(|key, _| key != path && !key.starts_with(&format!("{path}\\")));
            // As there, what holds a key outlives it.
            if let Some((parent, _)) = path.rsplit_once('\\') {
                self.0.borrow_mut().entry(parent.to_owned()).or_default();
            }
            Ok(())
        }

        fn remove_empty(&self, path: &str) -> io::Result<bool> {
            let mut all = self.0.borrow_mut();
            let empty = all.get(path).is_some_and(BTreeMap::is_empty)
                && !all.keys().any(|key| key.starts_with(&format!("{path}\\")));
            Ok(empty && all.remove(path).is_some())
        }
    }

    pub(in crate::dns) fn config(domains: usize) -> ResolverConfig {
        ResolverConfig {
            interface: "vestibule0".to_owned(),
            servers: vec!["127.0.2.2".parse().unwrap()],
            domains: (0..domains).map(|number| format!("d{number}.corp.example")).collect(),
            search: vec!["corp.example".to_owned(), "d0.corp.example".to_owned()],
        }
    }

    #[test]
    fn rules_name_each_suffix_once_and_at_most_fifty_each() {
        let rules = rules(&config(120));
        assert_eq!(rules.len(), 3);
        let names = |rule: &Rule| match &rule.values[1] {
            ("Name", Value::Texts(names)) => names.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(names(&rules[0])[0], ".d0.corp.example");
        assert_eq!(rules.iter().map(|rule| names(rule).len()).collect::<Vec<_>>(), [50, 50, 21]);
        assert_eq!(rules[2].key, "{6d5b0e9a-7d0c-4c1e-9a55-766573746902}");
        assert_eq!(rules[0].values[3], ("GenericDNSServers", Value::Text("127.0.2.2".to_owned())));
        assert_eq!(super::rules(&ResolverConfig::default()), []);
    }

    #[test]
    fn applying_is_seen_changed_and_taken_back() {
        let registry = Memory::default();
        registry
            .set(
                r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig\{other}",
                "x",
                &Value::Number(1),
            )
            .unwrap();
        assert!(!in_place(&registry, &config(2)).unwrap());
        apply(&registry, &config(60)).unwrap();
        assert!(in_place(&registry, &config(60)).unwrap());
        assert_eq!(registry.keys(LOCAL).unwrap().len(), 3);
        apply(&registry, &config(2)).unwrap();
        assert!(in_place(&registry, &config(2)).unwrap() && !in_place(&registry, &config(60)).unwrap());
        assert_eq!(registry.keys(LOCAL).unwrap().len(), 2, "the second rule is gone");
        assert!(registry.keys(POLICY).unwrap().is_empty(), "no policy is made where there is none");
        assert_eq!(clear(&registry).unwrap(), Touched { local: true, policy: false });
        assert!(!clear(&registry).unwrap().any());
        assert_eq!(registry.keys(LOCAL).unwrap(), ["{other}"]);
    }

    #[test]
    fn beside_a_group_policy_rules_stand_in_both_places_and_go_from_both() {
        let registry = Memory::default();
        let theirs = format!(r"{POLICY}\{{administrators}}");
        registry.set(&theirs, "Version", &Value::Number(2)).unwrap();
        apply(&registry, &config(1)).unwrap();
        assert_eq!((registry.keys(LOCAL).unwrap().len(), registry.keys(POLICY).unwrap().len()), (1, 2));
        // Somebody removes one of ours: the table is not as it should be.
        let mine = registry.keys(POLICY).unwrap().into_iter().find(|key| is_ours(key)).unwrap();
        registry.remove(&format!(r"{POLICY}\{mine}")).unwrap();
        assert!(!in_place(&registry, &config(1)).unwrap());
        // The policy ends: what stood beside it is superfluous.
        assert!(apply(&registry, &config(1)).unwrap().policy);
        registry.remove(&theirs).unwrap();
        assert!(apply(&registry, &config(1)).unwrap().policy);
        assert_eq!((registry.keys(LOCAL).unwrap().len(), registry.keys(POLICY).unwrap().len()), (1, 0));
        assert!(!registry.0.borrow().contains_key(POLICY), "without a rule it would hide the host's own");
    }

    #[test]
    fn an_empty_policy_that_somebody_left_does_not_hide_our_rules() {
        let registry = Memory::default();
        registry.0.borrow_mut().entry(POLICY.to_owned()).or_default();
        assert_eq!(apply(&registry, &config(1)).unwrap(), Touched { local: true, policy: true });
        assert!(!registry.0.borrow().contains_key(POLICY));
        assert_eq!(apply(&registry, &config(1)).unwrap(), Touched { local: true, policy: false });
    }

    #[test]
    fn keys_of_ours_are_known_in_any_case_and_others_are_not() {
        assert!(is_ours("{6D5B0E9A-7D0C-4C1E-9A55-766573746900}"));
        for other in
            ["", "{6d5b0e9a}", "{7d5b0e9a-7d0c-4c1e-9a55-766573746900}", "ä{6d5b0e9a-7d0c-4c1e-9a55-7665737469"]
        {
            assert!(!is_ours(other), "{other}");
        }
    }
}
