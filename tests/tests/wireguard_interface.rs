//! `vestibule wireguard` between network namespaces, configured by the real `wg` and `wg-quick`.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use vestibule_tests::interface::{Interface, daemonise, preshared_key, secret_file, socket, unique_name};
use vestibule_tests::netns::Namespace;
use vestibule_tests::peers::{Implementation, Keys, Peer, Remote};
use vestibule_tests::steady::{Pings, Stream};

const INSIDE: [&str; 2] = ["10.99.0.1/24", "fd99::1/64"];
const INSIDE_OTHER: [&str; 2] = ["10.99.0.2/24", "fd99::2/64"];

fn directory(test: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two hosts joined by a cable, with addresses of both families.
fn hosts() -> (Namespace, Namespace) {
    let (one, two) = (Namespace::new(), Namespace::new());
    one.join("192.0.2.1/24", &two, "192.0.2.2/24");
    for (host, address) in [(&one, "2001:db8::1/64"), (&two, "2001:db8::2/64")] {
        host.run("ip", &["address", "add", address, "dev", "wire0", "nodad"]);
    }
    (one, two)
}

/// An interface on each host; the first knows where the second is.
fn joined<'a>(hosts: &'a (Namespace, Namespace), directory: &Path) -> (Interface<'a>, Interface<'a>) {
    let one = Interface::start(&hosts.0, directory, 51820, &INSIDE);
    let two = Interface::start(&hosts.1, directory, 51820, &INSIDE_OTHER);
    let inner = "10.99.0.0/24,fd99::/64";
    one.set(&["peer", &two.public_key, "allowed-ips", inner, "endpoint", "192.0.2.2:51820"]);
    two.set(&["peer", &one.public_key, "allowed-ips", inner]);
    (one, two)
}

/// Every one of `length` must be answered, but for those that waited for the first handshake.
fn pings(from: &Namespace, to: &str, length: Duration) {
    let echoes = Pings::paced(from, ip(to), Duration::from_millis(10), length).finish();
    assert!(echoes.sent > 0 && echoes.missing.is_empty() && echoes.duplicates == 0, "to {to}: {echoes:?}");
}

fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The daemon that serves an interface.
fn daemon(name: &str) -> Option<u32> {
    let words = format!("\0wireguard\0--\0{name}\0");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids = pids.filter(|pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(words.as_bytes()))
    });
    pids.next()
}

#[test]
fn both_families_inside_and_outside_on_one_socket() {
    if !vestibule_tests::required("both_families_inside_and_outside_on_one_socket") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-families"));
    let (one, two) = joined(&hosts, &directory);
    let second = Duration::from_secs(1);
    pings(&hosts.0, "10.99.0.2", second);
    pings(&hosts.0, "fd99::2", second);
    let before = one.of("latest-handshakes", &two.public_key);
    one.set(&["peer", &two.public_key, "endpoint", "[2001:db8::2]:51820"]);
    pings(&hosts.0, "10.99.0.2", second);
    pings(&hosts.1, "fd99::1", second);
    assert_eq!(two.of("endpoints", &one.public_key), "[2001:db8::1]:51820", "it has followed the packets");
    assert_eq!(one.of("latest-handshakes", &two.public_key), before, "the session went on");

    for to in ["10.99.0.2:7001", "[fd99::2]:7002"] {
        let stream = Stream::start(&hosts.0, &hosts.1, to.parse::<SocketAddr>().unwrap(), second);
        let (connecting, accepting) = stream.finish();
        assert_eq!((connecting.sent, accepting.sent), (accepting.received, connecting.received), "{to}");
    }
    // Both ends count whole datagrams, so what one has sent the other has received.
    let numbers = |interface: &Interface<'_>, peer| {
        let said = interface.of("transfer", peer);
        let mut words = said.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        (words.next().unwrap(), words.next().unwrap())
    };
    let (received, sent) = numbers(&one, &two.public_key);
    assert_eq!(numbers(&two, &one.public_key), (sent, received));
    assert!(sent > 100_000 && received > 100_000);
}

#[test]
fn the_mtu_may_change_while_packets_flow() {
    if !vestibule_tests::required("the_mtu_may_change_while_packets_flow") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-mtu"));
    let (one, two) = joined(&hosts, &directory);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
    for mtu in [1280, 1420, 9000] {
        for (host, interface) in [(&hosts.0, &one), (&hosts.1, &two)] {
            host.run("ip", &["link", "set", &interface.name, "mtu", &mtu.to_string()]);
            host.run("ip", &["link", "set", "wire0", "mtu", &(mtu + 80).to_string()]);
        }
        let size = (mtu - 28).to_string();
        hosts.0.run("ping", &["-n", "-c", "5", "-i", "0.05", "-W", "5", "-M", "do", "-s", &size, "10.99.0.2"]);
        let stream = Stream::start(&hosts.0, &hosts.1, "10.99.0.2:7001".parse().unwrap(), Duration::from_millis(500));
        let (connecting, accepting) = stream.finish();
        assert_eq!((connecting.sent, accepting.sent), (accepting.received, connecting.received), "MTU {mtu}");
    }
}

