//! A batch of packets as one row of blocks, made sixteen at a time across the packets' borders: at the start of each wave
//! of eight packets their key blocks, then the key stream of each. Poly1305 runs between the rounds, over text that is
//! ready by then.

use super::chacha::{self, Counters, LANES};
use super::mac::{Mac, Site, tags};
use super::memory::{load, load_part, store, store_part, wipe};
use super::powers::{Powers, WAVE};
use super::{Key, V};
use std::arch::x86_64::*;

/// One packet on its way through.
pub(super) trait Packet {
    /// The encrypted text is what comes in, so that it is there from the start.
    const OPENED: bool;
    fn nonce(&self) -> [u32; 3];
    /// What comes in, as `head` (whole blocks) and `body`, and where the result goes.
    fn texts(&mut self) -> (&[u8], &[u8], &mut [u8]);
    /// The encrypted text, whichever of the two that is.
    fn encrypted(&self) -> &[u8];
    /// Takes the encrypted text's tag.
    fn conclude(&mut self, tag: &[u8; 16]);
}

/// En- or decrypts a batch and tells each packet its tag.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn run<P: Packet>(key: &Key, packets: &mut [P]) {
    if packets.len() <= WAVE {
        run_with::<P, 1>(key, packets);
    } else {
        run_with::<P, 2>(key, packets);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn run_with<P: Packet, const SLOTS: usize>(key: &Key, packets: &mut [P]) {
    let mut stream = [_mm512_setzero_si512(); LANES];
    let mut row = Row::new();
    let mut tags =
        Tags::<SLOTS> { packet: 0, mac: Mac::new(), keyed: 0, powers: std::array::from_fn(|_| Powers::none()) };
    while row.next.packet < packets.len() {
        let ready = row.next;
        row.fill(packets, &mut tags.keyed);
        match row.lanes {
            0..=4 => chacha::few::<1>(&key.0, row.counters, &mut stream, || tags.catch_up(packets, ready)),
            5..=8 => chacha::few::<2>(&key.0, row.counters, &mut stream, || tags.catch_up(packets, ready)),
            9..=12 => chacha::few::<3>(&key.0, row.counters, &mut stream, || tags.catch_up(packets, ready)),
            _ => {
                let hole = || tags.advance::<P, BetweenRounds<SLOTS>>(packets, ready);
                chacha::sixteen(&key.0, row.counters, &mut stream, hole);
            }
        }
        for span in &row.spans[..row.used] {
            apply(&stream[span.lane..span.lane + span.count], *span, &mut packets[span.packet]);
        }
        if let Some(lane) = row.keys {
            tags.start(&stream, lane, packets, row.next);
        }
    }
    while tags.packet < packets.len() {
        tags.catch_up(packets, row.next);
    }
    tags.wipe();
    wipe(&mut stream);
}

struct BetweenRounds<const SLOTS: usize>;
struct Alone<const SLOTS: usize>;
impl<const SLOTS: usize> Site for BetweenRounds<SLOTS> {}
impl<const SLOTS: usize> Site for Alone<SLOTS> {}
impl<P: Packet, S: Site> Site for (P, S) {}

/// A packet's block.
#[derive(Clone, Copy, Default)]
struct Place {
    packet: usize,
    block: usize,
}

/// Blocks of one packet in neighbouring lanes.
#[derive(Clone, Copy, Default)]
struct Span {
    packet: usize,
    block: usize,
    lane: usize,
    count: usize,
}

/// What the lanes are given to.
struct Row {
    /// The first block that has not had its turn.
    next: Place,
    counters: Counters,
    spans: [Span; LANES],
    used: usize,
    /// The first of the lanes that make a wave's keys, if there are such.
    keys: Option<usize>,
    lanes: usize,
}

impl Row {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn new() -> Self {
        let counters = [_mm512_setzero_si512(); 4];
        Self { next: Place::default(), counters, spans: [Span::default(); LANES], used: 0, keys: None, lanes: 0 }
    }

    /// Gives the lanes to the next blocks. `keyed` counts the waves that have had their keys.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn fill<P: Packet>(&mut self, packets: &mut [P], keyed: &mut usize) {
        (self.used, self.keys, self.lanes) = (0, None, 0);
        while self.lanes < LANES && self.next.packet < packets.len() {
            if self.next.packet == *keyed * WAVE {
                let wave = &packets[self.next.packet..packets.len().min(self.next.packet + WAVE)];
                if self.lanes + wave.len() > LANES || self.keys.is_some() {
                    break;
                }
                self.keys = Some(self.lanes);
                *keyed += 1;
                for packet in wave {
                    self.count(packet.nonce(), 0, 1);
                }
                continue;
            }
            let packet = &mut packets[self.next.packet];
            let blocks = packet.encrypted().len().div_ceil(64);
            let count = (blocks - self.next.block).min(LANES - self.lanes);
            if count > 0 {
                let Place { packet: number, block } = self.next;
                self.spans[self.used] = Span { packet: number, block, lane: self.lanes, count };
                self.used += 1;
                self.count(packet.nonce(), 1 + block, count);
                self.next.block += count;
            }
            if self.next.block == blocks {
                self.next = Place { packet: self.next.packet + 1, block: 0 };
            }
        }
    }

    /// Gives lanes to `count` blocks from the one with the counter `first` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn count(&mut self, nonce: [u32; 3], first: usize, count: usize) {
        let lanes = (((1_u32 << count) - 1) << self.lanes) as u16;
        let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let start = _mm512_set1_epi32(first.wrapping_sub(self.lanes) as i32);
        self.counters[0] = _mm512_mask_add_epi32(self.counters[0], lanes, lane, start);
        for (counter, word) in self.counters[1..].iter_mut().zip(nonce) {
            *counter = _mm512_mask_set1_epi32(*counter, lanes, word.cast_signed());
        }
        self.lanes += count;
    }
}

