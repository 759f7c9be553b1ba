//! What was checked, what came out, and the numbers behind it.

use serde_json::{Map, Value};
use std::fmt;

/// One claim and what was seen.
#[derive(Clone, Debug)]
struct Check {
    claim: String,
    seen: String,
    passed: bool,
}

/// The demo's outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    checks: Vec<Check>,
    numbers: Map<String, Value>,
}

impl Verdict {
    /// Enters a claim, what was seen, and whether that agrees.
    pub(super) fn check(&mut self, claim: impl Into<String>, seen: impl fmt::Display, passed: bool) {
        self.checks.push(Check { claim: claim.into(), seen: seen.to_string(), passed });
    }

    /// Enters a number (or word) for the JSON.
    pub(super) fn number(&mut self, name: &str, value: impl Into<Value>) {
        self.numbers.insert(name.to_owned(), value.into());
    }

    /// How many claims did not hold.
    pub(super) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.passed).count()
    }

    /// Everything, for machines.
    pub(super) fn json(&self) -> Value {
        let mut json = self.numbers.clone();
        let checks = self
            .checks
            .iter()
            .map(|check| serde_json::json!({ "claim": check.claim, "seen": check.seen, "passed": check.passed }));
        json.insert("checks".to_owned(), checks.collect());
        json.insert("checks_failed".to_owned(), self.failed().into());
        Value::Object(json)
    }
}

/// The table.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.claim.chars().count()).max().unwrap_or(0);
        for check in &self.checks {
            let mark = if check.passed { '✓' } else { '✗' };
            writeln!(f, "  {mark}  {:<width$}  {}", check.claim, check.seen)?;
        }
        match (self.failed(), self.checks.len()) {
            (0, all) => write!(f, "\n  All {all} checks hold."),
            (failed, all) => write!(f, "\n  {failed} of {all} checks FAILED."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_counts_failures() {
        let mut verdict = Verdict::default();
        verdict.check("short", "1", true);
        verdict.check("a longer claim", "2 of 3", false);
        let table = verdict.to_string();
        assert!(table.contains("✓  short           1\n"), "{table}");
        assert!(table.contains("✗  a longer claim  2 of 3\n"), "{table}");
        assert!(table.ends_with("1 of 2 checks FAILED."), "{table}");
        assert_eq!(verdict.json()["checks_failed"], 1);
    }
}
