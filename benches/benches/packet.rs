//! The packet path's leaves, one at a time and in memory: cutting, merging, parsing, flow look-up, verdict.
//!
//! `cargo bench -p vestibule-benches --bench packet`. Throughput is of IP bytes; a 10 Gb/s path has 1.1 µs for each
//! packet of 1,380 bytes of payload.

use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_engine::classify::{Direction, FlowKey, FlowTable};
use vestibule_engine::packet::header::{TCP, Tcp};
use vestibule_engine::packet::{DeliveryQueue, Frame, Gso, Headers, Offload, checksum, segments};
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule, Verdict};

const MSS: usize = 1380;
const PACKETS: usize = 47;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    split(&mut criterion);
    merge(&mut criterion);
    classify(&mut criterion);
    verdict(&mut criterion);
    criterion.final_summary();
}

/// A TCP packet over IPv4 with a timestamp option, from one of `hosts` × ports.
fn tcp_packet(flow: u32, seq: u32, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; 52 + payload];
    let total = (packet.len() as u16).to_be_bytes();
    let [.., b, c, d] = flow.to_be_bytes();
    packet[..20]
        .copy_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, TCP, 0, 0, 10, b, c, d, 10, 200, 0, 1]);
    packet[20..24].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
    packet[24..28].copy_from_slice(&seq.to_be_bytes());
    packet[28..32].copy_from_slice(&[0, 0, 0, 1]);
    packet[32..40].copy_from_slice(&[8 << 4, Tcp::ACK, 2, 0, 0, 0, 0, 0]);
    packet[40..52].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    let sum = checksum::checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let source = Ipv4Addr::new(10, b, c, d).into();
    let len = (packet.len() - 20) as u16;
    let sum = checksum::pseudo_header(source, Ipv4Addr::new(10, 200, 0, 1).into(), TCP, len).with(&packet[20..]);
    packet[36..38].copy_from_slice(&sum.finish().to_be_bytes());
    packet
}

fn split(criterion: &mut Criterion) {
    let whole = tcp_packet(1, 1, MSS * PACKETS);
    let mut bytes = whole.clone();
    let mut group = criterion.benchmark_group("split");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("64 KiB of TCP into 47 packets", |bencher| {
        bencher.iter(|| {
            bytes[..52].copy_from_slice(&whole[..52]);
            let offload = Offload { gso: Some(Gso::Tcp { size: MSS as u16 }), checksum: Some((20, 16)) };
            segments(Frame { bytes: &mut bytes, offload }, |packet| {
                black_box(packet.len());
            })
        });
    });
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for flows in [1, 4, 32] {
        let packet = |number: usize| tcp_packet((number % flows) as u32, (number / flows * MSS) as u32, MSS);
        let packets: Vec<_> = (0..PACKETS).map(packet).collect();
        let headers: Vec<_> = packets.iter().filter_map(|packet| Headers::parse(packet).ok()).collect();
        let mut queue = DeliveryQueue::default();
        group.throughput(Throughput::Bytes((packets.len() * packets[0].len()) as u64));
        group.bench_function(format!("47 packets of {flows} flows, their copy included"), |bencher| {
            bencher.iter(|| {
                queue.clear();
                for (packet, headers) in packets.iter().zip(&headers) {
                    let (start, room) = queue.open(packet.len());
                    room.copy_from_slice(packet);
                    queue.deliver(start..start + packet.len(), headers);
                }
                queue.finish();
                black_box(queue.frames().count())
            });
        });
    }
    group.finish();
}

fn classify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    let packet = tcp_packet(1, 1, MSS);
    group.bench_function("parse", |bencher| bencher.iter(|| Headers::parse(black_box(&packet))));
    group.throughput(Throughput::Bytes(packet.len() as u64));
    group.bench_function("checksum of a packet", |bencher| bencher.iter(|| checksum::checksum(black_box(&packet))));
    group.throughput(Throughput::Elements(1));
    for flows in [1_000u32, 1_000_000] {
        let headers: Vec<_> = (0..flows).filter_map(|flow| Headers::parse(&tcp_packet(flow, 1, 0)).ok()).collect();
        let now = Instant::now();
        let mut table = FlowTable::new(1 << 20, [1, 2]);
        let allow = Verdict { action: Action::Allow, rule: Some(1) };
        for headers in &headers {
            table.insert(headers, 1, 1, allow, now);
        }
        let mut next = 0;
        group.bench_function(format!("cached verdict and counters, one of {flows} flows"), |bencher| {
            bencher.iter(|| {
                next = (next + 7919) % headers.len();
                let headers = &headers[next];
                let (id, direction) = table.lookup(headers)?;
                let verdict = table.get(id).filter(|entry| entry.epoch == 1)?.verdict;
                table.touch(id, direction, headers, 1, now);
                Some(verdict)
            });
        });
    }
    let headers: Vec<_> = (0..100_000).filter_map(|flow| Headers::parse(&tcp_packet(flow, 1, 0)).ok()).collect();
    let allow = Verdict { action: Action::Allow, rule: Some(1) };
    group.throughput(Throughput::Elements(headers.len() as u64));
    group.bench_function("100,000 new flows into a table of 65,536", |bencher| {
        let now = Instant::now();
        bencher.iter_batched(
            || FlowTable::new(1 << 16, [1, 2]),
            |mut table| {
                for headers in &headers {
                    let id = table.insert(headers, 1, 1, allow, now);
                    table.touch(id, Direction::Forward, headers, 1, now);
                }
                table
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn verdict(criterion: &mut Criterion) {
    // 1,000 rules of 20 prefixes each, of all lengths from 12 to 31; most destinations are in none of them.
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.rotate_left(16)
    };
    let rules = (0..1000).map(|id| {
        let prefix = |len| ipnet::Ipv4Net::new(random().into(), len).ok().map(ipnet::IpNet::V4);
        Rule {
            id,
            action: Action::Allow,
            any: vec![Clause {
                destinations: Some(Arc::new(AddressSet::new((12..32).filter_map(prefix)))),
                destination_ports: vec![443..=443, 8000..=9000],
                protocols: vec![TCP],
                ..Clause::default()
            }],
        }
    });
    let rules: Vec<_> = rules.collect();
    let keys: Vec<_> = (0..1024)
        .map(|_| FlowKey {
            source: Ipv4Addr::LOCALHOST.into(),
            destination: Ipv4Addr::from(random()).into(),
            protocol: TCP,
            source_port: 1,
            destination_port: 443,
        })
        .collect();
    let policy = Policy::compile(rules.clone(), Action::Block);
    let anywhere = rules
        .iter()
        .map(|rule| Rule { any: vec![Clause { destination_ports: vec![1..=2], ..Clause::default() }], ..rule.clone() });
    let worst = Policy::compile(anywhere.collect(), Action::Block);
    let mut group = criterion.benchmark_group("verdict");
    for (name, policy) in
        [("cold, 1,000 rules of 20 prefixes", &policy), ("cold, 1,000 rules for everywhere, none matches", &worst)]
    {
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % keys.len();
                policy.verdict(black_box(&keys[next]))
            });
        });
    }
    group.bench_function("compile 1,000 rules of 20 prefixes", |bencher| {
        bencher.iter_batched(|| rules.clone(), |rules| Policy::compile(rules, Action::Block), BatchSize::LargeInput);
    });
    group.finish();
}
