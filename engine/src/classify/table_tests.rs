#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::classify::{IDLE_TCP, IDLE_TCP_TRANSITORY, IDLE_UDP};
use crate::packet::testing::{Segment, icmp, udp};
use crate::policy::Action;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const ALLOW: Verdict = Verdict { action: Action::Allow, rule: Some(1) };
const BLOCK: Verdict = Verdict { action: Action::Block, rule: None };
const SECOND: Duration = Duration::from_secs(1);

fn parse(packet: &[u8]) -> Headers {
    Headers::parse(packet).unwrap()
}

fn segment(flags: u8) -> Segment {
    Segment { flags, payload: Vec::new(), ..Default::default() }
}

/// The segment in the other direction.
fn back(segment: Segment) -> Segment {
    Segment {
        hosts: (segment.hosts.1, segment.hosts.0),
        ports: (segment.ports.1, segment.ports.0),
        seq: segment.ack,
        ack: segment.seq,
        ..segment
    }
}

fn open(table: &mut FlowTable, headers: &Headers, verdict: Verdict, now: Instant) -> FlowId {
    let id = table.insert(headers, 1, 1, verdict, now);
    table.touch(id, Direction::Forward, headers, 1, now);
    id
}

#[test]
fn both_directions_find_one_entry() {
    let now = Instant::now();
    for v6 in [false, true] {
        // Whichever end has the lower address.
        for hosts in [(9, 2), (1, 2)] {
            let mut table = FlowTable::new(16, [3, 1]);
            let forward = Segment { v6, hosts, ..segment(Tcp::SYN) };
            let id = open(&mut table, &parse(&forward.build()), ALLOW, now);
            assert_eq!(table.lookup(&parse(&forward.build())), Some((id, Direction::Forward)));
            assert_eq!(table.lookup(&parse(&back(forward.clone()).build())), Some((id, Direction::Reverse)));
            assert_eq!(table.lookup(&parse(&Segment { ports: (40_000, 444), ..forward }.build())), None);
            assert_eq!(table.len(), 1);
        }
    }
}

#[test]
fn protocols_do_not_mix() {
    let now = Instant::now();
    let mut table = FlowTable::new(16, [0, 0]);
    open(&mut table, &parse(&udp(false, (40_000, 443), &[])), ALLOW, now);
    assert_eq!(table.lookup(&parse(&segment(Tcp::ACK).build())), None);
}

#[test]
fn an_echo_reply_belongs_to_its_request() {
    let now = Instant::now();
    for (v6, request, reply) in [(false, 8, 0), (true, 128, 129)] {
        let mut table = FlowTable::new(16, [0, 0]);
        let request = parse(&icmp(v6, request, 0, &[0x12, 0x34, 0, 1]));
        let mut reply = parse(&icmp(v6, reply, 0, &[0x12, 0x34, 0, 1]));
        std::mem::swap(&mut reply.source, &mut reply.destination);
        let id = open(&mut table, &request, ALLOW, now);
        assert_eq!(table.lookup(&reply), Some((id, Direction::Reverse)));
        let mut other = reply;
        other.transport = crate::packet::Transport::Echo { id: 0x1235, reply: true };
        assert_eq!(table.lookup(&other), None);
    }
}

#[test]
fn an_icmp_error_finds_the_flow_it_quotes() {
    let now = Instant::now();
    for v6 in [false, true] {
        let mut table = FlowTable::new(16, [0, 0]);
        // From host 2 to host 1; the error goes from host 1 to host 2.
        let packet = back(Segment { v6, ..Default::default() }).build();
        let id = open(&mut table, &parse(&packet), ALLOW, now);
        let quote = &packet[..if v6 { 48 } else { 28 }];
        let error = icmp(v6, if v6 { 1 } else { 3 }, 1, &[&[0; 4], quote].concat());
        let key = FlowKey::quoted(&error, &parse(&error)).unwrap();
        assert_eq!(table.lookup_key(&key), Some((id, Direction::Forward)));
        assert_eq!(table.lookup_key(&key.reversed()), Some((id, Direction::Reverse)));
        // An error that is sent to somebody else.
        let stray = Segment { v6, ..Default::default() }.build();
        let error = icmp(v6, if v6 { 1 } else { 3 }, 1, &[&[0; 4], &stray[..]].concat());
        assert_eq!(FlowKey::quoted(&error, &parse(&error)), None);
        assert_eq!(FlowKey::quoted(&packet, &parse(&packet)), None);
    }
}

