//! Holds `docs/compatibility.md` against the code, for the tests of the modules that its tables are about.

#![allow(dead_code, reason = "each table is held by the module that it is about")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/compatibility.md");

/// One row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its first cell, without backticks.
    pub(crate) name: String,
    standing: String,
    shown_by: String,
}

/// The rows of the table under a heading.
pub(crate) fn rows(heading: &str) -> Vec<Row> {
    let mut lines = PAGE.lines().skip_while(|line| *line != format!("## {heading}")).skip(1).peekable();
    assert!(lines.peek().is_some(), "docs/compatibility.md has no heading `{heading}`");
    let table = lines.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with('|'));
    table.skip(2).map(row).collect()
}

fn row(line: &str) -> Row {
    // A `\|` is a bar inside a cell.
    let line = line.replace("\\|", "\u{1}");
    let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let [name, standing, shown_by] = cells.as_slice() else { panic!("three cells expected: {line}") };
    Row { name: name.replace('`', ""), standing: standing.clone(), shown_by: shown_by.clone() }
}

/// Fails unless the table under `heading` has one row for each of `names`, and no other.
pub(crate) fn assert_complete<'a>(heading: &str, names: impl IntoIterator<Item = &'a str>) {
    let known: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    let rows = rows(heading);
    let told: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(told.len(), rows.len(), "a name stands twice under `{heading}`");
    let untold: Vec<_> = known.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&known).collect();
    assert!(
        untold.is_empty() && unknown.is_empty(),
        "`{heading}`: rows missing {untold:?}, rows of nothing {unknown:?}"
    );
}

/// The words in backticks of a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of all functions in the workspace's sources.
fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> =
        ["control", "engine", "platform", "tests"].iter().map(|name| root.join(name)).collect();
    let mut names = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()).filter(|path| !path.ends_with("target")));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for rest in text.split("fn ").skip(1) {
                names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    names
}

#[test]
fn every_row_says_how_it_stands_and_names_tests_that_exist() {
    let functions = functions();
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("## "));
    for row in headings.flat_map(rows) {
        let standings = ["works", "decided differently", "not yet"];
        assert!(standings.iter().any(|standing| row.standing.starts_with(standing)), "{row:?}");
        let mut tests = quoted(&row.shown_by).peekable();
        assert!(tests.peek().is_some() || !row.standing.starts_with("works"), "no test shows {row:?}");
        for test in tests {
            assert!(functions.contains(test), "no test `{test}` for {row:?}");
        }
        assert!(row.standing.starts_with("works") || row.standing.len() > 24, "why? {row:?}");
    }
}
