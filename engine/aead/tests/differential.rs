//! Every backend against two libraries, over lengths, batch shapes, heads and misaligned slices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::aead::{Aead, KeyInit};
use proptest::prelude::*;
use vestibule_aead::{Backend, Key, Open, Seal, TAG_LEN};

const GUARD: u8 = 0xa5;

/// What a packet is made of: its counter, its text, how much of it is `head`, and where its slices begin.
#[derive(Debug, Clone)]
struct Packet {
    counter: u64,
    text: Vec<u8>,
    head: usize,
    offset: usize,
}

impl Packet {
    fn new(counter: u64, len: usize, head: usize, offset: usize) -> Self {
        let text = (0..len).map(|i| (i as u8).wrapping_mul(31) ^ counter as u8 ^ (len as u8)).collect();
        Self { counter, text, head: if head > len { 0 } else { head }, offset }
    }
}

fn backends() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect()
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// What both libraries say.
fn expected(key: &[u8; 32], packet: &Packet) -> Vec<u8> {
    let nonce = nonce(packet.counter);
    let pure = chacha20poly1305::ChaCha20Poly1305::new(key.into()).encrypt((&nonce).into(), &packet.text[..]).unwrap();
    let aws = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).unwrap());
    let mut sealed = packet.text.clone();
    aws.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).unwrap();
    assert_eq!(pure, sealed, "the two libraries differ");
    sealed
}

/// A copy of `bytes` at a chosen offset from alignment; `range` gives it back.
struct Placed(Vec<u8>, usize, usize);

impl Placed {
    fn new(bytes: &[u8], offset: usize) -> Self {
        let mut buffer = vec![GUARD; offset + bytes.len() + 200];
        let at = 64 - buffer.as_ptr() as usize % 64 + offset;
        buffer[at..at + bytes.len()].copy_from_slice(bytes);
        Self(buffer, at, bytes.len())
    }

    fn get(&self) -> &[u8] {
        &self.0[self.1..self.1 + self.2]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.0[self.1..self.1 + self.2]
    }

    fn guards_are_whole(&self) -> bool {
        self.0[..self.1].iter().chain(&self.0[self.1 + self.2..]).all(|byte| *byte == GUARD)
    }
}

/// Seals and opens a batch and holds everything against the libraries.
fn check(backend: Backend, key: &[u8; 32], packets: &[Packet]) {
    let want: Vec<Vec<u8>> = packets.iter().map(|packet| expected(key, packet)).collect();
    let key = Key::with_backend(key, backend);
    assert_eq!(key.backend(), backend);

    let inputs: Vec<Placed> = packets.iter().map(|packet| Placed::new(&packet.text, packet.offset)).collect();
    let mut outputs: Vec<Placed> = want
        .iter()
        .zip(packets)
        .map(|(want, packet)| Placed::new(&vec![0xcc; want.len()], packet.offset / 3))
        .collect();
    let mut batch: Vec<Seal<'_>> = packets
        .iter()
        .zip(&inputs)
        .zip(&mut outputs)
        .map(|((packet, input), output)| {
            let (head, body) = input.get().split_at(packet.head);
            Seal { counter: packet.counter, head, body, out: output.get_mut() }
        })
        .collect();
    key.seal(&mut batch);
    for ((output, want), packet) in outputs.iter().zip(&want).zip(packets) {
        let (len, head) = (packet.text.len(), packet.head);
        assert!(output.get() == want, "{backend}: sealed wrongly, {len} bytes, head of {head}");
        assert!(output.guards_are_whole(), "{backend}: wrote outside `out`, {len} bytes");
    }

    let mut opened: Vec<Placed> = packets
        .iter()
        .map(|packet| Placed::new(&vec![0xcc; packet.text.len()], packet.offset.wrapping_mul(7) % 64))
        .collect();
    let mut batch: Vec<Open<'_>> = packets
        .iter()
        .zip(&outputs)
        .zip(&mut opened)
        .map(|((packet, sealed), output)| Open {
            counter: packet.counter,
            sealed: sealed.get(),
            out: output.get_mut(),
            authentic: false,
        })
        .collect();
    key.open(&mut batch);
    assert!(batch.iter().all(|packet| packet.authentic), "{backend}: refused what is authentic");
    for (output, packet) in opened.iter().zip(packets) {
        assert!(output.get() == packet.text, "{backend}: opened wrongly, {} bytes", packet.text.len());
        assert!(output.guards_are_whole(), "{backend}: wrote outside `out` in opening, {} bytes", packet.text.len());
    }
}

#[test]
fn every_length_alone_and_in_pairs() {
    for backend in backends() {
        for len in 0..=2048 {
            let key = std::array::from_fn(|i| (i as u8).wrapping_mul(7) ^ len as u8);
            check(backend, &key, &[Packet::new(len as u64, len, 64 * (len % 3), len % 61)]);
            let other = (len * 7919) % 2049;
            check(backend, &key, &[Packet::new(1, len, 0, 0), Packet::new(2, other, 128, 5)]);
        }
    }
}

