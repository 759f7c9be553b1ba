//! Tests against the kernel: over the loopback interface, and between two namespaces.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    testing::namespaces,
    wait::{Bell, Interest, wait},
};
use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};
use vestibule_engine::packet::Ecn;

fn udp(bind: &str) -> Udp {
    Udp::bind(&UdpConfig::new(bind.parse().unwrap())).unwrap()
}

/// Everything that arrives until `count` datagrams are there: (bytes, merged into how many, source).
fn receive(socket: &mut Udp, count: usize) -> (Vec<Vec<u8>>, u64, Option<SocketAddr>) {
    let (mut all, mut merged, mut from) = (Vec::new(), 0, None);
    let end = Instant::now() + Duration::from_secs(5);
    let bell = Bell::new().unwrap();
    while all.len() < count && Instant::now() < end {
        let interest = Interest { socket: socket.handle(), readable: true, ..Interest::default() };
        wait(&bell, &interest, Some(Duration::from_millis(100))).unwrap();
        let mut batch = socket.receive().unwrap();
        while let Some(datagram) = batch.next_datagram() {
            merged += u64::from(datagram.bytes.len() > datagram.stride);
            from = Some(datagram.source);
            all.extend(datagram.bytes.chunks(datagram.stride).map(<[u8]>::to_vec));
        }
    }
    (all, merged, from)
}

fn queue(to: SocketAddr, datagrams: &[Vec<u8>]) -> TransmitQueue {
    let mut queue = TransmitQueue::new();
    for datagram in datagrams {
        queue.push(to, datagram);
    }
    queue
}

/// Full-sized datagrams with a shorter one now and then, all different.
fn mixed(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![(n % 251) as u8; if n % 37 == 36 { 90 + n % 50 } else { 1400 }]).collect()
}

#[test]
fn batches_arrive_whole_in_order_and_merged_by_gro() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let sent = mixed(1000);
    let mut queue = queue(two.local_addr().unwrap(), &sent);
    let report = one.send(&mut queue).unwrap();
    assert_eq!((report.sent, report.dropped(), report.blocked), (1000, 0, false), "{report:?}");
    assert!(queue.is_empty());
    assert!(report.calls < 20, "1000 datagrams took {} calls", report.calls);
    let (received, merged, from) = receive(&mut two, 1000);
    assert!(received == sent, "{} of 1000 arrived", received.len());
    assert_eq!(from, Some(one.local_addr().unwrap()));
    if report.segmented == 0 {
        assert!(merged > 20, "GRO merged {merged} batches");
    }
}

#[test]
fn gso_and_gro_work_between_two_hosts() {
    let Some([left, right]) = namespaces() else { return };
    left.wire(&right);
    left.run(|| crate::netcfg::linux_testing::add_address("wire", "10.8.0.1/24"));
    right.run(|| crate::netcfg::linux_testing::add_address("wire", "10.8.0.2/24"));
    let mut one = left.run(|| udp("10.8.0.1:0"));
    let mut two = right.run(|| udp("[::]:0"));
    let to = SocketAddr::from(([10, 8, 0, 2], two.local_addr().unwrap().port()));
    // While the neighbour is being resolved the kernel keeps few packets.
    one.send(&mut queue(to, &[b"hello".to_vec()])).unwrap();
    assert_eq!(receive(&mut two, 1).0.len(), 1);
    let sent = mixed(500);
    let report = one.send(&mut queue(to, &sent)).unwrap();
    let (received, merged, from) = receive(&mut two, 500);
    assert!(received == sent, "{} of 500 arrived; {report:?}", received.len());
    assert!(merged > 5 && report.segmented == 0, "{merged} merged; {report:?}");
    assert_eq!(from, Some(one.local_addr().unwrap()), "an IPv4 peer reads back as IPv4");
}

#[test]
fn one_socket_serves_both_families() {
    let mut both = udp("[::]:0");
    let port = both.local_addr().unwrap().port();
    for (here, there) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(peer) = UdpSocket::bind(here) else {
            eprintln!("skipped a part: no address for {here}");
            continue;
        };
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        peer.send_to(b"ping", SocketAddr::new(there.parse().unwrap(), port)).unwrap();
        let (received, _, from) = receive(&mut both, 1);
        assert_eq!((received, from), (vec![b"ping".to_vec()], Some(peer.local_addr().unwrap())));
        let answered = both.send(&mut queue(from.unwrap(), &[b"pong".to_vec()])).unwrap();
        assert_eq!(answered.sent, 1);
        let mut buffer = [0; 9];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
    }
}