#[test]
fn others_notice_nothing_of_a_reconfiguration() {
    if !vestibule_tests::required("others_notice_nothing_of_a_reconfiguration") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-others"));
    let (one, two) = joined(&hosts, &directory);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
    let before = one.of("latest-handshakes", &two.public_key);

    let echoes = Pings::paced(&hosts.0, ip("10.99.0.2"), Duration::from_millis(5), Duration::from_secs(6));
    let end = Instant::now() + Duration::from_secs(5);
    let strangers: Vec<_> = (0..8).map(|_| Keys::generate().public).collect();
    let psk = secret_file(&directory, "psk", &preshared_key());
    let psk = psk.to_string_lossy();
    let mut rounds = 0;
    // Each call of `wg` is a process: a slow machine makes few rounds.
    while Instant::now() < end || rounds < 2 {
        for (number, stranger) in strangers.iter().enumerate() {
            let net = format!("10.{}.0.0/16", 100 + number);
            one.set(&["peer", stranger, "allowed-ips", &net, "endpoint", "192.0.2.2:9", "persistent-keepalive", "1"]);
            // The net of the one before moves here.
            let former = format!("10.{}.0.0/16,{net}", 99 + number.max(1));
            one.set(&["peer", stranger, "allowed-ips", &former, "preshared-key", &psk]);
        }
        one.set(&["fwmark", &format!("{}", rounds % 2)]);
        for stranger in &strangers {
            one.set(&["peer", stranger, "remove"]);
        }
        rounds += 1;
    }
    let echoes = echoes.finish();
    assert!(echoes.sent > 500 && echoes.missing.is_empty(), "{rounds} rounds: {echoes:?}");
    assert_eq!(one.of("latest-handshakes", &two.public_key), before);
}

#[test]
fn an_endpoint_follows_its_peer_to_another_address_and_port() {
    if !vestibule_tests::required("an_endpoint_follows_its_peer_to_another_address_and_port") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-roaming"));
    let (one, two) = joined(&hosts, &directory);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
    assert_eq!(one.of("endpoints", &two.public_key), "192.0.2.2:51820");
    two.set(&["listen-port", "40404"]);
    pings(&hosts.1, "10.99.0.1", Duration::from_millis(200));
    assert_eq!(one.of("endpoints", &two.public_key), "192.0.2.2:40404");
    hosts.1.run("ip", &["address", "add", "192.0.2.77/24", "dev", "wire0"]);
    hosts.1.run("ip", &["address", "delete", "192.0.2.2/24", "dev", "wire0"]);
    hosts.1.run("ip", &["address", "replace", "192.0.2.77/24", "dev", "wire0"]);
    pings(&hosts.1, "10.99.0.1", Duration::from_millis(200));
    assert_eq!(one.of("endpoints", &two.public_key), "192.0.2.77:40404");
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
}

#[test]
fn keys_change_while_packets_flow() {
    if !vestibule_tests::required("keys_change_while_packets_flow") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-keys"));
    let (one, two) = joined(&hosts, &directory);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));

    // A preshared key at one end: the session goes on. At both ends: the next handshake stands under it.
    let psk = secret_file(&directory, "psk", &preshared_key());
    one.set(&["peer", &two.public_key, "preshared-key", &psk.to_string_lossy()]);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
    two.set(&["peer", &one.public_key, "preshared-key", &psk.to_string_lossy()]);

    // A new private key: every session begins anew, under the preshared key.
    let keys = Keys::generate();
    let before = one.of("latest-handshakes", &two.public_key);
    std::thread::sleep(Duration::from_millis(1100));
    let inner = "10.99.0.0/24,fd99::/64";
    one.set(&["peer", &keys.public, "allowed-ips", inner, "preshared-key", &psk.to_string_lossy()]);
    one.set(&["peer", &keys.public, "endpoint", "192.0.2.2:51820"]);
    let file = keys.file(&directory, "new");
    two.set(&["private-key", &file.to_string_lossy()]);
    let lost = Pings::paced(&hosts.0, ip("10.99.0.2"), Duration::from_millis(10), Duration::from_secs(2)).finish();
    assert!(lost.missing.is_empty(), "{lost:?}");
    one.wait_for("latest-handshakes", &keys.public, |at| at != "0" && at != before);

    // With the wrong preshared key there is no further handshake.
    let wrong = secret_file(&directory, "wrong", &preshared_key());
    let fresh = Keys::generate();
    one.set(&["peer", &fresh.public, "allowed-ips", inner, "preshared-key", &wrong.to_string_lossy()]);
    one.set(&["peer", &fresh.public, "endpoint", "192.0.2.2:51820"]);
    two.set(&["private-key", &fresh.file(&directory, "fresh").to_string_lossy()]);
    let none = Pings::paced(&hosts.0, ip("10.99.0.2"), Duration::from_millis(100), Duration::from_secs(1)).finish();
    assert_eq!(none.missing.len() as u64, none.sent, "{none:?}");
    assert_eq!(one.of("latest-handshakes", &fresh.public), "0");
}

