#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "a wait for one event")]
use super::*;
use std::{
    os::windows::io::AsRawHandle,
    time::{Duration, Instant},
};
use vestibule_engine::packet::Ecn;
use windows_sys::Win32::{
    Foundation::WAIT_OBJECT_0,
    Networking::WinSock::{
        IP_DONTFRAGMENT, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IPPROTO_IP, WSAEFAULT, WSAEINVAL, WSAEMSGSIZE,
        WSAENETUNREACH, WSAENOTSOCK, WSAEWOULDBLOCK,
    },
    System::Threading::WaitForSingleObject,
};

fn udp(address: &str) -> Udp {
    Udp::bind(&UdpConfig::new(address.parse().unwrap())).unwrap()
}

fn receive(socket: &mut Udp, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while all.len() < count && Instant::now() < end {
        let mut batch = socket.receive().unwrap();
        while let Some(datagram) = batch.next_datagram() {
            all.extend(datagram.bytes.chunks(datagram.stride).map(<[u8]>::to_vec));
        }
    }
    all
}

fn queue(to: SocketAddr, datagrams: &[Vec<u8>]) -> TransmitQueue {
    let mut queue = TransmitQueue::new();
    for datagram in datagrams {
        queue.push(to, datagram);
    }
    queue
}

fn mixed(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n as u8; if n % 7 == 6 { 90 } else { 1200 }]).collect()
}

/// With segmentation as the system has it, and without.
fn pairs() -> Vec<(Udp, Udp)> {
    let mut plain = udp("127.0.0.1:0");
    plain.abilities.segmentation = false;
    vec![(udp("127.0.0.1:0"), udp("127.0.0.1:0")), (plain, udp("127.0.0.1:0"))]
}

#[test]
fn batches_arrive_whole_and_in_order() {
    for (mut one, mut two) in pairs() {
        let sent = mixed(40);
        let mut queue = queue(two.local_addr().unwrap(), &sent);
        let report = one.send(&mut queue).unwrap();
        assert_eq!((report.sent, report.dropped(), report.blocked), (40, 0, false), "{report:?}");
        assert!(queue.is_empty());
        assert_eq!(receive(&mut two, 40), sent);
    }
}

#[test]
fn one_socket_serves_both_families_or_ipv4_alone() {
    let mut both = udp("[::]:0");
    let port = both.local_addr().unwrap().port();
    let mut peers = vec![("127.0.0.1:0", "127.0.0.1")];
    if both.abilities.mapped {
        peers.push(("[::1]:0", "::1"));
    }
    for (address, ip) in peers {
        let mut peer = udp(address);
        let at_peer = peer.local_addr().unwrap();
        both.send(&mut queue(at_peer, &[vec![1; 10]])).unwrap();
        assert_eq!(receive(&mut peer, 1), [vec![1; 10]], "to {ip}");
        let back = SocketAddr::new(ip.parse().unwrap(), port);
        peer.send(&mut queue(back, &[vec![2; 20]])).unwrap();
        let mut source = None;
        let end = Instant::now() + Duration::from_secs(20);
        while source.is_none() && Instant::now() < end {
            source = both.receive().unwrap().next_datagram().map(|datagram| datagram.source);
        }
        assert_eq!(source, Some(at_peer), "a mapped address is told as IPv4");
    }
}

#[test]
fn the_event_is_set_for_input_and_once() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let ready = |socket: &Udp, patience: Duration| {
        let event = socket.handle().unwrap().as_raw_handle();
        // SAFETY: the event is open as long as the socket is borrowed.
        (unsafe { WaitForSingleObject(event, patience.as_millis() as u32) }) == WAIT_OBJECT_0
    };
    // A new socket has room, which the event may tell.
    ready(&two, Duration::ZERO);
    assert!(receive_none(&mut two));
    for round in 0..3 {
        one.send(&mut queue(two.local_addr().unwrap(), &mixed(20))).unwrap();
        assert!(ready(&two, Duration::from_secs(20)), "round {round}");
        assert_eq!(receive(&mut two, 20).len(), 20);
        // What the event has been set for meanwhile are a few looks more, not looks for ever.
        assert!(receive_none(&mut two));
        assert!((0..100).any(|_| !ready(&two, Duration::ZERO)), "round {round}");
    }
}