/// Datagrams of every ECN field arrive with it, in batches and alone, and what GRO merges has one field.
#[test]
fn the_ecn_field_travels_both_ways_in_both_families() {
    let mut both = udp("[::]:0");
    let port = both.local_addr().unwrap().port();
    for (family, here) in [("IPv4 on an IPv6 socket", "127.0.0.1:0"), ("IPv6", "[::1]:0"), ("IPv4", "127.0.0.1:0")] {
        if here.starts_with('[') && UdpSocket::bind(here).is_err() {
            eprintln!("skipped a part: no address for {here}");
            continue;
        }
        let mut peer = udp(here);
        let (at_peer, mut other) = (peer.local_addr().unwrap(), udp("127.0.0.1:0"));
        let sender = if family == "IPv4" { &mut other } else { &mut both };
        for gso in [true, false] {
            sender.gso = gso;
            let mut queue = TransmitQueue::new();
            let mut sent = Vec::new();
            for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ce, Ecn::Ect1, Ecn::NotEct] {
                for count in [7, 1] {
                    let len = 300 + count;
                    queue.reserve(at_peer, ecn, len, count).fill(ecn.bits());
                    sent.extend(vec![(ecn, vec![ecn.bits(); len]); count]);
                }
            }
            assert_eq!(sender.send(&mut queue).unwrap().sent, 40, "{family}");
            assert!(receive_marked(&mut peer, 40) == sent, "{family}, GSO {gso}");
        }
        // And the way back, which a mapped address takes on the socket of both families.
        let to = SocketAddr::new(here.parse::<SocketAddr>().unwrap().ip(), port);
        let mut queue = TransmitQueue::new();
        queue.reserve(to, Ecn::Ce, 100, 3).fill(1);
        peer.send(&mut queue).unwrap();
        assert!(receive_marked(&mut both, 3) == vec![(Ecn::Ce, vec![1; 100]); 3], "{family}, back");
    }
}

fn receive_marked(socket: &mut Udp, count: usize) -> Vec<(Ecn, Vec<u8>)> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while all.len() < count && Instant::now() < end {
        let mut batch = socket.receive().unwrap();
        while let Some(datagram) = batch.next_datagram() {
            all.extend(datagram.bytes.chunks(datagram.stride).map(|bytes| (datagram.ecn, bytes.to_vec())));
        }
    }
    all
}

#[test]
fn refused_segmentation_falls_back_to_single_datagrams_in_order() {
    // A loopback MTU smaller than the segments: GSO refuses them, fragmentation does not.
    let Some([here]) = namespaces() else { return };
    let (report, received, sent, gso) = here.run(|| {
        crate::netcfg::linux_testing::set_mtu("lo", 1000);
        let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        let sent: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 1400]).collect();
        let report = one.send(&mut queue(two.local_addr().unwrap(), &sent)).unwrap();
        (report, receive(&mut two, 40).0, sent, one.gso)
    });
    assert_eq!((report.sent, report.segmented, report.dropped()), (40, 1, 0), "{report:?}");
    assert!(received == sent, "{} of 40 arrived", received.len());
    assert!(gso, "one path's MTU does not end segmentation for all");
}

/// What must arrive whole is not fragmented, what need not is, and what the one costs is not the other's.
#[test]
fn only_what_may_be_is_fragmented() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        crate::netcfg::linux_testing::set_mtu("lo", 1300);
        for bind in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let (mut one, mut two) = (udp(bind), udp(bind));
            let port = two.local_addr().unwrap().port();
            let host = if bind == "[::1]:0" { "::1" } else { "127.0.0.1" };
            let to = SocketAddr::new(host.parse().unwrap(), port);
            let mut queue = TransmitQueue::new();
            let mut expected = Vec::new();
            for round in 0..3 {
                // Too long, as a batch and alone, and a batch whose last fits.
                for (len, count, last) in [(1400, 40, 1400), (1400, 1, 1400), (1300, 20, 90), (1100, 20, 1100)] {
                    let mut bytes = vec![round; len * (count - 1)];
                    bytes.resize(len * (count - 1) + last, round);
                    expected.extend(bytes.chunks(len).filter(|datagram| datagram.len() <= 1200).map(<[u8]>::to_vec));
                    queue.push_ready(to, Ecn::NotEct, len, bytes);
                }
                for _ in 0..20 {
                    queue.push(to, &[100 + round; 1400]);
                    expected.push(vec![100 + round; 1400]);
                }
            }
            let report = one.send(&mut queue).unwrap();
            assert_eq!(report.too_large, 3 * (40 + 1 + 19), "{bind}: {report:?}");
            assert_eq!(
                (report.sent, report.dropped()),
                (expected.len() as u64, report.too_large),
                "{bind}: {report:?}"
            );
            let (received, ..) = receive(&mut two, expected.len());
            assert!(received == expected, "{bind}: {} of {} arrived", received.len(), expected.len());
            assert!(one.gso, "{bind}: one path's MTU does not end segmentation for all");
            assert!(report.calls < 3 * 50, "{bind}: what does not fit is not tried again and again: {report:?}");
        }
    });
}

