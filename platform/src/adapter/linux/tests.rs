//! Two TUN devices in namespaces of their own, and kernel TCP between them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{
    netcfg::{Desired, NetConfig, Routing, System},
    testing::{Namespace, namespaces},
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use vestibule_engine::packet::{Gso, Headers, segments};

fn open_up(namespace: &Namespace, address: &str) -> Tun {
    namespace.run(|| {
        let tun = Tun::open(&TunConfig::new("tun-test")).unwrap();
        let desired = Desired {
            interface: tun.name().to_owned(),
            addresses: vec![address.parse().unwrap()],
            routes: vec![],
            routing: Routing::Main,
            forwarding: false,
        };
        // Gone with its interface.
        std::mem::forget(System.apply(&desired).unwrap());
        tun
    })
}

#[derive(Debug, Default)]
struct Seen {
    super_packets: u64,
    largest: usize,
    unsummed: u64,
    gathered: u64,
    merged_writes: u64,
    written: u64,
    lost: u64,
}

/// Moves what `from` holds to `to`: cut into segments, and merged again by the delivery queue.
fn relay(from: &mut Tun, to: &mut Tun, queue: &mut DeliveryQueue, seen: &mut Seen) -> bool {
    let mut batch = from.read().unwrap();
    while let Some(frame) = batch.next_frame() {
        seen.super_packets += u64::from(matches!(frame.offload.gso, Some(Gso::Tcp { .. })));
        seen.unsummed += u64::from(frame.offload.checksum.is_some());
        seen.largest = seen.largest.max(frame.bytes.len());
        segments(frame, |packet| {
            let headers = Headers::parse(packet).unwrap();
            let (start, room) = queue.open(packet.len());
            room.copy_from_slice(packet);
            queue.deliver(start..start + packet.len(), &headers);
        })
        .unwrap();
    }
    drop(batch);
    queue.finish();
    for frame in queue.frames() {
        seen.gathered = seen.gathered.max(frame.pieces().len() as u64);
        seen.merged_writes += u64::from(frame.offload.gso.is_some());
    }
    let report = to.write(queue).unwrap();
    queue.clear();
    seen.written += report.written;
    seen.lost += report.dropped();
    from.read_report().calls > 1
}

#[test]
fn kernel_tcp_gives_super_packets_and_takes_gathered_ones() {
    const BYTES: usize = 64 << 20;
    let Some([left, right]) = namespaces() else { return };
    let (mut a, mut b) = (open_up(&left, "10.9.0.1/24"), open_up(&right, "10.9.0.2/24"));
    let done = AtomicBool::new(false);
    let byte = |at: usize| (at % 251) as u8;
    let (there, back) = thread::scope(|scope| {
        let relay = scope.spawn(|| {
            let (mut there, mut back) = (Seen::default(), Seen::default());
            let mut queue = DeliveryQueue::default();
            while !done.load(Ordering::Relaxed) {
                let moved = relay(&mut a, &mut b, &mut queue, &mut there);
                if !relay(&mut b, &mut a, &mut queue, &mut back) && !moved {
                    thread::sleep(Duration::from_micros(200));
                }
            }
            (there, back)
        });
        let server = right.run(|| TcpListener::bind("10.9.0.2:7000").unwrap());
        let receiver = scope.spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut all = Vec::with_capacity(BYTES);
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let sent: Vec<u8> = (0..BYTES).map(byte).collect();
        let mut stream = left.run(|| TcpStream::connect("10.9.0.2:7000").unwrap());
        stream.write_all(&sent).unwrap();
        drop(stream);
        let received = receiver.join().unwrap();
        done.store(true, Ordering::Relaxed);
        assert!(received == sent, "the bytes arrived changed: {} of {BYTES}", received.len());
        relay.join().unwrap()
    });
    eprintln!("there {there:?}\nback {back:?}");
    assert!(there.super_packets > 100, "the kernel left no segmentation to us: {there:?}");
    assert!(there.largest > 30_000 && there.unsummed > 0);
    assert!(there.merged_writes > 100 && there.gathered > 10, "nothing was merged: {there:?}");
    assert_eq!((there.lost, back.lost), (0, 0));
}

#[test]
fn a_plain_packet_arrives_whole() {
    let Some([here]) = namespaces() else { return };
    let mut tun = open_up(&here, "10.9.0.1/24");
    let socket = here.run(|| std::net::UdpSocket::bind("10.9.0.1:7000").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let payload: Vec<u8> = (0..1200usize).map(|n| (n % 7) as u8).collect();
    let mut queue = DeliveryQueue::default();
    queue.push(&udp4([10, 9, 0, 2], [10, 9, 0, 1], 7000, &payload));
    let report = tun.write(&queue).unwrap();
    assert_eq!((report.written, report.dropped()), (1, 0));
    let mut buffer = [0; 2000];
    let (len, source) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], source.to_string().as_str()), (&payload[..], "10.9.0.2:9"));
}

#[test]
fn a_frame_that_is_no_packet_is_refused_and_counted() {
    let Some([here]) = namespaces() else { return };
    let mut tun = open_up(&here, "10.9.0.1/24");
    let mut queue = DeliveryQueue::default();
    queue.push(&[0xff; 40]);
    queue.push(&udp4([10, 9, 0, 2], [10, 9, 0, 1], 7000, b"x"));
    let report = tun.write(&queue).unwrap();
    assert_eq!((report.written, report.refused, report.calls), (1, 1, 2));
}

#[test]
fn an_interface_that_is_down_drops_and_counts() {
    let Some([here]) = namespaces() else { return };
    let mut tun = here.run(|| Tun::open(&TunConfig::new("tun-test")).unwrap());
    let mut queue = DeliveryQueue::default();
    queue.push(&udp4([10, 9, 0, 2], [10, 9, 0, 1], 7000, b"x"));
    let report = tun.write(&queue).unwrap();
    assert_eq!((report.written, report.down), (0, 1));
}

#[test]
fn a_taken_or_unusable_name_is_told() {
    for bad in ["", "sixteen-bytes-xy", "a/b", "a b", ".."] {
        assert!(matches!(Tun::open(&TunConfig::new(bad)), Err(AdapterError::Name { .. })), "{bad:?}");
    }
    let Some([here]) = namespaces() else { return };
    here.run(|| {
        let _first = Tun::open(&TunConfig::new("tun-test")).unwrap();
        match Tun::open(&TunConfig::new("tun-test")) {
            // Whose it is `/sys` tells, which shows this thread its process's namespace and not this one.
            Err(AdapterError::Busy { name } | AdapterError::Taken { name }) => assert_eq!(name, "tun-test"),
            other => panic!("expected a taken name, got {other:?}"),
        }
    });
}

/// An IPv4 UDP packet from port 9, without a UDP checksum (which IPv4 allows).
fn udp4(source: [u8; 4], destination: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(28 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    packet.extend(9u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend((len - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}
