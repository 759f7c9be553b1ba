#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::classify::FlowTable;
use crate::packet::testing::{udp, with_extension_v6};
use crate::policy::{Action, Verdict};

fn fragment(id: u16, offset: u16) -> Headers {
    let mut packet = udp(false, (1, 2), &[0; 64]);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | 0x2000).to_be_bytes());
    Headers::parse(&packet).unwrap()
}

fn flows(count: u16, now: Instant) -> Vec<FlowId> {
    let mut table = FlowTable::new(1000, [0, 0]);
    let verdict = Verdict { action: Action::Allow, rule: None };
    let mut open = |port| table.insert(&Headers::parse(&udp(false, (port, 2), &[])).unwrap(), 1, 1, verdict, now);
    (0..count).map(&mut open).collect()
}

#[test]
fn later_fragments_follow_the_first() {
    let now = Instant::now();
    let flow = flows(2, now);
    let mut table = FragmentTable::new(64, [1, 2]);
    assert_eq!(table.lookup(&fragment(7, 64), now), Err(FragmentMiss::Unknown));
    table.insert(&fragment(7, 0), flow[0], now);
    assert_eq!(table.lookup(&fragment(7, 64), now), Ok(flow[0]));
    assert_eq!(table.lookup(&fragment(7, 128), now + LIFETIME), Ok(flow[0]));
    assert_eq!(table.lookup(&fragment(8, 64), now), Err(FragmentMiss::Unknown));
    assert_eq!(table.lookup(&fragment(7, 0), now), Err(FragmentMiss::NotLater));
    let late = now + LIFETIME + Duration::from_millis(1);
    assert_eq!(table.lookup(&fragment(7, 64), late), Err(FragmentMiss::Expired));
    // The identification comes round again, for another flow.
    table.insert(&fragment(7, 0), flow[1], late);
    assert_eq!(table.lookup(&fragment(7, 64), late), Ok(flow[1]));
}

#[test]
fn whole_packets_and_later_fragments_teach_nothing() {
    let now = Instant::now();
    let flow = flows(1, now)[0];
    let mut table = FragmentTable::new(64, [1, 2]);
    table.insert(&fragment(7, 64), flow, now);
    table.insert(&Headers::parse(&udp(false, (1, 2), &[])).unwrap(), flow, now);
    assert_eq!(table.lookup(&fragment(7, 64), now), Err(FragmentMiss::Unknown));
}

#[test]
fn in_ipv6_the_transport_may_hide_behind_more_headers() {
    let now = Instant::now();
    let flow = flows(1, now)[0];
    let mut table = FragmentTable::new(64, [1, 2]);
    // First fragment: fragment header, destination options, UDP. Later: the fragment header names the options alone.
    let packet = with_extension_v6(&udp(true, (1, 2), &[0; 64]), 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    let first = with_extension_v6(&packet, 44, &[0, 0, 0, 1, 0, 0, 0, 5]);
    let later = with_extension_v6(&packet, 44, &[0, 0, 0, 0x80, 0, 0, 0, 5]);
    table.insert(&Headers::parse(&first).unwrap(), flow, now);
    assert_eq!(table.lookup(&Headers::parse(&later).unwrap(), now), Ok(flow));
}

#[test]
fn a_flood_of_first_fragments_stays_within_bounds_and_the_newest_win() {
    let now = Instant::now();
    let flow = flows(1, now)[0];
    let mut table = FragmentTable::new(64, [1, 2]);
    for id in 0..10_000 {
        let at = now + Duration::from_millis(id.into());
        table.insert(&fragment(id, 0), flow, at);
        assert_eq!(table.lookup(&fragment(id, 64), at), Ok(flow));
    }
    let end = now + Duration::from_secs(10);
    let alive = (0..10_000).filter(|&id| table.lookup(&fragment(id, 64), end).is_ok()).count();
    assert_eq!(alive, 64);
}