#[test]
fn a_full_socket_keeps_the_rest_of_the_queue_in_order() {
    fill_up(true);
}

#[test]
fn a_full_socket_that_sends_one_by_one_continues_inside_a_batch() {
    fill_up(false);
}

fn fill_up(gso: bool) {
    // Packets wait for an address that is not there yet, and fill the send buffer meanwhile.
    let Some([left, right]) = namespaces() else { return };
    left.wire(&right);
    let mut two = right.run(|| udp("[::]:0"));
    let to = SocketAddr::from(([10, 8, 0, 77], two.local_addr().unwrap().port()));
    let sent = mixed(200);
    let mut one = left.run(|| {
        crate::netcfg::linux_testing::add_address("wire", "10.8.0.1/24");
        Udp::bind(&UdpConfig { send_buffer: 20_000, ..UdpConfig::new("10.8.0.1:0".parse().unwrap()) }).unwrap()
    });
    one.gso = gso;
    let mut queue = queue(to, &sent);
    let whole = queue.len();
    let report = one.send(&mut queue).unwrap();
    assert_eq!(one.progress > 0, !gso, "{report:?}");
    assert!(report.blocked && report.dropped() == 0, "{report:?}");
    assert!(!queue.is_empty() && queue.len() <= whole);
    right.run(|| crate::netcfg::linux_testing::add_address("wire", "10.8.0.77/24"));
    let bell = Bell::new().unwrap();
    let mut times = 0;
    while !queue.is_empty() && times < 500 {
        let interest = Interest { socket: one.handle(), writable: true, ..Interest::default() };
        let ready = wait(&bell, &interest, Some(Duration::from_secs(5))).unwrap();
        assert!(ready.writable, "the socket never had room again");
        assert_eq!(one.send(&mut queue).unwrap().dropped(), 0);
        times += 1;
    }
    let received = receive(&mut two, 200).0;
    assert!(received == sent, "{} of 200 arrived", received.len());
}

#[test]
fn unreachable_and_refused_destinations_are_counted_and_end_nothing() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let (mut one, mut two) = (udp("0.0.0.0:0"), udp("127.0.0.1:0"));
        let mut queue = queue("192.0.2.1:9".parse().unwrap(), &mixed(10));
        queue.push("127.0.0.1:9".parse().unwrap(), b"nobody listens");
        queue.push(two.local_addr().unwrap(), b"still alive");
        let report = one.send(&mut queue).unwrap();
        assert_eq!((report.unreachable, report.sent), (10, 2), "{report:?}");
        assert_eq!(receive(&mut two, 1).0, [b"still alive".to_vec()]);
        // What ICMP said about port 9 is no end either.
        let _ = one.receive().unwrap();
    });
}

#[test]
fn losses_for_want_of_room_are_counted() {
    let mut one = udp("127.0.0.1:0");
    let config = UdpConfig { receive_buffer: 20_000, ..UdpConfig::new("127.0.0.1:0".parse().unwrap()) };
    let mut two = Udp::bind(&config).unwrap();
    let to = two.local_addr().unwrap();
    for _ in 0..10 {
        one.send(&mut queue(to, &mixed(100))).unwrap();
    }
    let mut received = receive(&mut two, 1).0.len();
    // The counter travels with the next datagram that arrives.
    one.send(&mut queue(to, &[vec![1; 10]])).unwrap();
    let _ = received;
    received = receive(&mut two, 1).0.len();
    assert!(received > 0 && two.overflowed > 0, "{received} received, {} overflowed", two.overflowed);
}

#[test]
fn rebinding_takes_another_port_and_keeps_the_mark() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let mut socket = Udp::bind(&UdpConfig::device(0x5642)).unwrap();
        let before = socket.local_addr().unwrap();
        socket.rebind().unwrap();
        let after = socket.local_addr().unwrap();
        assert_ne!(before.port(), after.port());
        let mark = nix::sys::socket::getsockopt(&socket.socket, nix::sys::socket::sockopt::Mark).unwrap();
        assert_eq!(mark, 0x5642);
    });
}
