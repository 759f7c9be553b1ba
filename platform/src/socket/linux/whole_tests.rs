//! What routers may cut and what they may not, against the kernel's own router.
#![allow(clippy::unwrap_used)]

use super::tests::{receive, udp};
use super::*;
use crate::{
    netcfg::linux_testing::{add_address, add_default_route, set_mtu},
    testing::{Namespace, namespaces},
};
use vestibule_engine::packet::Ecn;

/// Two hosts, and a router between them that carries 1300 bytes to the second.
fn hosts() -> Option<[Namespace; 3]> {
    let [left, router, right] = namespaces()?;
    left.wire_as(("wire", &router, "west"));
    router.wire_as(("east", &right, "wire"));
    left.run(|| {
        add_address("wire", "10.8.1.2/24");
        add_default_route("wire", [10, 8, 1, 1]);
    });
    router.run(|| {
        add_address("west", "10.8.1.1/24");
        add_address("east", "10.8.2.1/24");
        set_mtu("east", 1300);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    });
    right.run(|| {
        add_address("wire", "10.8.2.2/24");
        add_default_route("wire", [10, 8, 2, 1]);
    });
    Some([left, router, right])
}

fn datagram(mark: u8, len: usize) -> Vec<u8> {
    vec![mark; len]
}

#[test]
fn routers_cut_what_they_may_and_nothing_else() {
    let Some([left, _router, right]) = hosts() else { return };
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let mut one = left.run(|| udp(bind));
        let mut two = right.run(|| udp("10.8.2.2:0"));
        let to = two.local_addr().unwrap();
        let mut queue = TransmitQueue::new();
        queue.push(to, &datagram(1, 1400));
        assert!(queue.push_ready((to, Ecn::NotEct), 1400, true, datagram(2, 1400)));
        assert!(queue.push_ready((to, Ecn::NotEct), 1272, true, datagram(3, 3 * 1272)));
        queue.push(to, &datagram(4, 1400));
        assert!(queue.push_ready((to, Ecn::NotEct), 1400, false, datagram(5, 2800)));
        let report = one.send(&mut queue).unwrap();
        assert_eq!((report.sent, report.dropped()), (8, 0), "{bind}: {report:?}");
        let expected = [datagram(1, 1400), datagram(3, 1272), datagram(3, 1272), datagram(3, 1272), datagram(4, 1400)];
        let expected = [&expected[..], &[datagram(5, 1400), datagram(5, 1400)]].concat();
        let (mut received, ..) = receive(&mut two, expected.len());
        // What came in fragments may be overtaken.
        received.sort();
        assert!(received == expected, "{bind}: {:?}", received.iter().map(|d| (d[0], d.len())).collect::<Vec<_>>());
        // What the router told of it changes nothing: the sender finds out by itself.
        let mut queue = TransmitQueue::new();
        assert!(queue.push_ready((to, Ecn::NotEct), 1400, true, datagram(6, 1400)));
        queue.push(to, &datagram(7, 1400));
        let report = one.send(&mut queue).unwrap();
        assert_eq!((report.sent, report.dropped()), (2, 0), "{bind}: {report:?}");
        assert!(receive(&mut two, 1).0 == [datagram(7, 1400)], "{bind}");
    }
}

#[test]
fn what_is_longer_than_the_interface_carries_does_not_leave_whole() {
    let Some([left, _router, _right]) = hosts() else { return };
    let mut one = left.run(|| udp("0.0.0.0:0"));
    let to = SocketAddr::from(([10, 8, 2, 2], 9));
    let mut queue = TransmitQueue::new();
    assert!(queue.push_ready((to, Ecn::NotEct), 1473, true, datagram(1, 1473)));
    assert!(queue.push_ready((to, Ecn::NotEct), 1473, false, datagram(2, 1473)));
    let report = one.send(&mut queue).unwrap();
    assert_eq!((report.sent, report.too_large), (1, 1), "{report:?}");
}