fn receive_none(socket: &mut Udp) -> bool {
    socket.receive().unwrap().next_datagram().is_none() && socket.receive_report().drained
}

#[test]
fn a_drained_socket_says_so_and_a_full_batch_does_not() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let all: Vec<Vec<u8>> = (0..BATCH as u8 + 3).map(|n| vec![n; 100 + usize::from(n)]).collect();
    one.send(&mut queue(two.local_addr().unwrap(), &all)).unwrap();
    assert_eq!(receive(&mut two, BATCH).len(), BATCH);
    assert!(!two.receive_report().drained);
    assert_eq!(receive(&mut two, 3).len(), 3);
    assert!(receive_none(&mut two));
}

#[test]
fn a_given_datagram_outlives_the_batch() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![7; 700]])).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let given = loop {
        let given = two.receive().unwrap().give_datagram(|bytes, stride| bytes.len() == 700 && stride == 700);
        if given.is_some() || Instant::now() > end {
            break given;
        }
    };
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![8; 700]])).unwrap();
    assert_eq!(receive(&mut two, 1), [vec![8; 700]]);
    assert!(given.unwrap().bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn rebinding_moves_to_another_port_and_the_socket_goes_on() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let before = two.local_addr().unwrap();
    two.rebind().unwrap();
    let after = two.local_addr().unwrap();
    assert_ne!(before.port(), after.port());
    one.send(&mut queue(after, &[vec![1; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1).len(), 1);
    // A port that is taken leaves the old socket as it is.
    let taken = one.local_addr().unwrap().port();
    assert!(two.rebind_to(taken).is_err());
    assert_eq!(two.local_addr().unwrap(), after);
    two.rebind_to(after.port()).unwrap();
    assert_eq!(two.local_addr().unwrap(), after);
}

#[test]
fn a_closed_port_disturbs_nothing() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let closed = udp("127.0.0.1:0").local_addr().unwrap();
    for _ in 0..3 {
        one.send(&mut queue(closed, &[vec![0; 10]])).unwrap();
        let _ = one.receive().unwrap().next_datagram();
    }
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![1; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1), [vec![1; 10]]);
    two.send(&mut queue(one.local_addr().unwrap(), &[vec![2; 10]])).unwrap();
    assert_eq!(receive(&mut one, 1), [vec![2; 10]]);
}

#[test]
fn datagrams_beyond_the_largest_are_counted_and_end_nothing() {
    // IPv6's limit is IPv4's and 20 bytes less: on IPv4 the largest batch is one datagram too many for nobody.
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let mut report = SendReport::default();
    assert!(one.failed(WSAEMSGSIZE, 3, &mut report).unwrap());
    assert!(one.failed(WSAENETUNREACH, 2, &mut report).unwrap());
    assert!(one.failed(10_055, 1, &mut report).unwrap());
    assert_eq!((report.too_large, report.unreachable, report.refused, report.dropped()), (3, 2, 1, 6));
    assert!(!one.failed(WSAEWOULDBLOCK, 9, &mut report).unwrap() && report.blocked);
    assert!(one.failed(WSAENOTSOCK, 1, &mut report).is_err());
    assert!(!one.stale);
    assert!(one.failed(WSAEINVAL, 1, &mut report).unwrap() && one.stale);
    assert!(one.failed(WSAEFAULT, 1, &mut report).unwrap(), "of one destination, not of the socket");
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![1; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1).len(), 1);
    assert!(!one.stale, "what is sent shows that the interface is there");
}

