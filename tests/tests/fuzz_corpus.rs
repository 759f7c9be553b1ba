//! Every input of the fuzz corpora, through the functions that are fuzzed.

use std::path::Path;
use vestibule_tests::fuzzed;

fn replay(target: &str, at_least: usize, run: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path())
        .collect();
    files.sort();
    assert!(files.len() >= at_least, "{} files in {}", files.len(), directory.display());
    for file in &files {
        println!("{}", file.display());
        run(&std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
}

#[test]
fn mdm_files() {
    replay("mdm", 100, fuzzed::mdm);
}

#[test]
fn expressions() {
    replay("expression", 100, fuzzed::expression);
}

#[test]
fn documents_of_the_gateway() {
    replay("document", 40, fuzzed::document);
}
