//! Tests in network namespaces: what is applied works, and nothing of it is left behind.
#![allow(clippy::unwrap_used)]

use super::{testing::*, *};
use crate::{
    adapter::{Adapter, Tun, TunConfig},
    netcfg::PolicyRouting,
    socket::{Socket, Udp, UdpConfig},
    testing::{Namespace, namespaces},
};
use std::{
    fs,
    net::UdpSocket,
    time::{Duration, Instant},
};
use vestibule_engine::packet::{Frames, TransmitQueue};

const MARK: u32 = 0x5642;

fn device(routes: &[&str]) -> Desired {
    Desired {
        interface: "tun-test".to_owned(),
        addresses: vec!["100.96.0.2/32".parse().unwrap()],
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        routing: Routing::Policy(PolicyRouting::default()),
        forwarding: false,
    }
}

fn tun() -> Tun {
    Tun::open(&TunConfig::new("tun-test")).unwrap()
}

/// Destinations of the IPv4 packets waiting in the adapter.
fn caught(tun: &mut Tun) -> Vec<[u8; 4]> {
    let mut all = Vec::new();
    let mut batch = tun.read().unwrap();
    while let Some(frame) = batch.next_frame() {
        if frame.bytes[0] >> 4 == 4 {
            all.push([frame.bytes[16], frame.bytes[17], frame.bytes[18], frame.bytes[19]]);
        }
    }
    all
}

/// A host with a default route over a wire to another host at 10.8.0.2.
fn host(left: &Namespace, right: &Namespace) {
    left.wire(right);
    right.run(|| add_address("wire", "10.8.0.2/24"));
    left.run(|| {
        add_address("wire", "10.8.0.1/24");
        add_default_route("wire", [10, 8, 0, 2]);
    });
}

#[test]
fn the_tunnels_own_packets_never_enter_the_tunnel() {
    let Some([left, right]) = namespaces() else { return };
    host(&left, &right);
    let far = right.run(|| {
        // Answers to anything: the far host claims this address beyond its own network.
        add_address("wire", "203.0.113.9/32");
        UdpSocket::bind("203.0.113.9:51820").unwrap()
    });
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    left.run(|| {
        let mut tun = tun();
        let applied = System.apply(&device(&["0.0.0.0/0", "::/0"])).unwrap();
        let application = UdpSocket::bind("0.0.0.0:0").unwrap();
        application.send_to(b"inner", "203.0.113.9:51820").unwrap();
        assert_eq!(caught(&mut tun), [[203, 0, 113, 9]], "an application's packet goes through the tunnel");

        let mut outer = Udp::bind(&UdpConfig::device(MARK)).unwrap();
        let mut queue = TransmitQueue::new();
        queue.push("203.0.113.9:51820".parse().unwrap(), b"outer");
        assert_eq!(outer.send(&mut queue).unwrap().sent, 1);
        assert!(caught(&mut tun).is_empty(), "the tunnel's own packet came back into it");
        let mut buffer = [0; 100];
        let (len, source) = far.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source.ip().to_string().as_str()), (&b"outer"[..], "10.8.0.1"));

        // The answer passes the reverse-path filter, strict or not.
        far.send_to(b"answer", source).unwrap();
        assert!(arrives(&mut outer), "the answer to the tunnel's packet was filtered");

        // A neighbour on the wire is reached directly, as before.
        application.send_to(b"near", "10.8.0.2:9").unwrap();
        assert!(caught(&mut tun).is_empty(), "the local network went into the tunnel");
        applied.revert().unwrap();
        application.send_to(b"inner", "203.0.113.9:51820").unwrap();
        assert!(caught(&mut tun).is_empty(), "the tunnel was reverted but still routes");
    });
}

