//! The path of instructions is the same whatever the key and the text: each case runs in a child that is traced one
//! instruction at a time, with several keys and texts, and the sequences of instruction addresses must be equal.
//!
//! This shows that no branch depends on a secret; that no address does is read from the assembly, see
//! docs/decisions/0011-avx512-aead.md.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

use std::hash::{DefaultHasher, Hasher};
use vestibule_aead::{Backend, Key, Open, Seal, TAG_LEN};

/// Number of instructions and a hash of their addresses.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    steps: u64,
    hash: u64,
}

/// Runs `work` in a child, step by step.
fn path_of(work: impl FnOnce()) -> Path {
    // SAFETY: between fork and exit the child calls no function that takes a lock or memory: ptrace, raise, the code
    // under test, _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        // SAFETY: as above; none of these calls takes a pointer that is read.
        unsafe {
            if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0 {
                libc::_exit(1);
            }
            libc::raise(libc::SIGSTOP);
        }
        work();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    let mut hasher = DefaultHasher::new();
    let mut steps = 0;
    loop {
        let mut status = 0;
        // SAFETY: the child is ours; `status` is written to.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), 0, "the child could not be traced or failed");
            return Path { steps, hash: hasher.finish() };
        }
        assert!(libc::WIFSTOPPED(status), "the child died: status {status}");
        // SAFETY: plain integers, for which zero is a value.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the child is stopped; `registers` is what GETREGS writes.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, child, 0, &mut registers), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0), 0);
        }
        hasher.write_u64(registers.rip);
        steps += 1;
    }
}

/// Bytes that look like nothing, from a seed.
fn fill(seed: u64, bytes: &mut [u8]) {
    let mut state = seed;
    for byte in bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Seeds 0 and 1 are the extremes.
        *byte = match seed {
            0 => 0,
            1 => 0xff,
            _ => (state >> 56) as u8,
        };
    }
}

/// Sealing, then opening, batches of the given lengths under keys and texts from a seed. The buffers are the same each
/// time, since the library's copying code looks at addresses.
fn paths(
    key: &mut Option<Key>,
    lengths: &[usize],
    plain: &mut [Vec<u8>],
    sealed: &mut [Vec<u8>],
    seed: u64,
) -> [Path; 2] {
    let mut secret = [0; 32];
    fill(seed, &mut secret);
    *key = Some(Key::with_backend(&secret, Backend::Avx512));
    let key = key.as_ref().unwrap();
    plain.iter_mut().for_each(|plain| fill(seed, plain));
    let counters = (0..lengths.len() as u64).map(|counter| counter + 77);
    let mut batch: Vec<Seal<'_>> = counters
        .clone()
        .zip(&*plain)
        .zip(&mut *sealed)
        .map(|((counter, body), out)| Seal { counter, head: &[], body, out })
        .collect();
    let seal = path_of(|| key.seal(&mut batch));
    key.seal(&mut batch);
    drop(batch);
    let mut batch: Vec<Open<'_>> = counters
        .zip(&*sealed)
        .zip(&mut *plain)
        .map(|((counter, sealed), out)| Open { counter, sealed, out, authentic: false })
        .collect();
    let open = path_of(|| key.open(&mut batch));
    key.open(&mut batch);
    assert!(batch.iter().all(|packet| packet.authentic));
    [seal, open]
}

#[test]
fn keys_and_texts_do_not_change_the_path() {
    if !Backend::Avx512.is_available() {
        return;
    }
    for lengths in [&[40][..], &[300], &[1420], &[100, 90], &[1420, 64, 333, 0, 257, 1, 100, 128, 300]] {
        let mut plain: Vec<Vec<u8>> = lengths.iter().map(|len| vec![0; *len]).collect();
        let mut sealed: Vec<Vec<u8>> = lengths.iter().map(|len| vec![0; *len + TAG_LEN]).collect();
        let mut key = None;
        // The first run resolves symbols.
        paths(&mut key, lengths, &mut plain, &mut sealed, 2);
        let first = paths(&mut key, lengths, &mut plain, &mut sealed, 3);
        assert!(first.iter().all(|path| path.steps > 500), "too short to be the work: {first:?}");
        for seed in [0, 1, 4] {
            let other = paths(&mut key, lengths, &mut plain, &mut sealed, seed);
            assert_eq!(other, first, "another path for seed {seed}, packets of {lengths:?}");
        }
    }
}

#[test]
fn a_refusal_does_not_tell_where_the_tag_differs() {
    if !Backend::Avx512.is_available() {
        return;
    }
    for len in [64, 1420] {
        let key = Key::with_backend(&[5; 32], Backend::Avx512);
        let (plain, mut sealed, mut out) = (vec![7; len], vec![0; len + TAG_LEN], vec![0; len]);
        key.seal(&mut [Seal { counter: 1, head: &[], body: &plain, out: &mut sealed }]);
        let mut refused = |at: usize, mask: u8| {
            sealed[at] ^= mask;
            let mut batch = [Open { counter: 1, sealed: &sealed, out: &mut out, authentic: false }];
            let path = path_of(|| key.open(&mut batch));
            key.open(&mut batch);
            assert!(!batch[0].authentic);
            sealed[at] ^= mask;
            path
        };
        refused(0, 1);
        let first = refused(len, 1);
        for at in [0, len / 2, len - 1, len + 7, len + 8, len + 15] {
            assert_eq!(refused(at, 0x80), first, "another path for byte {at} of {len} + {TAG_LEN}");
        }
    }
}
