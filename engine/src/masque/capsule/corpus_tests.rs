//! `corpus.txt`, whole and byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn run(bytes: &[u8], size: usize) -> String {
    let (mut decoder, mut seen) = (Decoder::new(Limits::default()), Vec::new());
    for mut piece in bytes.chunks(size) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(capsule)) => seen.push(format!("{capsule:?}")),
                Ok(None) => break,
                Err(error) => {
                    seen.push(format!("error: {error}"));
                    return seen.join(" ");
                }
            }
        }
    }
    if let Err(error) = decoder.finish() {
        seen.push(format!("error: {error}"));
    }
    seen.join(" ")
}

#[test]
fn c4_the_corpus_is_read_as_written() {
    let mut lines = 0;
    for line in include_str!("corpus.txt").lines().filter(|line| !line.starts_with('#')) {
        let [name, bytes, expected] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("not three columns: {line}");
        };
        let digits: Vec<u8> = bytes.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        for size in [1, 2, 7, bytes.len().max(1)] {
            let got = run(&bytes, size);
            let right = if expected.contains("error:") { got.starts_with(expected) } else { got == expected };
            assert!(right, "{name}, in pieces of {size}: got `{got}`, expected `{expected}`");
        }
        lines += 1;
    }
    assert!(lines > 30);
}