#[test]
fn tcp_numbers_are_kept_for_an_acceptable_reset() {
    let now = Instant::now();
    let mut table = FlowTable::new(16, [0, 0]);
    let data = Segment { seq: u32::MAX - 50, payload: vec![0; 100], flags: Tcp::ACK, ..Default::default() };
    let id = open(&mut table, &parse(&data.build()), ALLOW, now);
    // A retransmission of older bytes, and an older acknowledgement, move nothing back.
    let old = Segment { seq: u32::MAX - 500, ack: 4000, ..data.clone() };
    table.touch(id, Direction::Forward, &parse(&old.build()), 1, now);
    let reply = Segment { seq: 5000, ack: 49, flags: Tcp::ACK | Tcp::FIN, ..back(data.clone()) };
    table.touch(id, Direction::Reverse, &parse(&reply.build()), 3, now + SECOND);
    // A RST's number is not the stream's.
    let reset = Segment { seq: 77_777, flags: Tcp::RST, ..segment(0) };
    table.touch(id, Direction::Forward, &parse(&reset.build()), 1, now);
    let entry = table.get(id).unwrap();
    assert_eq!((entry.forward.next_seq, entry.forward.last_ack), (Some(49), Some(5000)));
    assert_eq!((entry.reverse.next_seq, entry.reverse.last_ack), (Some(5101), Some(49)));
    assert_eq!((entry.forward.packets, entry.reverse.packets), (3, 3));
    assert_eq!((entry.forward.bytes, entry.reverse.bytes), (320, 140));
    assert_eq!(entry.last_seen(), now + SECOND);
    assert_eq!((entry.peer(), entry.epoch, entry.verdict), (1, 1, ALLOW));
}

#[test]
fn phases_of_tcp() {
    let now = Instant::now();
    let mut table = FlowTable::new(16, [0, 0]);
    let syn = segment(Tcp::SYN);
    let id = open(&mut table, &parse(&syn.build()), ALLOW, now);
    let step = |table: &mut FlowTable, direction, flags| {
        table.touch(id, direction, &parse(&segment(flags).build()), 1, now);
        table.get(id).unwrap().phase()
    };
    assert_eq!(step(&mut table, Direction::Forward, Tcp::SYN), Phase::Opening);
    assert_eq!(step(&mut table, Direction::Reverse, Tcp::SYN | Tcp::ACK), Phase::Established);
    assert_eq!(step(&mut table, Direction::Forward, Tcp::FIN | Tcp::ACK), Phase::Established);
    assert_eq!(table.lookup(&parse(&syn.build())), Some((id, Direction::Forward)));
    assert_eq!(step(&mut table, Direction::Reverse, Tcp::FIN | Tcp::ACK), Phase::Closed);
    // The last ACK still belongs to it, a new SYN does not: its opener is judged again.
    assert_eq!(table.lookup(&parse(&segment(Tcp::ACK).build())), Some((id, Direction::Forward)));
    assert_eq!(table.lookup(&parse(&syn.build())), None);
    let again = open(&mut table, &parse(&back(syn).build()), ALLOW, now);
    assert_eq!(table.len(), 1);
    assert!(table.get(id).is_none() && again != id);
    assert_eq!(table.get(again).unwrap().opener().source_port, 443);
    table.touch(again, Direction::Reverse, &parse(&segment(Tcp::RST).build()), 1, now);
    assert_eq!(table.get(again).unwrap().phase(), Phase::Closed);
}

#[test]
fn idle_flows_expire_when_their_time_has_come() {
    let start = Instant::now();
    let tcp = |port, phase| {
        let mut table = FlowTable::new(16, [0, 0]);
        let headers = parse(&Segment { ports: (port, 1), ..segment(Tcp::SYN) }.build());
        let id = open(&mut table, &headers, ALLOW, start);
        if phase != Phase::Opening {
            table.touch(id, Direction::Reverse, &parse(&segment(Tcp::ACK).build()), 1, start);
        }
        if phase == Phase::Closed {
            table.touch(id, Direction::Reverse, &parse(&segment(Tcp::RST).build()), 1, start);
        }
        assert_eq!(table.get(id).unwrap().phase(), phase);
        table
    };
    let mut datagram = FlowTable::new(16, [0, 0]);
    open(&mut datagram, &parse(&udp(false, (1, 2), &[])), ALLOW, start);
    let mut ping = FlowTable::new(16, [0, 0]);
    open(&mut ping, &parse(&icmp(false, 8, 0, &[0; 4])), ALLOW, start);
    for (mut table, limit) in [
        (tcp(1, Phase::Opening), IDLE_TCP_TRANSITORY),
        (tcp(2, Phase::Established), IDLE_TCP),
        (tcp(3, Phase::Closed), IDLE_TCP_TRANSITORY),
        (datagram, IDLE_UDP),
        (ping, 60 * SECOND),
    ] {
        assert_eq!(table.expire(start + limit - Duration::from_millis(1), 100), 0);
        assert_eq!(table.expire(start + limit, 100), 1);
        assert!(table.is_empty());
    }
}

