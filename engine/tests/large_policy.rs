//! A policy of 100,000 rules is compiled beside the packets and published between two of them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule};

const FLOWS: u16 = 4000;

/// 100,000 rules over 10,000 lists: all but the last are about other networks, the last refuses one port.
fn large() -> Vec<Rule> {
    let lists: Vec<Arc<AddressSet>> = (0..10_000_u32)
        .map(|list| {
            let prefix = |host: u32| format!("{}/32", std::net::Ipv4Addr::from(0xac10_0000 + list * 40 + host));
            Arc::new(AddressSet::new((0..30).map(|host| prefix(host).parse().unwrap())))
        })
        .collect();
    let clause = |id: u32| Clause {
        destinations: Some(Arc::clone(&lists[id as usize % lists.len()])),
        destination_ports: vec![(id % 60_000) as u16..=(id % 60_000) as u16],
        ..Clause::default()
    };
    let mut rules: Vec<Rule> =
        (0..99_999).map(|id| Rule { id, action: Action::Block, any: vec![clause(id)] }).collect();
    let refused = Clause { destination_ports: vec![81..=81], ..Clause::default() };
    rules.push(Rule { id: 100_000, action: Action::Block, any: vec![refused] });
    rules
}

#[test]
fn a_large_policy_published_under_load_loses_nothing() {
    let mut world = World::new();
    let id = world.swap(false);
    world.send_up(tcp(DEVICE, INTRANET, (4000, 81), 2, 100, 0, &[]));
    world.settle();
    world.at_gateway.clear();
    let (send, compiled) = mpsc::channel();
    std::thread::spawn(move || send.send(Arc::new(Policy::compile(large(), Action::Allow))));

    let (mut sent, mut rounds_after, mut longest) = (0_u32, None, Duration::ZERO);
    while rounds_after.is_none_or(|rounds| rounds < 100) {
        if rounds_after.is_none()
            && let Ok(policy) = compiled.try_recv()
        {
            let begun = Instant::now();
            let former = world.gateway.publish(AT, id, policy, world.now);
            longest = longest.max(begun.elapsed());
            assert!(former.is_some(), "the former rules come back to be dropped elsewhere");
            rounds_after = Some(0);
        }
        for _ in 0..100 {
            let port = 5000 + (sent % u32::from(FLOWS)) as u16;
            let begun = Instant::now();
            world.send_up(udp(DEVICE, INTRANET, (port, 9), &sent.to_be_bytes()));
            world.send_down(udp(INTRANET, DEVICE, (9, port), &sent.to_be_bytes()));
            world.settle();
            longest = longest.max(begun.elapsed());
            sent += 1;
        }
        world.now += Duration::from_millis(2);
        let begun = Instant::now();
        world.gateway.handle_deadline(world.now);
        longest = longest.max(begun.elapsed());
        world.device.handle_deadline(world.now);
        rounds_after = rounds_after.map(|rounds| rounds + 1);
    }
    world.settle();
    println!("{sent} packets each way, longest stop {longest:?}");
    let (resets, up): (Vec<_>, Vec<_>) = world.at_gateway.into_iter().partition(|packet| is_rst(packet));
    assert!(!resets.is_empty(), "the new rules are in force");
    let numbers = |packets: &[Vec<u8>]| -> Vec<u32> {
        let payloads = packets.iter().filter(|packet| packet[9] == 17);
        payloads.map(|packet| u32::from_be_bytes(packet[28..32].try_into().unwrap())).collect()
    };
    assert_eq!(numbers(&up), (0..sent).collect::<Vec<_>>());
    assert_eq!(numbers(&world.at_device), (0..sent).collect::<Vec<_>>());
    assert!(longest < Duration::from_millis(500), "no packet waits for a policy: {longest:?}");
}