#[test]
fn every_batch_size() {
    let key = [0x42; 32];
    for backend in backends() {
        for size in 0..=48 {
            let full: Vec<Packet> = (0..size).map(|i| Packet::new(1_000 + i, 1420, 128, 3)).collect();
            check(backend, &key, &full);
            let small: Vec<Packet> = (0..size).map(|i| Packet::new(i, 40 + i as usize % 61, 0, 1)).collect();
            check(backend, &key, &small);
            let mixed: Vec<Packet> = (0..size)
                .map(|i| Packet::new(i << 33, (i as usize * 389) % 1500, 64 * (i as usize % 3), i as usize % 64))
                .collect();
            check(backend, &key, &mixed);
        }
    }
}

#[test]
fn large_counters() {
    for backend in backends() {
        for counter in [u64::from(u32::MAX), 1 << 32, (1 << 60) - 1, u64::MAX - (1 << 13), u64::MAX] {
            check(backend, &[9; 32], &[Packet::new(counter, 1420, 0, 0), Packet::new(counter ^ 1, 100, 0, 0)]);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_leaves_nothing() {
    for backend in backends() {
        for len in [0, 1, 15, 16, 64, 100, 127, 128, 300, 1420] {
            let key = Key::with_backend(&[3; 32], backend);
            let packets: Vec<Packet> = (0..3).map(|counter| Packet::new(counter, len, 0, 0)).collect();
            let sealed: Vec<Vec<u8>> = packets.iter().map(|packet| expected(&[3; 32], packet)).collect();
            for at in 0..len + TAG_LEN {
                let mut sealed = sealed.clone();
                sealed[1][at] ^= 1 << (at % 8);
                let mut out = vec![vec![0xcc; len]; 3];
                let mut batch: Vec<Open<'_>> = (0..)
                    .zip(&sealed)
                    .zip(&mut out)
                    .map(|((counter, sealed), out)| Open { counter, sealed, out, authentic: counter == 1 })
                    .collect();
                key.open(&mut batch);
                let verdicts: Vec<bool> = batch.iter().map(|packet| packet.authentic).collect();
                assert_eq!(verdicts, [true, false, true], "{backend}: {len} bytes, byte {at}");
                assert!(out[1].iter().all(|byte| *byte == 0), "{backend}: plaintext left, byte {at} of {len}");
                assert_eq!(out[0], packets[0].text);
                assert_eq!(out[2], packets[2].text);
            }
        }
    }
}

#[test]
fn another_counter_or_a_cut_packet_is_refused() {
    for backend in backends() {
        let key = Key::with_backend(&[3; 32], backend);
        let packet = Packet::new(5, 200, 0, 0);
        let sealed = expected(&[3; 32], &packet);
        for (counter, len) in (0..=sealed.len()).map(|len| (5 + u64::from(len == sealed.len()), len)) {
            let mut out = vec![0xcc; len.saturating_sub(TAG_LEN)];
            let mut batch = [Open { counter, sealed: &sealed[..len], out: &mut out, authentic: true }];
            key.open(&mut batch);
            assert!(!batch[0].authentic, "{backend}: {len} bytes");
            assert!(out.iter().all(|byte| *byte == 0), "{backend}: {len} bytes");
        }
    }
}

#[test]
fn additional_data_of_every_length() {
    use chacha20poly1305::aead::Payload;
    for backend in backends() {
        for len in 0..200 {
            let aad: Vec<u8> = (0..len as u8).collect();
            let text = vec![0x77; (len * 37) % 3000];
            let nonce: [u8; 12] = std::array::from_fn(|i| len as u8 ^ i as u8);
            let want = chacha20poly1305::ChaCha20Poly1305::new((&[8; 32]).into())
                .encrypt((&nonce).into(), Payload { msg: &text, aad: &aad })
                .unwrap();
            let key = Key::with_backend(&[8; 32], backend);
            let mut sealed = vec![0; want.len()];
            key.seal_with(&nonce, &aad, &text, &mut sealed);
            assert_eq!(sealed, want, "{backend}: {len}");
            let mut opened = vec![0; text.len()];
            key.open_with(&nonce, &aad, &sealed, &mut opened).unwrap();
            assert_eq!(opened, text, "{backend}: {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_batch(
        key: [u8; 32],
        shapes in proptest::collection::vec((any::<u64>(), 0_usize..=2048, 0_usize..3, 0_usize..64), 1..=48),
        fill: u8,
    ) {
        let packets: Vec<Packet> = shapes
            .into_iter()
            .map(|(counter, len, head, offset)| {
                let mut packet = Packet::new(counter, len, head * 64, offset);
                packet.text.iter_mut().for_each(|byte| *byte ^= fill);
                packet
            })
            .collect();
        for backend in backends() {
            check(backend, &key, &packets);
        }
    }
}