#[test]
fn expiry_keeps_to_its_budget_and_comes_round() {
    let start = Instant::now();
    let mut table = FlowTable::new(100, [0, 0]);
    for port in 0..100 {
        open(&mut table, &parse(&udp(false, (port, 2), &[])), ALLOW, start);
    }
    let late = start + IDLE_UDP;
    let gone: Vec<_> = (0..4).map(|_| table.expire(late, 30)).collect();
    assert_eq!(gone, [30, 30, 30, 10]);
}

#[test]
fn a_full_table_gives_up_cheap_flows_before_living_ones() {
    let start = Instant::now();
    let mut table = FlowTable::new(64, [0, 0]);
    let living: Vec<_> = (0..8)
        .map(|port| {
            let forward = Segment { ports: (port, 443), ..segment(Tcp::SYN) };
            let id = open(&mut table, &parse(&forward.build()), ALLOW, start);
            table.touch(id, Direction::Reverse, &parse(&back(forward).build()), 1, start);
            id
        })
        .collect();
    // A flood from many ports, an hour later: half of it denied, half never answered.
    for port in 0..20_000u16 {
        let now = start + 3600 * SECOND + Duration::from_millis(port.into());
        let verdict = if port % 2 == 0 { ALLOW } else { BLOCK };
        open(&mut table, &parse(&udp(false, (port, 53), &[])), verdict, now);
        assert!(table.len() <= 64);
    }
    assert_eq!(table.evicted(), 20_000 + 8 - 64);
    // Eight neighbours fill one probe exactly: at most one of them is given up per round when nothing else is there.
    let alive = living.iter().filter(|id| table.get(**id).is_some()).count();
    assert!(alive >= 7, "{alive} of 8 established flows outlive the flood");
}

#[test]
fn a_sweep_sees_the_peers_flows_in_slices() {
    let now = Instant::now();
    let mut table = FlowTable::new(1000, [0, 0]);
    for port in 0..1000u16 {
        let headers = parse(&udp(false, (port, 2), &[]));
        table.insert(&headers, u64::from(port % 3), 1, ALLOW, now);
    }
    let (mut progress, mut slices, mut seen) = (SweepProgress::default(), 0, 0);
    loop {
        let done = table.sweep(&mut progress, 300, 1, |entry| {
            seen += 1;
            assert_eq!(entry.peer(), 1);
            entry.epoch = 2;
            if entry.opener().source_port < 500 { Sweep::Remove } else { Sweep::Keep }
        });
        slices += 1;
        if done {
            break;
        }
    }
    assert_eq!((slices, seen), ((667 + 333 * JUDGING).div_ceil(300), 333));
    assert_eq!(table.len(), 1000 - 167);
    let find = |port| table.lookup(&parse(&udp(false, (port, 2), &[])));
    assert_eq!(find(1), None);
    assert_eq!(table.get(find(502).unwrap().0).unwrap().epoch, 2);
    assert_eq!(table.get(find(3).unwrap().0).unwrap().epoch, 1);
}

#[test]
fn an_id_does_not_outlive_its_entry() {
    let now = Instant::now();
    let mut table = FlowTable::new(4, [0, 0]);
    let first = parse(&udp(false, (1, 2), &[]));
    let id = open(&mut table, &first, ALLOW, now);
    table.remove(id);
    let other = open(&mut table, &parse(&udp(false, (3, 4), &[])), ALLOW, now);
    assert_eq!(id.slot, other.slot);
    assert!(table.get(id).is_none() && table.get_mut(id).is_none());
    table.remove(id);
    table.touch(id, Direction::Forward, &first, 1, now);
    assert_eq!(table.get(other).unwrap().forward.packets, 1);
}

