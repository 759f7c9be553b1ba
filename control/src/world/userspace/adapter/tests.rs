//! The host of memory, asked by one that sends nothing twice and bears no surprise.

#![allow(clippy::unwrap_used)]

use super::super::{stack::Stack, tcp::Connection as Asker, testing::joined};
use super::*;
use std::io::{ErrorKind, Read, Write};

const HERE: Ipv4Addr = Ipv4Addr::new(100, 96, 3, 2);

/// An intranet, and a host that reaches it.
fn world() -> (AdapterEnds, Stack, Intranet) {
    let (near, far) = joined(None);
    let intranet = Intranet::numbered(3);
    (AdapterEnds::start(far, intranet).unwrap(), Stack::start(near, "near").unwrap(), intranet)
}

fn open(near: &Stack, host: IpAddr, port: u16) -> io::Result<Asker> {
    Asker::open(near, HERE, SocketAddrV4::new(super::super::load::v4(host).unwrap(), port))
}

#[test]
fn bytes_go_there_and_back() {
    let (_ends, near, intranet) = world();
    let mut connection = open(&near, intranet.web(), ECHO_PORT).unwrap();
    let message: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    for piece in message.chunks(10_000) {
        connection.write_all(piece).unwrap();
        let mut back = vec![0; piece.len()];
        connection.read_exact(&mut back).unwrap();
        assert!(back == piece);
    }
}

#[test]
fn servers_answer_one_after_the_other_and_a_closed_port_refuses() {
    let (_ends, near, intranet) = world();
    for _ in 0..5 {
        let web = probe::ask(Question::Web, intranet, |to| open(&near, to.ip(), to.port()));
        assert!(web.answered(), "{web}");
        let directory = probe::ask(Question::Directory, intranet, |to| open(&near, to.ip(), to.port()));
        assert!(directory.answered(), "{directory}");
    }
    let closed = open(&near, intranet.web(), 81);
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_is_closed_is_let_go() {
    let (ends, near, intranet) = world();
    let sockets = || ends.far.tcp().sockets.iter().count();
    let listening = sockets();
    for _ in 0..3 {
        assert!(probe::ask(Question::Web, intranet, |to| open(&near, to.ip(), to.port())).answered());
    }
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while sockets() > listening {
        assert!(std::time::Instant::now() < until, "{} sockets are left, {listening} listen", sockets());
        std::thread::sleep(Duration::from_millis(20));
    }
}
