//! Two workers over TUN devices and UDP sockets, in namespaces joined by a wire, with kernel TCP inside.
#![allow(clippy::unwrap_used)]

use super::{
    Handle, Worker,
    tests::{GATEWAY_KEY, connect, engine},
};
use crate::{
    adapter::{Tun, TunConfig},
    netcfg::{Desired, NetConfig, PolicyRouting, Routing, System, linux_testing::add_address},
    socket::{Udp, UdpConfig},
    testing::namespaces,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};
use vestibule_engine::core::PeerKind;

fn desired(address: &str, route: &str, routing: Routing) -> Desired {
    Desired {
        interface: "tun-test".to_owned(),
        addresses: vec![address.parse().unwrap()],
        routes: vec![route.parse().unwrap()],
        routing,
        forwarding: false,
    }
}

#[test]
fn kernel_tcp_crosses_the_tunnel_in_super_packets_while_identities_swap() {
    const BYTES: usize = 48 << 20;
    let Some([left, right]) = namespaces() else { return };
    left.wire(&right);
    let (device, device_events, _device_net) = left.run(|| {
        add_address("wire", "10.8.0.1/24");
        let tun = Tun::open(&TunConfig::new("tun-test")).unwrap();
        let routing = Routing::Policy(PolicyRouting::default());
        let net = System.apply(&desired("100.96.0.2/32", "0.0.0.0/0", routing)).unwrap();
        let socket = Udp::bind(&UdpConfig::device(PolicyRouting::default().mark)).unwrap();
        let (handle, events) = Worker::spawn(engine(8, PeerKind::Gateway, "0.0.0.0/0"), tun, socket, "device").unwrap();
        (handle, events, net)
    });
    let (gateway, _gateway_events, _gateway_net) = right.run(|| {
        add_address("wire", "10.8.0.2/24");
        let tun = Tun::open(&TunConfig::new("tun-test")).unwrap();
        let net = System.apply(&desired("100.96.0.1/32", "100.96.0.0/12", Routing::Main)).unwrap();
        let socket = Udp::bind(&UdpConfig::new("[::]:51820".parse().unwrap())).unwrap();
        let at_gateway = engine(GATEWAY_KEY, PeerKind::Device, "100.96.0.2/32");
        let (handle, events) = Worker::spawn(at_gateway, tun, socket, "gateway").unwrap();
        (handle, events, net)
    });
    let endpoint = "10.8.0.2:51820".parse().unwrap();
    let swap = |number: u64| {
        connect((&device, &device_events), &gateway, number, (100 + number as u8, GATEWAY_KEY), endpoint);
    };
    swap(1);
    let server = right.run(|| TcpListener::bind("100.96.0.1:7000").unwrap());
    let mut stream = left.run(|| TcpStream::connect("100.96.0.1:7000").unwrap());
    let receiver = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut all = Vec::with_capacity(BYTES);
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let start = Instant::now();
    for (part, number) in sent.chunks(BYTES / 6).zip(2..) {
        stream.write_all(part).unwrap();
        swap(number);
    }
    drop(stream);
    let received = receiver.join().unwrap();
    let elapsed = start.elapsed();
    assert!(received == sent, "the bytes arrived changed: {} of {BYTES}", received.len());
    let (at_device, at_gateway) = (device.counters().snapshot(), gateway.counters().snapshot());
    eprintln!(
        "{:.2} Gb/s\ndevice {at_device:#?}\ngateway {at_gateway:#?}",
        BYTES as f64 * 8e-9 / elapsed.as_secs_f64()
    );
    assert!(at_device.frames_read * 5 < at_device.datagrams_sent, "the kernel gave no super-packets");
    assert!(at_device.send_calls * 5 < at_device.datagrams_sent, "one system call per datagram");
    assert!(at_gateway.receive_calls * 3 < at_gateway.datagrams_received);
    assert!(at_gateway.frames_written * 3 < at_gateway.datagrams_received, "nothing was merged on write");
    // Each frame of the kernel's is read, sealed and sent with one call each; what is more are the looks that find an
    // empty queue, at most one per wake-up.
    for end in [at_device, at_gateway] {
        assert!(end.read_calls <= end.frames_read + end.wakeups, "{end:?}");
        assert!(end.send_calls <= end.frames_read + end.frames_written + end.wakeups, "{end:?}");
        assert_eq!(end.write_calls, end.frames_written, "{end:?}");
        assert!(end.receive_calls <= end.datagrams_received + end.wakeups, "{end:?}");
    }
    for end in [&device, &gateway] {
        assert_eq!(lost(end), 0);
    }
}

fn lost(end: &Handle) -> u64 {
    let seen = end.counters().snapshot();
    seen.frames_invalid
        + seen.write_full
        + seen.write_refused
        + seen.write_down
        + seen.receive_overflowed
        + seen.send_unreachable
        + seen.send_too_large
        + seen.send_refused
}