#[test]
fn destinations_of_another_family_are_out_of_reach_and_end_nothing() {
    let mut two = udp("127.0.0.1:0");
    let mut one = udp("127.0.0.1:0");
    let mut sockets = vec![("[2001:db8::1]:9", &mut one)];
    let mut v6 = Udp::bind(&UdpConfig::new("[::1]:0".parse().unwrap())).ok();
    if let Some(v6) = &mut v6 {
        sockets.push(("127.0.0.1:9", v6));
    }
    for (to, socket) in sockets {
        let report = socket.send(&mut queue(to.parse().unwrap(), &mixed(3))).unwrap();
        assert_eq!((report.unreachable, report.sent), (3, 0), "{to}");
        assert!(!socket.stale);
    }
    let SocketAddr::V4(to) = two.local_addr().unwrap() else { panic!("an IPv4 socket") };
    let mapped = SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port());
    one.send(&mut queue(mapped, &[vec![3; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1), [vec![3; 10]], "a mapped address is IPv4's");
}

/// A batch of ten with congestion marks.
fn marked(to: SocketAddr) -> TransmitQueue {
    let mut queue = TransmitQueue::new();
    assert!(queue.push_ready(to, Ecn::Ect0, 100, vec![7; 1000]));
    queue
}

#[test]
fn what_the_system_refuses_is_found_out_and_nothing_else_given_up() {
    // Marks alone, segments alone, both, and neither: a socket whose interface has gone refuses all.
    type System = fn(bool, bool) -> Result<(), sys::Code>;
    const REFUSED: Result<(), sys::Code> = Err(WSAEINVAL);
    let cases: [(System, bool, bool); 3] = [
        (|_, marked| if marked { REFUSED } else { Ok(()) }, true, false),
        (|segments, _| if segments { REFUSED } else { Ok(()) }, false, true),
        (|segments, marked| if segments || marked { REFUSED } else { Ok(()) }, false, false),
    ];
    for (number, (system, segmentation, ecn)) in cases.into_iter().enumerate() {
        let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        let to = two.local_addr().unwrap();
        (one.abilities.segmentation, one.abilities.ecn) = (true, true);
        one.system = Some(system);
        let report = one.send(&mut marked(to)).unwrap();
        assert_eq!((report.sent, report.dropped()), (10, 0), "case {number}");
        assert_eq!(receive(&mut two, 10).len(), 10);
        assert_eq!(one.abilities.ecn, ecn, "case {number}");
        if !segmentation {
            // What marks were in the way of shows the next batch.
            one.send(&mut marked(to)).unwrap();
            assert_eq!(receive(&mut two, 10).len(), 10);
        }
        assert_eq!(one.abilities.segmentation, segmentation, "case {number}");
    }
    let (mut one, two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    (one.abilities.segmentation, one.abilities.ecn) = (true, false);
    one.system = Some(|_, _| REFUSED);
    let report = one.send(&mut queue(two.local_addr().unwrap(), &[vec![1; 100], vec![2; 100]])).unwrap();
    assert_eq!((report.sent, report.refused, report.segmented), (0, 2, 1));
    assert!(one.abilities.segmentation && one.stale, "the interface is gone, not the ability");
}

#[test]
fn who_listens_comes_back_to_its_port_after_a_lost_interface() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let to = two.local_addr().unwrap();
    let port = udp("127.0.0.1:0").local_addr().unwrap().port();
    one.rebind_to(port).unwrap();
    one.stale = true;
    one.renew(false);
    assert_eq!((one.local_addr().unwrap().port(), one.stale), (port, false));
    // Somebody else is quicker: it serves at another port, and tries again after the next change.
    one.reopen(0).unwrap();
    let other = udp(&format!("127.0.0.1:{port}"));
    one.renew(false);
    assert_ne!(one.local_addr().unwrap().port(), port);
    one.send(&mut queue(to, &[vec![1; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1).len(), 1);
    drop(other);
    one.renew(false);
    assert_eq!(one.local_addr().unwrap().port(), port);
}

#[test]
fn silently_merged_datagrams_switch_coalescing_off_and_are_cut() {
    let (mut one, mut two) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    // As on a system that merges; the sender plays the driver.
    two.abilities.coalescing = true;
    let message = |counter: u8| {
        let mut bytes = vec![0x5a; 1400];
        bytes[..9].copy_from_slice(&[4, 0, 0, 0, 9, 9, 9, 9, counter]);
        bytes
    };
    let all: Vec<Vec<u8>> = (0..5).map(message).collect();
    one.send(&mut queue(two.local_addr().unwrap(), &[all.concat()])).unwrap();
    assert_eq!(receive(&mut two, 5), all);
    assert_eq!((two.merged_silently(), two.abilities().coalescing), (1, false));
    // A fresh socket does not offer it again.
    two.rebind().unwrap();
    assert!(!two.abilities().coalescing);
    one.send(&mut queue(two.local_addr().unwrap(), &[all.concat()])).unwrap();
    assert_eq!(receive(&mut two, 5), all);
    assert_eq!(two.merged_silently(), 2);
}

#[test]
fn a_marked_socket_reaches_the_loopback_as_any_other() {
    let mut one = Udp::bind(&UdpConfig::device(0x5642)).unwrap();
    let mut two = udp("127.0.0.1:0");
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![1; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1).len(), 1);
    one.set_mark(0).unwrap();
    one.send(&mut queue(two.local_addr().unwrap(), &[vec![2; 10]])).unwrap();
    assert_eq!(receive(&mut two, 1), [vec![2; 10]]);
}

/// The option is read back: which packets carry the flag only a network shows.
#[test]
fn each_batch_says_whether_it_may_be_fragmented() {
    let mut peer = udp("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    for bind in ["127.0.0.1:0", "[::]:0"] {
        let mut socket = udp(bind);
        for whole in [true, false, false, true] {
            let mut queue = TransmitQueue::new();
            if whole {
                assert!(queue.push_ready(to, Ecn::NotEct, 100, vec![7; 100]));
            } else {
                queue.push(to, &[7; 100]);
            }
            socket.send(&mut queue).unwrap();
            assert_eq!(receive(&mut peer, 1), [vec![7; 100]]);
            let set = match sys::option(&socket.socket, IPPROTO_IP, IP_MTU_DISCOVER) {
                Ok(state) => state == IP_PMTUDISC_PROBE.cast_unsigned(),
                Err(_) => sys::option(&socket.socket, IPPROTO_IP, IP_DONTFRAGMENT).unwrap() != 0,
            };
            assert_eq!(set, whole, "{bind}");
        }
        // Whatever the next socket begins with, its first batch says it again.
        socket.rebind().unwrap();
        assert_eq!(socket.whole, None);
    }
}

#[test]
fn after_a_sleep_a_device_has_a_fresh_socket_and_who_listens_keeps_the_port() {
    let mut peer = udp("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let (mut device, mut listening) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let free = udp("127.0.0.1:0").local_addr().unwrap().port();
    listening.rebind_to(free).unwrap();
    let former = device.local_addr().unwrap();
    for socket in [&mut device, &mut listening] {
        socket.send(&mut queue(to, &[vec![1; 10]])).unwrap();
    }
    assert_eq!((receive(&mut peer, 2).len(), device.local_addr().unwrap()), (2, former));
    crate::netcfg::woke();
    for socket in [&mut device, &mut listening] {
        socket.send(&mut queue(to, &[vec![2; 10]])).unwrap();
    }
    assert_eq!(receive(&mut peer, 2).len(), 2);
    assert_ne!(device.local_addr().unwrap(), former);
    assert_eq!(listening.local_addr().unwrap().port(), free);
}