proptest! {
    /// Against a plain map, with few connections so that all cases meet.
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec((0u8..5, 0u16..6, 0u16..6, any::<bool>()), 1..120), seed: [u64; 2]) {
        let mut now = Instant::now();
        let mut table = FlowTable::new(100, seed);
        let mut model: BTreeMap<(u16, u16), (FlowId, Instant)> = BTreeMap::new();
        for (step, a, b, forward) in steps {
            let headers = |forward: bool| parse(&udp(false, if forward { (a, 100 + b) } else { (100 + b, a) }, &[]));
            // The test packets go from host 1 to host 2; turn them with their ports.
            let headers = |forward: bool| {
                let mut headers = headers(forward);
                if !forward { std::mem::swap(&mut headers.source, &mut headers.destination); }
                headers
            };
            match step {
                0 | 1 => {
                    let id = table.insert(&headers(true), 1, 1, ALLOW, now);
                    model.insert((a, b), (id, now));
                }
                2 => if let Some((id, _)) = model.remove(&(a, b)) { table.remove(id) },
                3 => if let Some((id, seen)) = model.get_mut(&(a, b)) {
                    table.touch(*id, Direction::Forward, &headers(true), 1, now);
                    *seen = now;
                },
                _ => {
                    now += 70 * SECOND;
                    let gone = table.expire(now, usize::MAX);
                    let before = model.len();
                    model.retain(|_, (_, seen)| now - *seen < IDLE_UDP);
                    prop_assert_eq!(gone, before - model.len());
                }
            }
            prop_assert_eq!(table.len(), model.len());
            let direction = if forward { Direction::Forward } else { Direction::Reverse };
            prop_assert_eq!(table.lookup(&headers(forward)), model.get(&(a, b)).map(|(id, _)| (*id, direction)));
        }
    }
}

#[test]
fn a_run_of_packets_finds_what_single_ones_find() {
    let now = Instant::now();
    let mut table = FlowTable::new(4, [1, 2]);
    let flow = |port: u16, flags: u8| parse(&Segment { ports: (port, 443), flags, ..Default::default() }.build());
    let back = |port: u16| parse(&Segment { ports: (443, port), hosts: (2, 1), ..Default::default() }.build());
    let verdict = Verdict { action: Action::Allow, rule: None };
    // Ten flows through a table of four: what was found may be evicted, reused and opened again before the next look.
    for round in 0..200u16 {
        let port = 1 + round * 7 % 10;
        let known = table.lookup(&flow(port, Tcp::ACK));
        assert_eq!(table.lookup_in_run(&flow(port, Tcp::ACK)), known);
        assert_eq!(table.lookup_in_run(&flow(port, Tcp::ACK)), known);
        let id = table.insert(&flow(port, Tcp::SYN), 1, 1, verdict, now);
        assert_eq!(table.lookup_in_run(&flow(port, Tcp::ACK)), Some((id, Direction::Forward)));
        assert_eq!(table.lookup_in_run(&back(port)), Some((id, Direction::Reverse)));
        if round % 3 == 0 {
            table.touch(id, Direction::Forward, &flow(port, Tcp::RST), 1, now);
            assert_eq!(table.lookup_in_run(&flow(port, Tcp::SYN)), None, "a closed one opens anew");
        }
        if round % 5 == 0 {
            table.remove(id);
            assert_eq!(table.lookup_in_run(&flow(port, Tcp::ACK)), None);
        }
    }
}

#[test]
fn a_flow_that_is_redirected_again_is_found_at_its_new_destination_alone() {
    let now = Instant::now();
    let mut table = FlowTable::new(16, [7, 7]);
    let ids: Vec<FlowId> = (0..8)
        .map(|n| {
            open(&mut table, &parse(&Segment { ports: (40_000 + n, 443), ..segment(Tcp::SYN) }.build()), ALLOW, now)
        })
        .collect();
    let key = |table: &FlowTable, id| {
        let opener = *table.get(id).unwrap().opener();
        move |destination: &str| FlowKey { destination: destination.parse().unwrap(), ..opener }
    };
    for round in 0..3 {
        for id in &ids {
            assert!(table.redirect(*id, format!("10.9.0.{round}").parse().unwrap(), None));
        }
        for id in &ids {
            let at = key(&table, *id);
            for asked in 0..3 {
                assert_eq!(table.is_redirected_to(&at(&format!("10.9.0.{asked}"))), asked == round);
            }
        }
    }
    for id in &ids {
        let at = key(&table, *id);
        table.remove(*id);
        assert!(!table.is_redirected_to(&at("10.9.0.2")));
    }
}
