//! The rows of the specification: each has a test of its name, and its place in `docs/compatibility.md`.

use crate::registration::Row;

/// Names of the specification's rows: all but those that only explain a step between them.
fn names() -> Vec<&'static str> {
    Row::ALL.iter().map(|row| row.name()).filter(|name| name[1..].parse::<u8>().is_ok()).collect()
}

#[test]
fn the_rows_are_those_of_the_specification() {
    let numbered = |letter: char, last: u8| (1..=last).map(move |number| format!("{letter}{number}"));
    let expected: Vec<String> = numbered('S', 7).chain(numbered('M', 7)).chain(numbered('D', 21)).collect();
    assert_eq!(names(), expected);
}

#[test]
fn every_row_stands_in_the_table_of_compatibility() {
    crate::compatibility::assert_complete("Registration", names());
}

#[test]
fn every_row_has_a_test_of_its_name() {
    let sources = [
        include_str!("single_user.rs"),
        include_str!("multi_user.rs"),
        include_str!("decisions.rs"),
        include_str!("decisions_time.rs"),
    ]
    .concat();
    for name in names() {
        let test = format!("#[test]\nfn {}_", name.to_lowercase());
        assert!(sources.contains(&test), "no test is called {}_...", name.to_lowercase());
    }
}
