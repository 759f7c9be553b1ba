//! Floods, and peers that take nothing: whatever comes is counted, what is held has a limit, and others do not notice.
//!
//! What the gateway holds is counted by the allocator itself, beyond what it held with one idle device.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;
mod hostile;

use bytes::BytesMut;
use ends::world::{DIRECTORY, address, identity, udp};
use hostile::h3;
use hostile::raw::{Raw, transport};
use hostile::world::World;
use quinn_proto::VarInt;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use vestibule_engine::core::DropReason;

#[global_allocator]
static ALLOCATOR: vestibule_counting::Counting = vestibule_counting::Counting;

const KIB: isize = 1 << 10;
const MIB: isize = 1 << 20;

fn world() -> World {
    World::new(vestibule_counting::held)
}

/// Steele's and Vigna's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes()).take(len.div_ceil(8));
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(len);
        bytes
    }
}

/// The `number`th address of a network for tests of equipment.
fn somewhere(number: usize) -> SocketAddr {
    SocketAddr::from(([198, 18, (number >> 8) as u8, number as u8], 1024 + (number >> 16) as u16))
}

#[test]
fn a_hundred_thousand_datagrams_that_are_no_quic() {
    const COUNT: usize = 100_000;
    let mut world = world();
    let counters = world.gateway.counters();
    let (before, dropped) = (world.held, counters.drops(DropReason::UnknownConnection));
    let mut random = Random(1);
    let mut given = 0;
    for batch in 0..COUNT / 100 {
        let datagrams: Vec<_> = (0..100)
            .map(|n| {
                let len = if n % 20 == 0 {
                    1200 + (random.next() % 200) as usize
                } else {
                    1 + (random.next() % 200) as usize
                };
                let mut bytes = random.bytes(len);
                bytes[0] |= 0x40;
                if n % 40 == 0 && len > 5 {
                    // A long header of this version: what it begins is decrypted, and found to be nothing.
                    bytes[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
                }
                given += len;
                (somewhere(batch * 100 + n), bytes)
            })
            .collect();
        world.flood(datagrams);
        world.settle();
    }
    assert_eq!(counters.drops(DropReason::UnknownConnection) - dropped, COUNT as u64);
    let answered: usize = world.unheard.iter().map(|(_, len)| len).sum();
    assert!(answered < given / 4, "{answered} bytes answer {given}");
    println!("held {} KiB, at most {} KiB", (world.held - before) / KIB, (world.most_held - before) / KIB);
    assert!(world.most_held - before < MIB, "{}", world.most_held - before);
    world.undisturbed();
}

/// The first datagrams of a client's connection, and the client.
fn first(world: &World, number: usize) -> (Raw, VecDeque<Vec<u8>>) {
    let at = somewhere(number);
    let mut raw = Raw::connect((at, address(1)), world.tls(None), transport(), world.now);
    let datagrams = raw.transmit(world.now);
    (raw, datagrams)
}

#[test]
fn ten_thousand_half_open_connections_from_addresses_that_are_not_theirs() {
    const COUNT: usize = 10_000;
    let mut world = world();
    let counters = world.gateway.counters();
    let before = world.held;
    let mut given = 0;
    for number in 0..COUNT {
        let (_, datagrams) = first(&world, number);
        given += datagrams.iter().map(Vec::len).sum::<usize>();
        world.flood(datagrams.into_iter().map(|bytes| (somewhere(number), bytes)));
        world.settle();
        if number % 2500 == 0 {
            world.undisturbed();
        }
    }
    let refused = counters.drops(DropReason::TooManyHandshakes);
    assert!(refused >= COUNT as u64 - 256, "{refused} were told to prove their address");
    let answered: usize = world.unheard.iter().map(|(_, len)| len).sum();
    assert!(answered < 3 * given, "{answered} bytes answer {given}");
    let each = (world.held - before) / 256;
    println!("256 half-open connections hold {} KiB, {each} bytes each", (world.held - before) / KIB);
    assert!(world.most_held - before < 256 * 64 * KIB, "{each} bytes each");
    // Whoever hears the answer gets in.
    world.add_device();
    world.undisturbed();
    let with_device = world.held;
    world.pass(Duration::from_secs(20));
    assert_eq!(counters.connections_unused.get(), 256);
    world.undisturbed();
    println!("later {} KiB", (world.held - before) / KIB);
    assert!(world.held - before < 512 * KIB, "{} of {}", world.held - before, with_device - before);
}

#[test]
fn ten_thousand_half_open_connections_from_addresses_of_their_own() {
    const COUNT: usize = 10_000;
    const MOST: u64 = 1024;
    let mut world = world();
    let counters = world.gateway.counters();
    let before = world.held;
    for number in 0..COUNT {
        let (mut raw, datagrams) = first(&world, number);
        world.flood(datagrams.into_iter().map(|bytes| (raw.address, bytes)));
        // Answers its Retry, if there is one, and then nothing more.
        for (to, bytes) in world.sent_by_gateway() {
            assert_eq!(to, raw.address);
            raw.receive(address(1), &bytes, world.now);
        }
        if number >= 256 {
            let proof = raw.transmit(world.now);
            world.flood(proof.into_iter().map(|bytes| (raw.address, bytes)));
        }
        world.settle();
        if number % 2500 == 0 {
            world.undisturbed();
        }
    }
    let each = (world.held - before) / MOST as isize;
    println!("{MOST} half-open connections hold {} KiB, {each} bytes each", (world.held - before) / KIB);
    assert!(world.most_held - before < MOST as isize * 64 * KIB, "{each} bytes each");
    assert!(counters.drops(DropReason::TooManyHandshakes) >= COUNT as u64 - MOST);
    world.undisturbed();
    world.pass(Duration::from_secs(20));
    assert_eq!(counters.connections_unused.get(), MOST);
    world.add_device();
    world.undisturbed();
    println!("later {} KiB", (world.held - before) / KIB);
    // Tables keep the size they have had.
    assert!(world.held - before < 2 * MIB, "{}", world.held - before);
}

#[test]
fn one_address_holds_no_more_connections_than_its_share() {
    let mut world = world();
    let counters = world.gateway.counters();
    let before = world.held;
    let tls = world.tls(Some(identity("nobody")));
    let mut open = 0;
    for port in 0..600 {
        let at = world.connect(SocketAddr::from(([203, 0, 113, 9], 2000 + port)), tls.clone(), transport());
        let raw = world.raws.remove(&at).unwrap();
        open += u64::from(raw.connected && raw.lost.is_none());
    }
    // Those of the first 256 that had proved nothing when they began are nobody's share.
    assert_eq!(open, 512);
    assert!(counters.drops(DropReason::TooManyHandshakes) >= 344 + 88);
    world.undisturbed();
    let each = (world.held - before) / open as isize;
    println!("{open} connections without a tunnel hold {} KiB, {each} bytes each", (world.held - before) / KIB);
    assert!(world.most_held - before < open as isize * 64 * KIB, "{each} bytes each");
    world.pass(Duration::from_secs(20));
    assert_eq!(counters.connections_unused.get(), open);
    assert!(world.held - before < MIB, "{}", world.held - before);
}

#[test]
fn a_client_that_connects_without_end_has_one_tunnel() {
    let mut world = world();
    let at = world.raw();
    let tls = world.tls_of.clone().unwrap();
    let mut before = 0;
    for number in 0..200 {
        let at = world.connect(SocketAddr::from((at.ip(), 3000 + number)), tls.clone(), transport());
        let (_, stream) = world.tunnel_of(at);
        assert!(!world.at(at).read[&stream].is_empty(), "each is accepted");
        world.raws.retain(|other, _| *other == at);
        if number == 20 {
            before = world.held;
        }
    }
    world.undisturbed();
    // Each was closed for the next one; a closed connection is forgotten after a few round trips.
    world.pass(Duration::from_secs(5));
    println!("held {} KiB more", (world.held - before) / KIB);
    assert!(world.held < before, "{} bytes more", world.held - before);
    world.undisturbed();
}

#[test]
fn a_client_that_asks_for_tunnels_without_end_is_cut_off() {
    let mut world = world();
    let before = world.held;
    let at = world.raw();
    let mut asked = 0;
    while world.at(at).lost.is_none() {
        let (_, stream) = world.tunnel_of(at);
        world.at(at).finish(stream);
        world.settle();
        asked += 1;
        assert!(asked < 100, "it goes on and on");
        world.undisturbed();
    }
    assert_eq!(world.at(at).closed_with(), Some(h3::EXCESSIVE_LOAD));
    assert!(asked > 50, "{asked} tunnels");
    assert_eq!(world.gateway.counters().peers_excessive.get(), 1);
    world.pass(Duration::from_secs(5));
    assert!(world.held - before < 128 * KIB, "{}", world.held - before);
}

#[test]
fn a_flood_of_capsules_is_cut_off() {
    let mut world = world();
    let (at, stream) = world.tunnel();
    let before = world.held;
    // Empty ADDRESS_ASSIGNs, two bytes each: the cheapest there are.
    world.at(at).capsules(stream, &[1, 0].repeat(5000));
    world.settle();
    assert_eq!(world.at(at).resets.get(&stream), Some(&h3::EXCESSIVE_LOAD));
    assert_eq!(world.gateway.counters().peers_excessive.get(), 1);
    println!("held {} KiB, at most {} KiB", (world.held - before) / KIB, (world.most_held - before) / KIB);
    assert!(world.most_held - before < MIB);
    world.undisturbed();
}

#[test]
fn packets_in_capsules_are_no_more_than_a_window() {
    let mut world = world();
    let (at, stream) = world.tunnel();
    let before = world.held;
    // Empty DATAGRAM capsules, as many as the window takes; each may become a packet.
    let frame = h3::data(&[0, 0].repeat(1 << 17));
    let mut sent = 0;
    while sent < frame.len() {
        let taken = world.at(at).write(stream, &frame[sent..]);
        world.settle();
        sent += taken;
        if taken == 0 {
            world.pass(Duration::from_millis(100));
        }
    }
    let counters = world.gateway.counters();
    let counted = counters.drops(DropReason::UnknownContext) + counters.drops(DropReason::QueueFull);
    assert_eq!(counted, 1 << 17, "each is counted");
    println!("held {} KiB, at most {} KiB", (world.held - before) / KIB, (world.most_held - before) / KIB);
    assert!(world.most_held - before < 16 * MIB, "{}", world.most_held - before);
    world.undisturbed();
}

#[test]
fn a_peer_that_never_acknowledges_is_given_up() {
    const COUNT: usize = 100_000;
    let mut world = world();
    let (at, stream) = world.tunnel();
    let inner = world.inner;
    // The first packet commits.
    let first = udp(inner, DIRECTORY, (5000, 53), b"first");
    world.at(at).datagram(&[&[(stream / 4) as u8, 0][..], &first].concat());
    world.settle();
    let counters = world.gateway.counters();
    let (before, sealed) = (world.held, counters.sealed.get());
    world.at(at).deaf = true;
    for batch in 0..COUNT / 50 {
        world.send_down((0..50).map(|n| udp(DIRECTORY, inner, (53, 5000), &[n; 1200])).collect());
        world.settle();
        if batch % 500 == 0 {
            world.undisturbed();
        }
    }
    let sealed = counters.sealed.get() - sealed - 10 * 4;
    assert_eq!(sealed + counters.drops(DropReason::QueueFull), COUNT as u64, "each is counted");
    println!(
        "held {} KiB, at most {} KiB, {sealed} sealed",
        (world.held - before) / KIB,
        (world.most_held - before) / KIB
    );
    assert!(world.most_held - before < 24 * MIB, "{}", world.most_held - before);
    world.raws.remove(&at);
    world.pass(Duration::from_secs(60));
    assert!(world.held - before < 256 * KIB, "{}", world.held - before);
    world.send_down(vec![udp(DIRECTORY, inner, (53, 5000), b"gone")]);
    assert_eq!(counters.drops(DropReason::NoSession), 1);
    world.undisturbed();
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let mut world = world();
    let mut closed = transport();
    closed.stream_receive_window(VarInt::from_u32(64)).receive_window(VarInt::from_u32(64));
    let at = world.raw_with(closed);
    world.at(at).reads = false;
    let (_, stream) = world.tunnel_of(at);
    let before = world.held;
    // Each request wants an answer, which has no room in its window.
    let mut id = 0_u64;
    let mut asked = 0;
    while world.gateway.counters().peers_malformed.get() + world.gateway.counters().peers_excessive.get() == 0 {
        let entries: Vec<u8> = (0..50)
            .flat_map(|_| {
                id += 1;
                [&h3::varint(id)[..], &[4, 0, 0, 0, 0, 32]].concat()
            })
            .collect();
        let capsule = [&h3::varint(2)[..], &h3::varint(entries.len() as u64), &entries].concat();
        world.at(at).capsules(stream, &capsule);
        world.settle();
        asked += 1;
        assert!(asked < 200, "it goes on and on");
    }
    println!("held {} KiB, at most {} KiB", (world.held - before) / KIB, (world.most_held - before) / KIB);
    assert!(world.most_held - before < 2 * MIB, "{}", world.most_held - before);
    world.undisturbed();
    world.pass(Duration::from_secs(20));
    assert!(world.held - before < 256 * KIB, "{}", world.held - before);
}

/// Streams whose beginning never comes: what is kept of the rest must not keep the memory around it.
#[test]
fn pieces_of_streams_hold_little() {
    let mut world = world();
    let (at, _) = world.tunnel();
    let before = world.held;
    let now = world.now;
    world.at(at).deaf = true;
    let mut random = Random(2);
    for _ in 0..3 {
        // The first byte is lost.
        let stream = world.at(at).uni(&[0x21]);
        world.at(at).transmit(now);
        for _ in 0..40 {
            assert_eq!(world.at(at).write(stream, &[7]), 1);
            let datagrams = world.at(at).transmit(now);
            world.flood(datagrams.into_iter().map(|bytes| (at, bytes)));
            // Others fill the memory in between.
            world.flood((0..200).map(|n| (somewhere(n), [&[0x40][..], &random.bytes(1300)].concat())));
            world.settle();
        }
    }
    println!("held {} KiB", (world.held - before) / KIB);
    assert!(world.held - before < 4 * MIB, "{}", world.held - before);
    world.undisturbed();
}

#[test]
fn an_idle_tunnel_costs_little() {
    const TUNNELS: isize = 1000;
    let mut world = world();
    let before = world.held;
    for number in 0..TUNNELS {
        if number == TUNNELS / 2 {
            // Those before have done all that connections do at first.
            world.pass(Duration::from_secs(1));
        }
        world.add_device();
        // A packet both ways.
        world.devices.drain(..1);
        world.undisturbed();
    }
    let each = (world.held - before) / TUNNELS;
    println!("{each} bytes per idle tunnel");
    assert!(each <= 32 * KIB, "{each} bytes per idle tunnel");
}

/// A datagram may be a client's that the gateway has long forgotten, or an echo of its own.
#[test]
fn what_the_gateway_sends_does_not_trouble_it() {
    let mut world = world();
    let (raw, datagrams) = first(&world, 7);
    world.flood(datagrams.into_iter().map(|bytes| (raw.address, bytes)));
    let mut echoes = Vec::new();
    for _ in 0..50 {
        let down = world.sent_by_gateway();
        if down.is_empty() {
            break;
        }
        echoes.push(down.len());
        world.flood(down.into_iter().map(|(to, bytes)| (to, BytesMut::from(&bytes[..]).to_vec())));
    }
    assert!(echoes.len() < 5, "{echoes:?}");
    world.undisturbed();
}
