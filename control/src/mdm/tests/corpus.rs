//! Files good and bad, each with what becomes of it: `testdata/corpus/*.xml`, and `expected.tsv` beside them.
//!
//! A row is the file's name, `used` or `refused`, and either what is read of it as JSON or the whole message.

use super::super::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

const EXPECTED: &str = include_str!("../testdata/corpus/expected.tsv");

/// What becomes of a file, as a row of the table has it.
fn result(content: &[u8]) -> String {
    match parse("mdm.xml", content) {
        Ok(config) => format!("used\t{}", shown(&config)),
        Err(error) => format!("refused\t{error}"),
    }
}

fn shown(config: &MdmConfig) -> Value {
    let mut all = serde_json::Map::new();
    let settings = config.settings();
    if let Some(team) = settings.pre_login {
        all.insert("pre_login".into(), json!(team));
    }
    if settings.multi_user {
        all.insert("multi_user".into(), json!(true));
    }
    if !settings.keep_previous {
        all.insert("multi_user_keep_previous".into(), json!(false));
    }
    let nameless = config.configs.iter().filter(|entry| entry.organization.is_none());
    let teams = config.configs.iter().filter_map(|entry| entry.organization.as_deref());
    let of_teams = teams.map(|team| config.values(team));
    let entries = of_teams.chain(nameless.map(OrganizationConfig::values));
    let entries: Vec<Value> =
        entries.map(|values| values.into_iter().collect::<BTreeMap<_, _>>()).map(|entry| json!(entry)).collect();
    all.insert("configs".into(), json!(entries));
    if !config.warnings.is_empty() {
        let odd: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        all.insert("warnings".into(), json!(odd));
    }
    Value::Object(all)
}

#[test]
fn every_file_of_the_corpus_becomes_what_its_row_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mdm/testdata/corpus");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".xml"))
        .collect();
    files.sort();
    assert!(files.len() >= 40, "{} files", files.len());
    let row = |name: &String| format!("{name}\t{}\n", result(&std::fs::read(directory.join(name)).unwrap()));
    let table: String = files.iter().map(row).collect();
    let differ = table.lines().zip(EXPECTED.lines()).find(|(is, told)| is != told);
    assert_eq!(differ.map(|(is, _)| is), differ.map(|(_, told)| told));
    assert_eq!(table.lines().count(), EXPECTED.lines().count(), "a file without a row, or a row without a file");
}