#[test]
fn a_daemon_is_ready_when_its_parent_returns_and_tidies_up_on_every_way_out() {
    if !vestibule_tests::required("a_daemon_is_ready_when_its_parent_returns_and_tidies_up_on_every_way_out") {
        return;
    }
    let host = Namespace::new();
    let name = unique_name();
    let soon = Duration::from_secs(5);
    let gone = || {
        wait_until("the end", soon, || daemon(&name).is_none());
        // Its command line is gone a moment before it is.
        wait_until("the socket's end", soon, || !socket(&name).exists());
        let left = host.command("ip").args(["link", "show", &name]).output().unwrap();
        assert!(!left.status.success(), "the interface is left");
    };

    let started = daemonise(&host, &name);
    assert!(started.status.success() && started.stdout.is_empty(), "{started:?}");
    assert_eq!(fs::metadata(socket(&name)).unwrap().permissions().mode() & 0o777, 0o600);
    host.run("wg", &["show", &name]);
    host.run("ip", &["link", "show", &name]);
    let pid = daemon(&name).expect("a daemon");
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = status.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "it leads a session of its own");
    for stream in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap(), Path::new("/dev/null"));
    }

    // A second one of that name says in one line why not, and leaves the first alone.
    let second = daemonise(&host, &name);
    assert!(!second.status.success() && said(&second).lines().count() == 1, "{second:?}");
    assert!(said(&second).starts_with("error: "), "{second:?}");
    host.run("wg", &["show", &name]);
    // One of that name in another namespace finds the socket taken, and takes its interface back.
    let elsewhere = Namespace::new();
    let second = daemonise(&elsewhere, &name);
    assert!(!second.status.success() && said(&second).contains("already listens"), "{second:?}");
    host.run("wg", &["show", &name]);

    host.run("ip", &["link", "delete", &name]);
    gone();
    for signal in ["-TERM", "-INT"] {
        assert!(daemonise(&host, &name).status.success());
        let pid = daemon(&name).expect("a daemon").to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        gone();
    }
    assert!(daemonise(&host, &name).status.success());
    fs::remove_file(socket(&name)).unwrap();
    gone();

    // SIGKILL leaves the socket's file, which is in nobody's way.
    assert!(daemonise(&host, &name).status.success());
    let pid = daemon(&name).expect("a daemon").to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    wait_until("the kill", soon, || daemon(&name).is_none());
    assert!(socket(&name).exists());
    assert!(daemonise(&host, &name).status.success());
    host.run("wg", &["show", &name]);
    host.run("ip", &["link", "delete", &name]);
    gone();
}

