//! Up to eight packets at a time: their key blocks and blocks of key stream are made as one row of blocks, sixteen at a
//! time, across the packets' borders; Poly1305 runs between the rounds, over text that is ready.

use super::chacha::{self, Counters, LANES};
use super::memory::{load, load_part, store, store_part, wipe};
use super::poly::{Mac, Powers, WAVE};
use super::{Key, V};
use std::arch::x86_64::*;

/// One packet on its way through.
#[derive(Default)]
pub(super) struct Job<'a> {
    pub(super) nonce: [u32; 3],
    /// The text that comes in: `head`, whole blocks, and `body`.
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    /// Takes the text that goes out.
    pub(super) out: &'a mut [u8],
    /// Takes the tag of the encrypted text, whichever of the two that is.
    pub(super) tag: [u8; 16],
}

/// Blocks of one packet in neighbouring lanes.
#[derive(Clone, Copy, Default)]
struct Span {
    packet: usize,
    block: usize,
    lane: usize,
    count: usize,
}

/// En- or decrypts up to [`WAVE`] packets and leaves their tags.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
pub(super) fn run<const OPEN: bool>(key: &Key, jobs: &mut [Job<'_>]) {
    let mut stream = [_mm512_setzero_si512(); LANES];
    let mut counters = [_mm512_setzero_si512(); 4];
    for (lane, job) in jobs.iter().enumerate() {
        add_span(&mut counters, Span { lane, count: 1, ..Span::default() }, job.nonce, 0);
    }
    let mut cursor = Cursor { packet: 0, block: 0 };
    let mut spans = [Span::default(); LANES];
    let mut used = cursor.fill(jobs, jobs.len(), &mut counters, &mut spans);
    let mut words = chacha::words(&key.0, counters, || ());
    let mut powers = Powers::new(words.first_chunk().unwrap_or(&[_mm512_setzero_si512(); 8]));
    chacha::blocks(&words, &mut stream);
    apply(&stream, &spans[..used], jobs);

    let mut macs = Macs { packet: 0, mac: Mac::new(0, jobs[0].out.len()) };
    while cursor.packet < jobs.len() {
        let ready = cursor;
        counters = [_mm512_setzero_si512(); 4];
        used = cursor.fill(jobs, 0, &mut counters, &mut spans);
        words = chacha::words(&key.0, counters, || macs.advance::<OPEN>(&powers, jobs, ready));
        chacha::blocks(&words, &mut stream);
        apply(&stream, &spans[..used], jobs);
    }
    while macs.packet < jobs.len() {
        macs.advance::<OPEN>(&powers, jobs, cursor);
    }
    powers.wipe();
    wipe(&mut stream);
    wipe(&mut words);
}

/// The next block to make.
#[derive(Clone, Copy)]
struct Cursor {
    packet: usize,
    block: usize,
}

impl Cursor {
    /// Gives the lanes from `lane` on to the next blocks, and tells how many spans that made.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn fill(&mut self, jobs: &[Job<'_>], mut lane: usize, counters: &mut Counters, spans: &mut [Span; LANES]) -> usize {
        let mut used = 0;
        while lane < LANES && self.packet < jobs.len() {
            let job = &jobs[self.packet];
            let blocks = job.out.len().div_ceil(64);
            let count = (blocks - self.block).min(LANES - lane);
            if count > 0 {
                spans[used] = Span { packet: self.packet, block: self.block, lane, count };
                add_span(counters, spans[used], job.nonce, 1);
                used += 1;
                lane += count;
                self.block += count;
            }
            if self.block == blocks {
                *self = Self { packet: self.packet + 1, block: 0 };
            }
        }
        used
    }
}

/// Sets the counters of a span's lanes; the packet's block 0 has the counter `first`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn add_span(counters: &mut Counters, span: Span, nonce: [u32; 3], first: usize) {
    let lanes = (((1_u32 << span.count) - 1) << span.lane) as u16;
    let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let start = (first + span.block).wrapping_sub(span.lane);
    counters[0] = _mm512_mask_add_epi32(counters[0], lanes, lane, _mm512_set1_epi32(start as i32));
    for i in 0..3 {
        counters[1 + i] = _mm512_mask_set1_epi32(counters[1 + i], lanes, nonce[i].cast_signed());
    }
}

/// Puts the key stream on the text.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn apply(stream: &[V; LANES], spans: &[Span], jobs: &mut [Job<'_>]) {
    for span in spans {
        let job = &mut jobs[span.packet];
        let (from, to) = (span.block * 64, (span.block + span.count) * 64);
        let to = to.min(job.out.len());
        let stream = &stream[span.lane..span.lane + span.count];
        let split = job.head.len().clamp(from, to);
        let (head, body) = job.out[from..to].split_at_mut(split - from);
        let (head_stream, body_stream) = stream.split_at(head.len() / 64);
        if !head.is_empty() {
            put(head_stream, &job.head[from..split], head);
        }
        put(body_stream, &job.body[split - job.head.len().min(split)..][..body.len()], body);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
pub(super) fn put(stream: &[V], from: &[u8], to: &mut [u8]) {
    let (from, from_rest) = from.as_chunks::<64>();
    let (to, to_rest) = to.as_chunks_mut::<64>();
    for ((from, to), stream) in from.iter().zip(to.iter_mut()).zip(stream) {
        store(to, _mm512_xor_si512(load(from), *stream));
    }
    if !to_rest.is_empty() {
        store_part(to_rest, _mm512_xor_si512(load_part(from_rest), stream[to.len()]));
    }
}

/// The packets' Poly1305, one after the other.
struct Macs {
    packet: usize,
    mac: Mac,
}

impl Macs {
    /// Takes one step if the text for it is there: all text of packets before `ready`, and its blocks before that one.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn advance<const OPEN: bool>(&mut self, powers: &Powers, jobs: &mut [Job<'_>], ready: Cursor) {
        let Some(job) = jobs.get_mut(self.packet) else { return };
        let text: &[u8] = if OPEN { job.body } else { job.out };
        let there = if OPEN || self.packet < ready.packet {
            text.len()
        } else if self.packet == ready.packet {
            ready.block * 64
        } else {
            0
        };
        if let Some(step) = text.get(self.mac.done()..there).and_then(|text| text.first_chunk()) {
            self.mac.step(powers, step);
        } else if there == text.len() {
            job.tag = self.mac.finish(powers, &text[self.mac.done()..]);
            self.packet += 1;
            if let Some(next) = jobs.get(self.packet) {
                self.mac = Mac::new(self.packet, next.out.len());
            }
        }
    }
}

const _: () = assert!(WAVE <= LANES / 2, "the key blocks' words are taken from the first eight lanes");
