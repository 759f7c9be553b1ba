//! Large policies: compiling them, asking them about a new flow (cold) and about a known one (cached).
//!
//! The ordinary case is 100,000 rules over 10,000 shared lists of 20 to 100 prefixes. The others are what a linear walk
//! anywhere would show: one list under all rules, no list at all, one prefix in every list, a name per rule.

use criterion::{BatchSize, Criterion};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_engine::classify::{Extracted, FlowKey, FlowTable};
use vestibule_engine::packet::header::{TCP, Tcp};
use vestibule_engine::packet::{Headers, checksum};
use vestibule_engine::policy::{Action, AddressSet, Clause, Detected, Payload, PayloadTest, Policy, Rule, Verdict};

const RULES: u32 = 100_000;
const LISTS: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .configure_from_args();
    compile(&mut criterion);
    cold(&mut criterion);
    cached(&mut criterion);
    criterion.final_summary();
}

/// xorshift64*: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

fn prefix(numbers: &mut Numbers) -> Option<IpNet> {
    if numbers.below(5) == 0 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, numbers.next() as u16, numbers.next() as u16, 0, 0, 0, 0);
        return Ipv6Net::new(address, 48 + numbers.below(17) as u8).ok().map(IpNet::V6);
    }
    Ipv4Net::new(numbers.next().into(), 14 + numbers.below(19) as u8).ok().map(IpNet::V4)
}

/// 20 to 100 prefixes each, and `common` in all of them.
fn lists(numbers: &mut Numbers, common: Option<IpNet>) -> Vec<Arc<AddressSet>> {
    let mut list = || {
        let count = 20 + numbers.below(81);
        let prefixes: Vec<IpNet> = (0..count).filter_map(|_| prefix(numbers)).chain(common).collect();
        Arc::new(AddressSet::new(prefixes))
    };
    (0..LISTS).map(|_| list()).collect()
}

fn rules(mut clause: impl FnMut(u32) -> Clause) -> Vec<Rule> {
    let action = |id| if id % 2 == 0 { Action::Allow } else { Action::Block };
    (0..RULES).map(|id| Rule { id, action: action(id), any: vec![clause(id)] }).collect()
}

/// What an administrator of a large network has: a list, a few ports, TCP.
fn ordinary(lists: &[Arc<AddressSet>]) -> Vec<Rule> {
    let mut numbers = Numbers(7);
    rules(|id| {
        let port = numbers.below(2000) as u16;
        Clause {
            destinations: lists.get(id as usize % LISTS).cloned(),
            destination_ports: vec![port..=port + 3, 8000 + port..=8000 + port],
            protocols: vec![TCP],
            ..Clause::default()
        }
    })
}

/// (what it is, the rules, the destinations to ask about).
fn cases() -> Vec<(&'static str, Vec<Rule>, Vec<FlowKey>)> {
    let mut numbers = Numbers(99);
    let mut keys = |prefix: Option<u8>| -> Vec<FlowKey> {
        let destination = |number: u32| match prefix {
            Some(first) => u32::from(first) << 24 | number >> 8,
            None => number,
        };
        let key = |numbers: &mut Numbers| FlowKey {
            source: Ipv4Addr::new(100, 96, 0, 2).into(),
            destination: Ipv4Addr::from(destination(numbers.next())).into(),
            protocol: TCP,
            source_port: 40_000,
            destination_port: numbers.below(2000) as u16,
        };
        (0..4096).map(|_| key(&mut numbers)).collect()
    };
    let shared = lists(&mut Numbers(1), None);
    let common = lists(&mut Numbers(2), "10.0.0.0/8".parse().ok());
    let port = |id: u32| (id % 60_000) as u16 + 3000;
    let one_list = rules(|id| Clause {
        destinations: shared.first().cloned(),
        destination_ports: vec![port(id)..=port(id)],
        ..Clause::default()
    });
    let complement = Arc::new(shared[0].complement());
    let rest = rules(|id| Clause {
        destinations: Some(Arc::clone(&complement)),
        destination_ports: vec![port(id)..=port(id)],
        ..Clause::default()
    });
    let anywhere = rules(|id| Clause { destination_ports: vec![port(id)..=port(id)], ..Clause::default() });
    vec![
        ("100,000 rules over 10,000 lists", ordinary(&shared), keys(None)),
        ("one list under all rules", one_list, keys(None)),
        ("all but one list under all rules", rest, keys(None)),
        ("no list", anywhere, keys(None)),
        ("one prefix in all lists", ordinary(&common), keys(Some(10))),
    ]
}

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy, compile");
    for (name, rules, _) in cases() {
        group.bench_function(name, |bencher| {
            let clone = || rules.clone();
            bencher.iter_batched(clone, |rules| Policy::compile(rules, Action::Block), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy, cold verdict");
    for (name, rules, keys) in cases() {
        let policy = Policy::compile(rules, Action::Block);
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % keys.len();
                policy.answer(black_box(&keys[next]))
            });
        });
    }
    let named = rules(|id| {
        let test = Payload::SniDomain(vec![format!("host{id}.example.com")]);
        Clause { payload: vec![PayloadTest { negated: false, test }], ..Clause::default() }
    });
    let policy = Policy::compile(named, Action::Allow);
    let key = FlowKey {
        source: Ipv4Addr::new(100, 96, 0, 2).into(),
        destination: Ipv4Addr::new(192, 0, 2, 1).into(),
        protocol: TCP,
        source_port: 40_000,
        destination_port: 443,
    };
    let told: Vec<Extracted> = (0..1024)
        .map(|number| {
            let name = format!("www.host{}.example.com", number * 150).into_boxed_str();
            Extracted { protocol: Some(Detected::Tls), server_name: Some(name) }
        })
        .collect();
    let mut next = 0;
    group.bench_function("a server name, under 100,000 rules of a name each", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % told.len();
            policy.decide(black_box(&key), &told[next])
        });
    });
    group.finish();
}

/// A SYN from one of many hosts.
fn syn(flow: u32) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP]);
    packet[12..16].copy_from_slice(&[100, 96, (flow >> 16) as u8, (flow >> 8) as u8]);
    packet[16..20].copy_from_slice(&[10, 0, 0, flow as u8]);
    packet[20..24].copy_from_slice(&[0x9c, 0x40, 1, 187]);
    packet[32] = 5 << 4;
    packet[33] = Tcp::ACK;
    let sum = checksum::checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// From headers to verdict for a flow that is known, as the walk does it per frame.
fn cached(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy, cached verdict");
    for flows in [1u32, 1000, 65_536] {
        let now = Instant::now();
        let mut table = FlowTable::new(65_536, [1, 2]);
        let headers: Vec<Headers> = (0..flows).filter_map(|flow| Headers::parse(&syn(flow)).ok()).collect();
        let verdict = Verdict { action: Action::Allow, rule: Some(1) };
        for headers in &headers {
            table.insert(headers, 1, 1, verdict, now);
        }
        let mut next = 0;
        group.bench_function(format!("one of {flows} flows"), |bencher| {
            bencher.iter(|| {
                next = (next + 7919) % headers.len();
                let (flow, _) = table.lookup_in_run(black_box(&headers[next]))?;
                table.get(flow).filter(|entry| entry.epoch == 1).map(|entry| entry.verdict)
            });
        });
    }
    group.finish();
}