#[test]
fn wg_quick_brings_it_up_and_down() {
    if !vestibule_tests::required("wg_quick_brings_it_up_and_down") {
        return;
    }
    if Path::new("/sys/module/wireguard").exists() {
        eprintln!("left out: wg-quick takes the kernel's WireGuard on this machine");
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-quick"));
    let link = directory.join("vestibule-wireguard");
    symlink(vestibule_tests::vestibule(), &link).unwrap();
    let (near, far, psk) = (Keys::generate(), Keys::generate(), preshared_key());
    let quick = |host: &Namespace, action: &str, file: &Path| {
        let mut command = host.command("wg-quick");
        command.arg(action).arg(file).env("WG_QUICK_USERSPACE_IMPLEMENTATION", &link);
        let output = command.output().unwrap();
        assert!(output.status.success(), "wg-quick {action}: {}", said(&output));
    };
    let mut files = Vec::new();
    for (host, own, other, numbers) in [(&hosts.0, &near, &far, [1, 2]), (&hosts.1, &far, &near, [2, 1])] {
        let own_key = fs::read_to_string(own.file(&directory, &numbers[0].to_string())).unwrap();
        let text = format!(
            "[Interface]\nPrivateKey = {own_key}\nListenPort = 51820\nAddress = 10.99.{0}.1/24, fd99:{0}::1/64\nMTU = 1400\n\
             [Peer]\nPublicKey = {1}\nPresharedKey = {psk}\nEndpoint = 192.0.2.{2}:51820\n\
             AllowedIPs = 10.99.{2}.0/24, fd99:{2}::/64\nPersistentKeepalive = 1\n",
            numbers[0], other.public, numbers[1]
        );
        let name = unique_name();
        let file = secret_file(&directory, &name, &text);
        let conf = directory.join(format!("{name}.conf"));
        fs::rename(file, &conf).unwrap();
        quick(host, "up", &conf);
        files.push((name, conf));
    }
    pings(&hosts.0, "10.99.2.1", Duration::from_millis(500));
    pings(&hosts.1, "fd99:1::1", Duration::from_millis(500));
    for (host, (name, file)) in [&hosts.0, &hosts.1].into_iter().zip(&files) {
        quick(host, "down", file);
        wait_until("the end", Duration::from_secs(5), || !socket(name).exists());
    }
}

#[test]
fn ten_thousand_peers_are_configured_in_seconds() {
    if !vestibule_tests::required("ten_thousand_peers_are_configured_in_seconds") {
        return;
    }
    let (hosts, directory) = (hosts(), directory("wireguard-many"));
    let (one, two) = joined(&hosts, &directory);
    pings(&hosts.0, "10.99.0.2", Duration::from_millis(200));
    let before = one.of("latest-handshakes", &two.public_key);

    let mut text = hosts.0.run("wg", &["showconf", &one.name]);
    for number in 0..10_000_u32 {
        let mut key = [5; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key);
        let (high, low) = (number >> 8, number & 255);
        let _ = write!(
            text,
            "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.100.{high}.{low}/32, 10.{}.{low}.0/24, fd01::{number:x}/128\n",
            101 + high
        );
    }
    let file = directory.join("many.conf");
    fs::write(&file, text).unwrap();
    let file = file.to_string_lossy();
    let echoes = Pings::paced(&hosts.0, ip("10.99.0.2"), Duration::from_millis(10), Duration::from_secs(5));
    for (verb, limit) in [("syncconf", 10), ("setconf", 10)] {
        let start = Instant::now();
        hosts.0.run("wg", &[verb, &one.name, &file]);
        let took = start.elapsed();
        println!("wg {verb} of 10,000 peers: {took:?}");
        assert!(took < Duration::from_secs(limit), "wg {verb}: {took:?}");
    }
    let dump = hosts.0.run("wg", &["show", &one.name, "dump"]);
    assert_eq!(dump.lines().count(), 1 + 10_001);
    let echoes = echoes.finish();
    assert!(echoes.missing.is_empty(), "{echoes:?}");
    assert_eq!(one.of("latest-handshakes", &two.public_key), before, "its session went on");
}

#[test]
fn it_talks_with_wireguard_go_whoever_begins() {
    if !vestibule_tests::required("it_talks_with_wireguard_go_whoever_begins") {
        return;
    }
    for begins in [true, false] {
        let (hosts, directory) = (hosts(), directory(&format!("wireguard-interop-{begins}")));
        let interface = Interface::start(&hosts.0, &directory, 51820, &INSIDE[..1]);
        let keys = Keys::generate();
        let inner = "10.99.0.0/24";
        let mut words = vec!["peer", &keys.public, "allowed-ips", inner];
        if begins {
            words.extend(["endpoint", "192.0.2.2:51821"]);
        }
        interface.set(&words);
        let remote = Remote {
            public_key: &interface.public_key,
            endpoint: (!begins).then_some("192.0.2.1:51820"),
            allowed: "10.99.0.1/32",
        };
        let peer =
            Peer::start(Implementation::WireguardGo, &hosts.1, &directory, &keys, 51821, "10.99.0.2/32", &remote);
        let from = if begins { (&hosts.0, "10.99.0.2") } else { (&hosts.1, "10.99.0.1") };
        let echoes = Pings::paced(from.0, ip(from.1), Duration::from_millis(20), Duration::from_secs(1)).finish();
        assert!(echoes.missing.is_empty(), "vestibule begins: {begins}: {echoes:?}\n{}", peer.said());
        let stream = Stream::start(&hosts.0, &hosts.1, "10.99.0.2:7001".parse().unwrap(), Duration::from_secs(1));
        let (connecting, accepting) = stream.finish();
        assert_eq!((connecting.sent, accepting.sent), (accepting.received, connecting.received));
    }
}
