use super::super::*;
use super::{EVERY_KEY, FLAT, MULTI_USER, PRE_LOGIN};
use proptest::prelude::*;

const PIECES: [&str; 20] = [
    "<dict>",
    "</dict>",
    "<array>",
    "</array>",
    "<key>",
    "</key>",
    "<string>",
    "</string>",
    "<true/>",
    "<integer>",
    "</integer>",
    "&amp;",
    "&#65;",
    "&x;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE a>",
    "configs",
];

fn good() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![PRE_LOGIN, MULTI_USER, FLAT, EVERY_KEY])
}

/// Cuts, repeats, overwrites and inserts.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0usize..40, prop::sample::select(PIECES.to_vec()), 0u8..4, any::<u8>());
    (good(), prop::collection::vec(change, 1..6)).prop_map(|(text, changes)| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, length, piece, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => drop(bytes.drain(at..end)),
                1 => bytes[at] = byte,
                2 => drop(bytes.splice(at..at, piece.bytes())),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    })
}

/// An error is about this file and never empty; a success obeys the documented limits.
fn sane(content: &[u8]) {
    match parse("some/mdm.xml", content) {
        Ok(config) => {
            assert!(config.configs.len() <= MAX_CONFIGS);
            assert!(config.pre_login.is_none() || !config.configs.is_empty());
            let _ = config.settings();
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("some/mdm.xml: ") && message.len() < 2_000, "{message}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        sane(&bytes);
    }

    #[test]
    fn random_pieces_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)) {
        sane(pieces.concat().as_bytes());
    }

    #[test]
    fn mutated_good_files_never_panic(bytes in mutated()) {
        sane(&bytes);
    }
}
