#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::gather::Looked;
use super::*;
use crate::classify::{Direction, Side};
use crate::packet::header::Headers;
use crate::packet::testing::Segment;
use proptest::prelude::*;

/// A ClientHello with `extensions` before the server name, cut into records of `record` bytes.
fn hello(name: Option<&[u8]>, before: usize, record: usize) -> Vec<u8> {
    let mut extensions = Vec::new();
    if before > 0 {
        // Padding (RFC 7685).
        extensions.extend([&21_u16.to_be_bytes()[..], &(before as u16).to_be_bytes(), &vec![0; before]].concat());
    }
    if let Some(name) = name {
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
        let list = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
        extensions.extend([&[0, 0][..], &(list.len() as u16).to_be_bytes(), &list].concat());
    }
    extensions.extend([0, 43, 0, 3, 2, 3, 4]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([32]);
    body.extend([9; 32]);
    body.extend([0, 4, 0x13, 1, 0x13, 2, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    let records = message.chunks(record);
    records.flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat()).collect()
}

fn named(name: &str) -> Option<Extracted> {
    Some(Extracted { protocol: Some(Detected::Tls), server_name: Some(name.into()) })
}

#[test]
fn a_server_name_is_read_in_lower_case_and_without_a_dot() {
    assert_eq!(client(&hello(Some(b"WWW.Example.com."), 0, 4096)), named("www.example.com"));
    assert_eq!(client(&hello(Some(b"example.com"), 1500, 4096)), named("example.com"));
    assert_eq!(client(&hello(Some(b"example.com"), 100, 40)), named("example.com"));
    for nameless in [None, Some(&b""[..]), Some(b"white space"), Some(b"\xff\xfe")] {
        assert_eq!(client(&hello(nameless, 0, 4096)), Some(Detected::Tls.into()), "{nameless:?}");
    }
}

#[test]
fn a_name_that_lies_too_far_behind_is_not_read() {
    let long = hello(Some(b"example.com"), 5000, 16_000);
    assert_eq!(client(&long[..MOST - 1]), None);
    assert_eq!(client(&long), Some(Detected::Tls.into()));
}

#[test]
fn a_malformed_hello_is_tls_without_a_name() {
    let mut short = hello(Some(b"example.com"), 0, 4096);
    // The message says that it ends inside its session id.
    short[6..9].copy_from_slice(&[0, 0, 40]);
    assert_eq!(client(&short), Some(Detected::Tls.into()));
}

const CLIENTS: [(&[u8], Option<Detected>); 22] = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Detected::Http)),
    (b"\r\nPROPFIND /a%20b HTTP/1.0\r\n", Some(Detected::Http)),
    (b"M-SEARCH * HTTP/1.1\r\n", Some(Detected::Http)),
    (b"OPTIONS rtsp://camera/ RTSP/1.0\r\n", None),
    (b"GET /\r\n", None),
    (b"get / HTTP/1.1\r\n", None),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Some(Detected::Http2)),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n", Some(Detected::Ssh)),
    (b"SSH-1.99-old\r\n", Some(Detected::Ssh)),
    (b"EHLO mail.example.com\r\n", Some(Detected::Smtp)),
    (b"helo mail.example.com\r\n", Some(Detected::Smtp)),
    (b"@RSYNCD: 31.0\n", Some(Detected::RsyncDaemon)),
    (b"\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00\x01\0\0\0", Some(Detected::Dcerpc)),
    (b"\x05\x00\x0b\x03\x00\x00\x00\x00\x00\x48\x00\x00\x01\0\0\0", Some(Detected::Dcerpc)),
    (b"\x05\x01\x00", None),
    (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", Some(Detected::Mqtt)),
    (b"\x10\x8c\x01\x00\x06MQIsdp\x03", Some(Detected::Mqtt)),
    (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\0\x08\0\x03\0\0\0", Some(Detected::Tpkt)),
    (b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", Some(Detected::Ldap)),
    (b"\x30\x84\x00\x00\x00\x10\x02\x01\x05\x63\x84\0\0\0\x07", Some(Detected::Ldap)),
    // SNMP.
    (b"\x30\x26\x02\x01\x01\x04\x06public", None),
    (b"USER ada\r\n", None),
];

const SERVERS: [(&[u8], Option<Detected>); 12] = [
    (b"SSH-2.0-OpenSSH_9.2p1\r\n", Some(Detected::Ssh)),
    (b"220 mail.example.com ESMTP ready\r\n", Some(Detected::Smtp)),
    (b"220-mail.example.com smtp\r\n", Some(Detected::Smtp)),
    (b"220 (vsFTPd 3.0.3)\r\n", None),
    (b"+OK POP3 ready\r\n", Some(Detected::Pop3)),
    (b"* OK IMAP4rev2 ready\r\n", Some(Detected::Imap)),
    (b"* PREAUTH welcome\r\n", Some(Detected::Imap)),
    (b"* HELLO\r\n", None),
    (b"@RSYNCD: 31.0 sha512\n", Some(Detected::RsyncDaemon)),
    (b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00", Some(Detected::Mysql)),
    (b"\x4a\x00\x00\x01\x0a8.0.36\x00", None),
    (b"HTTP/1.1 408 Request Timeout\r\n", None),
];

#[test]
fn first_bytes_name_their_protocol() {
    for (bytes, protocol) in CLIENTS {
        assert_eq!(client(bytes).map(|e| e.protocol), Some(protocol), "{:?}", String::from_utf8_lossy(bytes));
    }
    for (bytes, protocol) in SERVERS {
        assert_eq!(server(bytes).map(|e| e.protocol), Some(protocol), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn datagrams_are_known_by_themselves() {
    let mut ntp = [0; 48];
    ntp[0] = 0x23;
    assert_eq!(datagram(&ntp).protocol, Some(Detected::Ntp));
    assert_eq!(datagram(&ntp[..44]).protocol, None);
    ntp[1] = 200;
    assert_eq!(datagram(&ntp).protocol, None);
    assert_eq!(datagram(b"\x30\x0c\x02\x01\x01\x63\x07").protocol, Some(Detected::Ldap));
    assert_eq!(datagram(b"").protocol, None);
}

#[test]
fn an_endless_line_is_decided_at_the_limit() {
    let mut line = b"GET /".to_vec();
    line.resize(900, b'a');
    assert_eq!(client(&line), None);
    line.resize(2000, b'a');
    assert_eq!(client(&line), Some(Detected::Http.into()));
    assert_eq!(client(&[b'\r'; MOST]), Some(Extracted::default()));
}

/// Arbitrary bytes, and the beginnings that somebody knows with some of their bytes changed.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let known = CLIENTS.iter().chain(&SERVERS).map(|(bytes, _)| bytes.to_vec());
    let mut known: Vec<Vec<u8>> = known.collect();
    known.push(hello(Some(b"a.example.com"), 0, 4096));
    known.push(hello(Some(b"a.example.com"), 700, 100));
    known.push(hello(Some(b"a.example.com"), 4500, 16_000));
    known.push(hello(None, 30, 7));
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let changed = (prop::sample::select(known), changes).prop_map(|(mut bytes, changes)| {
        for (at, value) in changes {
            let at = at.index(bytes.len().min(200));
            bytes[at] = value;
        }
        bytes
    });
    prop_oneof![4 => changed, 1 => prop::collection::vec(any::<u8>(), 1..300)]
}

fn segment(seq: u32, payload: &[u8]) -> Headers {
    let packet = Segment { seq, payload: payload.to_vec(), ..Segment::default() }.build();
    Headers::parse(&packet).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_said_of_some_bytes_is_said_of_all_that_follow(bytes in beginnings()) {
        datagram(&bytes);
        for read in [client, server] {
            let whole = read(&bytes);
            for len in (0..bytes.len()).filter(|len| *len < 400 || len % 97 == 0) {
                let part = read(&bytes[..len]);
                prop_assert!(part.is_none() || part == whole, "{} bytes: {:?}, all: {:?}", len, part, whole);
            }
        }
    }

    #[test]
    fn segments_in_any_cut_and_order_tell_the_same(
        bytes in beginnings(),
        start: u32,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        order in any::<prop::sample::Index>(),
        swaps in any::<bool>(),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
        ends.sort_unstable();
        let mut parts: Vec<(usize, &[u8])> =
            ends.windows(2).map(|pair| (pair[0], &bytes[pair[0]..pair[1]])).filter(|part| !part.1.is_empty()).collect();
        if swaps {
            let at = order.index(parts.len());
            parts.rotate_left(at);
        }
        let sender = Side { next_seq: Some(start), ..Side::default() };
        let (mut gather, mut known) = (Gather::default(), None);
        for (at, part) in parts {
            let headers = segment(start.wrapping_add(at as u32), part);
            let looked = gather.look(Direction::Forward, &headers, part, (&sender, &Side::default()), true);
            if let Looked::Known(extracted) = looked {
                known = Some(extracted);
                break;
            }
        }
        prop_assert_eq!(known, client(&bytes));
    }
}

#[test]
fn what_the_receiver_has_without_us_is_given_up() {
    let sender = Side { next_seq: Some(100), ..Side::default() };
    let mut receiver = Side::default();
    let mut gather = Gather::default();
    let late = segment(105, b"T / HTTP/1.1");
    assert_eq!(gather.look(Direction::Forward, &late, b"T / HTTP/1.1", (&sender, &receiver), true), Looked::More);
    receiver.last_ack = Some(117);
    let more = segment(117, b"\r\n");
    let unknown = Looked::Known(Extracted::default());
    assert_eq!(gather.look(Direction::Forward, &more, b"\r\n", (&sender, &receiver), true), unknown);
}

#[test]
fn a_server_that_nobody_knows_leaves_it_to_the_client_for_a_while() {
    let side = Side { next_seq: Some(1), ..Side::default() };
    let mut gather = Gather::default();
    let hello = segment(1, b"welcome\r\n");
    assert_eq!(gather.look(Direction::Reverse, &hello, b"welcome\r\n", (&side, &side), true), Looked::More);
    let mut other = gather.clone();
    let get = segment(1, b"GET / HTTP/1.1\r\n");
    let looked = other.look(Direction::Forward, &get, b"GET / HTTP/1.1\r\n", (&side, &side), true);
    assert_eq!(looked, Looked::Known(Detected::Http.into()));
    let on = segment(1 + MOST as u32, b"and so on");
    let looked = gather.look(Direction::Reverse, &on, b"and so on", (&side, &side), true);
    assert_eq!(looked, Looked::Known(Extracted::default()));
}

#[test]
fn without_room_nothing_is_kept_and_the_flow_is_unknown() {
    let side = Side { next_seq: Some(1), ..Side::default() };
    let mut gather = Gather::default();
    let part = segment(1, b"GE");
    let unknown = Looked::Known(Extracted::default());
    assert_eq!(gather.look(Direction::Forward, &part, b"GE", (&side, &side), false), unknown);
    assert_eq!(gather.buffers(), 0);
}
