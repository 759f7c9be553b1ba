//! Holds `docs/masque.md` against the tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/masque.md");
/// How many rules the checklist has of each kind.
const RULES: [(char, usize); 4] = [('R', 12), ('U', 10), ('C', 16), ('D', 23)];

/// Rule -> (standing, tests).
type Rows = BTreeMap<String, (String, BTreeSet<String>)>;

/// The rows about rules, and the tests that the rows about bad input name.
fn rows() -> (Rows, BTreeSet<String>) {
    let (mut rows, mut bad_input) = (BTreeMap::new(), BTreeSet::new());
    for line in PAGE.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [rule, _, standing, tests] = cells[..] else { panic!("not four cells: {line}") };
        if ["rule", "what a peer does"].contains(&rule) || rule.starts_with("--") {
            continue;
        }
        let tests: BTreeSet<_> = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if !rule.starts_with(|kind: char| RULES.iter().any(|(known, _)| *known == kind)) {
            // The table of bad input: its rows begin with what a peer does.
            assert!(!tests.is_empty(), "{line}");
            bad_input.extend(tests);
            continue;
        }
        let twice = rows.insert(rule.to_owned(), (standing.to_owned(), tests));
        assert!(twice.is_none(), "two rows about {rule}");
    }
    (rows, bad_input)
}

/// The names of all tests in a directory; of the end-to-end tests, those about MASQUE.
fn tests(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy();
        if directory.ends_with("tests") && !name.starts_with("masque_") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("#[test]\n").skip(1) {
            let name = block.trim_start().strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            names.insert(name.unwrap_or_else(|| panic!("a test without a name in {}", path.display())).to_owned());
        }
    }
}

/// The rules a test's name begins with: `d4_d7_datagrams` is about D4 and D7.
fn rules_of(test: &str) -> impl Iterator<Item = String> + '_ {
    test.split('_').map(str::to_uppercase).take_while(|word| {
        let (kind, number) = word.split_at(1);
        RULES.iter().any(|(known, most)| {
            kind.starts_with(*known) && number.parse().is_ok_and(|number: usize| (1..=*most).contains(&number))
        })
    })
}

#[test]
fn every_rule_has_a_row_and_every_row_its_tests() {
    let mut names = BTreeSet::new();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src/masque", "../platform/src/carrier", "../tests/tests", "tests"] {
        tests(&engine.join(directory), &mut names);
    }
    let (rows, bad_input) = rows();
    assert!(bad_input.is_subset(&names), "{:?} are no tests", bad_input.difference(&names).collect::<Vec<_>>());
    let rules: BTreeSet<_> =
        RULES.iter().flat_map(|(kind, most)| (1..=*most).map(move |number| format!("{kind}{number}"))).collect();
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), rules);
    for (rule, (standing, named)) in &rows {
        for test in named {
            assert!(names.contains(test), "row {rule} names `{test}`, which is no test");
        }
        match standing {
            works if works.starts_with("works") => assert!(!named.is_empty(), "row {rule} works by no test"),
            reason if reason.starts_with("by design") || reason.starts_with("not yet") => {
                assert!(reason.len() > 20, "row {rule} gives no reason");
            }
            other => panic!("row {rule} says `{other}`"),
        }
    }
    for test in &names {
        for rule in rules_of(test) {
            assert!(rows[&rule].1.contains(test), "row {rule} does not name `{test}`");
        }
    }
}