/// Puts the key stream on some of a packet's blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn apply<P: Packet>(stream: &[V], span: Span, packet: &mut P) {
    let (head, body, out) = packet.texts();
    let from = span.block * 64;
    let to = out.len().min(from + span.count * 64);
    let split = head.len().clamp(from, to);
    let (head_stream, body_stream) = stream.split_at((split - from) / 64);
    if split > from {
        put(head_stream, &head[from..split], &mut out[from..split]);
    }
    if to > split {
        put(body_stream, &body[split - head.len()..to - head.len()], &mut out[split..to]);
    }
}

/// Puts the key stream on text.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
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

/// The packets' tags, one after the other.
struct Tags<const SLOTS: usize> {
    /// The packet whose turn it is.
    packet: usize,
    mac: Mac,
    /// Waves whose keys have been given lanes.
    keyed: usize,
    /// The powers of the wave at work and, if there are several, the next one's.
    powers: [Powers; SLOTS],
}

impl<const SLOTS: usize> Tags<SLOTS> {
    /// Takes the keys of the newest wave.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn start<P: Packet>(&mut self, stream: &[V; LANES], lane: usize, packets: &mut [P], ready: Place) {
        let wave = self.keyed - 1;
        while self.packet + SLOTS * WAVE < (wave + 1) * WAVE {
            self.catch_up(packets, ready);
        }
        let mut blocks = [_mm512_setzero_si512(); WAVE];
        let count = WAVE.min(LANES - lane);
        blocks[..count].copy_from_slice(&stream[lane..lane + count]);
        self.powers[wave % SLOTS].start(blocks);
    }

    /// One step outside of the rounds.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline(never)]
    fn catch_up<P: Packet>(&mut self, packets: &mut [P], ready: Place) {
        self.advance::<P, Alone<SLOTS>>(packets, ready);
    }

    /// Takes one step if the text for it is there: all text of packets before `ready`, and its blocks before that one.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn advance<P: Packet, S: Site>(&mut self, packets: &mut [P], ready: Place) {
        let wave = self.packet / WAVE;
        let Some(packet) = packets.get(self.packet) else { return };
        let powers = &mut self.powers[wave % SLOTS];
        if !powers.are_ready() {
            if powers.are_there() {
                powers.advance();
            }
            return;
        }
        let text = packet.encrypted();
        let there = if P::OPENED || self.packet < ready.packet {
            text.len()
        } else if self.packet == ready.packet {
            text.len().min(ready.block * 64)
        } else {
            return;
        };
        if self.mac.advance::<(P, S)>(powers, self.packet % WAVE, text, there) {
            self.packet += 1;
            if self.packet.is_multiple_of(WAVE) || self.packet == packets.len() {
                let tags = tags(powers);
                packets[wave * WAVE..self.packet].iter_mut().zip(&tags).for_each(|(packet, tag)| packet.conclude(tag));
                powers.wipe();
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    fn wipe(&mut self) {
        self.mac.wipe();
        for powers in &mut self.powers {
            powers.wipe();
        }
    }
}