fn arrives(socket: &mut Udp) -> bool {
    use vestibule_engine::packet::Datagrams;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        if socket.receive().unwrap().next_datagram().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_strict_reverse_path_filter_accepts_the_tunnels_answers_with_a_bypass() {
    let Some([left, right]) = namespaces() else { return };
    host(&left, &right);
    let far = right.run(|| {
        add_address("wire", "203.0.113.9/32");
        UdpSocket::bind("203.0.113.9:51820").unwrap()
    });
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    left.run(|| {
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        let mut tun = tun();
        let routing = PolicyRouting { bypass: vec!["203.0.113.9/32".parse().unwrap()], ..PolicyRouting::default() };
        let desired = Desired { routing: Routing::Policy(routing), ..device(&["0.0.0.0/0"]) };
        let _applied = System.apply(&desired).unwrap();
        let mut outer = Udp::bind(&UdpConfig::device(MARK)).unwrap();
        let mut queue = TransmitQueue::new();
        queue.push("203.0.113.9:51820".parse().unwrap(), b"outer");
        outer.send(&mut queue).unwrap();
        let mut buffer = [0; 100];
        let (_, source) = far.recv_from(&mut buffer).unwrap();
        far.send_to(b"answer", source).unwrap();
        assert!(arrives(&mut outer), "the answer to the tunnel's packet was filtered");
        let application = UdpSocket::bind("0.0.0.0:0").unwrap();
        application.send_to(b"control", "203.0.113.9:51820").unwrap();
        assert!(caught(&mut tun).is_empty(), "the gateway's address went into the tunnel");
    });
}

#[test]
fn revert_leaves_nothing_and_applying_twice_adds_nothing() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let _tun = tun();
        link_up("tun-test");
        let before = inventory("tun-test");
        let desired = device(&["0.0.0.0/0", "::/0", "10.0.0.0/8"]);
        let mut applied = System.apply(&desired).unwrap();
        let once = inventory("tun-test");
        assert_eq!(once.1, before.1 + 4);
        assert_eq!(once.2, ["100.96.0.2/32"]);
        applied.change(&desired).unwrap();
        let second = System.apply(&desired).unwrap();
        assert_eq!(inventory("tun-test"), once);
        applied.revert().unwrap();
        second.revert().unwrap();
        assert_eq!(inventory("tun-test"), before);
    });
}

#[test]
fn what_a_killed_predecessor_left_is_replaced() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let first = tun();
        let before = inventory("none");
        // As by SIGKILL: the interface goes, the rules stay.
        std::mem::forget(System.apply(&device(&["0.0.0.0/0", "::/0"])).unwrap());
        drop(first);
        let left = inventory("none");
        assert_eq!(left.1, before.1 + 4, "rules outlive their interface");
        let mut tun = tun();
        let applied = System.apply(&device(&["10.0.0.0/8"])).unwrap();
        let rules = inventory("none").1;
        assert_eq!(rules, before.1 + 2, "the rules of the other family were stale");
        UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "10.1.2.3:9").unwrap();
        assert_eq!(caught(&mut tun), [[10, 1, 2, 3]]);
        applied.revert().unwrap();
        drop(tun);
        assert_eq!(inventory("none"), before);
    });
}

#[test]
fn a_gateway_forwards_and_stops_when_reverted() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let switch = "/proc/sys/net/ipv4/ip_forward";
        fs::write(switch, "0").unwrap();
        let _tun = tun();
        let desired = Desired {
            interface: "tun-test".to_owned(),
            addresses: vec!["100.96.0.1/32".parse().unwrap()],
            routes: vec!["100.96.0.0/12".parse().unwrap()],
            routing: Routing::Main,
            forwarding: true,
        };
        let applied = System.apply(&desired).unwrap();
        assert_eq!(fs::read_to_string(switch).unwrap().trim(), "1");
        applied.revert().unwrap();
        assert_eq!(fs::read_to_string(switch).unwrap().trim(), "0");
        let left = inventory("tun-test");
        assert!(left.2.is_empty(), "{left:?}");
    });
}

#[test]
fn a_tunnel_without_ipv6_stays_silent() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let mut tun = tun();
        let mut applied = System.apply(&device(&["0.0.0.0/0"])).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let mut first = tun.read().unwrap();
        assert!(first.next_frame().is_none(), "the kernel spoke by itself");
        drop(first);
        // The switch can be thrown later.
        let mut both = device(&["0.0.0.0/0", "::/0"]);
        both.addresses.push("fd00::2/128".parse().unwrap());
        applied.change(&both).unwrap();
        assert_eq!(inventory("tun-test").2, ["100.96.0.2/32", "fd00::2/128"]);
    });
}

#[test]
fn a_missing_interface_is_told_and_nothing_is_left() {
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let before = inventory("none");
        match System.apply(&device(&["0.0.0.0/0"])) {
            Err(NetConfigError::NoInterface { name }) => assert_eq!(name, "tun-test"),
            other => panic!("expected a missing interface, got {other:?}"),
        }
        assert_eq!(inventory("none"), before);
    });
}
