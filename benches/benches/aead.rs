//! ChaCha20-Poly1305 of a batch: both backends, and `ring` as the yardstick.
//!
//! `cargo bench -p vestibule-benches --bench aead`. Throughput is of plaintext. The backends write from one buffer into
//! another; `ring` works in place, so that a path that seals into a send batch with it pays for a copy besides: "ring" is
//! without and "ring, copied" with that copy.

use criterion::{BenchmarkId, Criterion, Throughput};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::hint::black_box;
use vestibule_aead::{Backend, Key, Open, Seal, TAG_LEN};

const KEY: [u8; 32] = [7; 32];
const SIZES: [usize; 4] = [64, 576, 1280, 1420];
const BATCHES: [usize; 4] = [1, 2, 8, 46];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for size in SIZES {
        for batch in BATCHES {
            seal(&mut criterion, size, batch);
            open(&mut criterion, size, batch);
        }
    }
    criterion.final_summary();
}

fn seal(criterion: &mut Criterion, size: usize, batch: usize) {
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Bytes((size * batch) as u64));
    let shape = format!("{size} B x {batch}");
    let plain = vec![0x5a; size * batch];
    let mut sealed = vec![0; (size + TAG_LEN) * batch];
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        let key = Key::with_backend(&KEY, backend);
        let mut packets: Vec<Seal<'_>> = (0..)
            .zip(plain.chunks(size))
            .zip(sealed.chunks_mut(size + TAG_LEN))
            .map(|((counter, body), out)| Seal { counter, head: &[], body, out })
            .collect();
        group.bench_function(BenchmarkId::new(backend.to_string(), &shape), |bencher| {
            bencher.iter(|| key.seal(black_box(&mut packets)));
        });
    }
    for (name, copied) in [("ring", false), ("ring, copied", true)] {
        let key = ring_key();
        group.bench_function(BenchmarkId::new(name, &shape), |bencher| {
            bencher.iter(|| {
                for ((counter, plain), sealed) in
                    (0..).zip(black_box(&plain).chunks(size)).zip(sealed.chunks_mut(size + TAG_LEN))
                {
                    let (text, tag) = sealed.split_at_mut(size);
                    if copied {
                        text.copy_from_slice(plain);
                    }
                    if let Ok(made) = key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), text) {
                        tag.copy_from_slice(made.as_ref());
                    }
                }
                black_box(&mut sealed);
            });
        });
    }
}

fn open(criterion: &mut Criterion, size: usize, batch: usize) {
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Bytes((size * batch) as u64));
    let shape = format!("{size} B x {batch}");
    let plain = vec![0x5a; size * batch];
    let mut sealed = vec![0; (size + TAG_LEN) * batch];
    let mut packets: Vec<Seal<'_>> = (0..)
        .zip(plain.chunks(size))
        .zip(sealed.chunks_mut(size + TAG_LEN))
        .map(|((counter, body), out)| Seal { counter, head: &[], body, out })
        .collect();
    Key::new(&KEY).seal(&mut packets);
    let mut opened = vec![0; size * batch];
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        let key = Key::with_backend(&KEY, backend);
        let mut packets: Vec<Open<'_>> = (0..)
            .zip(sealed.chunks(size + TAG_LEN))
            .zip(opened.chunks_mut(size))
            .map(|((counter, sealed), out)| Open { counter, sealed, out, authentic: false })
            .collect();
        group.bench_function(BenchmarkId::new(backend.to_string(), &shape), |bencher| {
            bencher.iter(|| key.open(black_box(&mut packets)));
        });
        assert!(packets.iter().all(|packet| packet.authentic), "{backend} refused what is authentic");
    }
    // What was opened in place has to be sealed again before the next turn: the copy stands for that, too.
    let key = ring_key();
    let mut buffer = sealed.clone();
    group.bench_function(BenchmarkId::new("ring, copied", &shape), |bencher| {
        bencher.iter(|| {
            for ((counter, sealed), buffer) in
                (0..).zip(sealed.chunks(size + TAG_LEN)).zip(buffer.chunks_mut(size + TAG_LEN))
            {
                buffer.copy_from_slice(sealed);
                let opened = key.open_in_place(nonce(counter), Aad::empty(), buffer);
                assert!(opened.is_ok(), "ring refused what is authentic");
            }
            black_box(&mut buffer);
        });
    });
}

fn ring_key() -> LessSafeKey {
    match UnboundKey::new(&CHACHA20_POLY1305, &KEY) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("32 bytes are a key's length"),
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
