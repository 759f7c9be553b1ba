//! Published vectors: RFC 8439 and Wycheproof (github.com/C2SP/wycheproof, Apache-2.0), for every backend.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use vestibule_aead::{Backend, Key, Open, Refused, Seal, TAG_LEN};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available())
}

#[test]
fn rfc_8439_section_2_8_2() {
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
    let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let sealed = hex::decode(concat!(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6",
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36",
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
        "3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    ))
    .unwrap();
    for backend in backends() {
        let key = Key::with_backend(&key, backend);
        let mut out = vec![0; sealed.len()];
        key.seal_with(&nonce, &aad, plaintext, &mut out);
        assert_eq!(out, sealed, "{backend}");
        let mut opened = vec![0; plaintext.len()];
        key.open_with(&nonce, &aad, &sealed, &mut opened).unwrap();
        assert_eq!(opened, plaintext, "{backend}");
    }
}

/// RFC 8439 appendix A.5.
#[test]
fn rfc_8439_appendix_a_5() {
    let key = hex::decode("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0").unwrap();
    let nonce = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let aad = hex::decode("f33388860000000000004e91").unwrap();
    let sealed = hex::decode(concat!(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2",
        "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf",
        "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855",
        "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4",
        "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e",
        "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a",
        "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10",
        "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29",
        "a6ad5cb4022b02709b",
        "eead9d67890cbb22392336fea1851f38",
    ))
    .unwrap();
    for backend in backends() {
        let key = Key::with_backend(&key[..].try_into().unwrap(), backend);
        let mut opened = vec![0; sealed.len() - TAG_LEN];
        key.open_with(&nonce, &aad, &sealed, &mut opened).unwrap();
        assert!(opened.starts_with(b"Internet-Drafts are draft documents valid"), "{backend}");
        let mut again = vec![0; sealed.len()];
        key.seal_with(&nonce, &aad, &opened, &mut again);
        assert_eq!(again, sealed, "{backend}");
    }
}

#[test]
fn wycheproof() {
    let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
    let mut run = 0;
    for backend in backends() {
        for group in &set.test_groups {
            for test in &group.tests {
                let (Ok(key), Ok(nonce)) = (test.key[..].try_into(), test.nonce[..].try_into()) else {
                    assert_eq!(test.result, TestResult::Invalid, "only invalid cases have such lengths");
                    continue;
                };
                run += 1;
                case(&Key::with_backend(key, backend), nonce, test);
            }
        }
    }
    assert!(run >= 300 * backends().count(), "{run} cases: the file is not what it was");
}

fn case(key: &Key, nonce: &[u8; 12], test: &wycheproof::aead::Test) {
    let what = format!("{:?}: case {}, {}", key, test.tc_id, test.comment);
    let sealed = [&test.ct[..], &test.tag[..]].concat();
    let mut opened = vec![0xaa; test.ct.len()];
    let verdict = key.open_with(nonce, &test.aad, &sealed, &mut opened);
    if test.result == TestResult::Invalid {
        assert_eq!(verdict, Err(Refused), "{what}");
        assert!(opened.iter().all(|byte| *byte == 0), "{what}: plaintext was left behind");
        return;
    }
    assert_eq!(verdict, Ok(()), "{what}");
    assert_eq!(opened, test.pt[..], "{what}");
    let mut out = vec![0xaa; sealed.len()];
    key.seal_with(nonce, &test.aad, &test.pt, &mut out);
    assert_eq!(out, sealed, "{what}");
    if test.aad.is_empty() && nonce[..4] == [0; 4] {
        let counter = u64::from_le_bytes(nonce[4..].try_into().unwrap());
        out.fill(0xaa);
        key.seal(&mut [Seal { counter, head: &[], body: &test.pt, out: &mut out }]);
        assert_eq!(out, sealed, "{what}: in a batch");
        let mut packets = [Open { counter, sealed: &sealed, out: &mut opened, authentic: false }];
        key.open(&mut packets);
        assert!(packets[0].authentic, "{what}: in a batch");
    }
}
