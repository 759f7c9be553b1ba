//! A machine of a Windows domain, its controller behind a gateway: what a domain does before login works over the tunnel,
//! and nothing of it notices that the tunnel's identity changes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::{DnsState, State, Status};
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::domain::{CONTROLLER, Client, Controller, DOMAIN};
use vestibule_tests::house::{GATEWAY, House, Room};
use vestibule_tests::login::sign_in;
use vestibule_tests::netns::Namespace;

const LIMIT: Duration = Duration::from_secs(30);
const EMAIL: &str = "alice@mycompany.example";
const PASSWORD: &str = "correct horse battery staple";
const NON_IDENTITY: &str = "non_identity@mycompany.cloudflareaccess.com";
/// A domain whose name server is the vault.
const CLOSED: &str = "vault.example";
/// The domain controller, a web server for everybody who works here, and one for nobody.
const DIRECTORY: &str = "10.20.0.10";
const WEB: &str = "10.20.0.80";
const VAULT: &str = "10.20.0.90";
/// Swaps under the open file, after the first login.
const SWAPS: usize = 6;

/// The intranet: a host with the addresses of all its servers, behind the gateway.
fn intranet(inside: &Namespace) -> Namespace {
    let intranet = Namespace::new();
    inside.join_by("intranet0", "10.20.0.1/24", &intranet, &format!("{DIRECTORY}/24"));
    for server in [WEB, VAULT] {
        intranet.run("ip", &["address", "add", &format!("{server}/24"), "dev", "intranet0"]);
        let address = format!("{server}:80").parse::<SocketAddr>().unwrap();
        let listening = intranet.thread(move || TcpListener::bind(address)).join().unwrap().unwrap();
        // Ends with the test's process.
        thread::spawn(move || listening.incoming().for_each(drop));
    }
    intranet.run("ip", &["route", "add", "default", "via", "10.20.0.1"]);
    intranet
}

/// The rules of the administrator's walkthrough: controllers before login, the intranet for staff, the vault for nobody.
fn rules(house: &House) {
    let make = |path: &str, body| house.admin.call(Method::POST, path, Some(body))["id"].as_str().unwrap().to_owned();
    let servers = json!({ "name": "Domain controllers", "type": "IP", "items": [{ "value": DIRECTORY }] });
    let servers = make("gateway/lists", servers);
    let before_login = format!("identity.email in {{\"{NON_IDENTITY}\"}}");
    let staff = format!("identity.email in {{\"{EMAIL}\"}}");
    for (name, precedence, action, traffic, identity) in [
        ("Vault", 500, "block", format!("net.dst.ip in {{{VAULT}}}"), ""),
        ("Domain controllers before login", 1000, "allow", format!("net.dst.ip in ${servers}"), &before_login),
        ("Intranet for staff", 2000, "allow", "net.dst.ip in {10.20.0.0/24}".to_owned(), &staff),
    ] {
        let rule = json!({
            "name": name, "precedence": precedence, "action": action, "traffic": traffic, "identity": identity,
        });
        make("gateway/rules", rule);
    }
}

/// The profile: the domain's names come from its controller, and another domain's from a server that nobody may reach.
fn fallback_domains(house: &House) {
    let domains = json!([
        { "suffix": DOMAIN, "dns_server": [DIRECTORY] },
        { "suffix": CLOSED, "dns_server": [VAULT] },
    ]);
    let _ = house.admin.call(Method::PUT, "devices/policy/fallback_domains", Some(domains));
}

/// The network's own name server, outside of the tunnel: it knows no name, and tells which it was asked for.
fn name_server(inside: &Namespace) -> Receiver<String> {
    let (seen, names) = channel();
    let socket = inside.thread(|| UdpSocket::bind((GATEWAY, 53))).join().unwrap().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let labels = String::from_utf8_lossy(&buffer[12..length]).to_lowercase();
            let _ = seen.send(labels);
            // The same, as a response: no such name.
            buffer[2] |= 0x80;
            buffer[3] = 0x83;
            let _ = socket.send_to(&buffer[..length], client);
        }
    });
    names
}

/// What a program on the device meets at a server's web port, and how soon.
fn knock(outside: &Namespace, server: &str) -> (Result<(), ErrorKind>, Duration) {
    let address = format!("{server}:80").parse::<SocketAddr>().unwrap();
    let knock = move || {
        let began = Instant::now();
        let met = TcpStream::connect_timeout(&address, Duration::from_secs(3));
        (met.map(drop).map_err(|error| error.kind()), began.elapsed())
    };
    outside.thread(knock).join().unwrap()
}

/// Refused, and told so at once.
fn assert_refused(outside: &Namespace, server: &str) {
    let (met, after) = knock(outside, server);
    assert_eq!(met, Err(ErrorKind::ConnectionRefused), "{server}:80");
    assert!(after < Duration::from_millis(500), "{server}:80: refused after {after:?}");
}

/// A datagram to `server` is answered by a refusal.
fn assert_datagram_refused(outside: &Namespace, server: &str) {
    let address = format!("{server}:53").parse::<SocketAddr>().unwrap();
    let send = move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send(b"anyone?")?;
        socket.recv(&mut [0; 64])
    };
    let met = outside.thread(send).join().unwrap().map_err(|error| error.kind());
    assert!(matches!(met, Err(ErrorKind::HostUnreachable | ErrorKind::PermissionDenied)), "{server}: {met:?}");
}

fn connected_as<'a>(email: &'a str) -> impl Fn(&Status) -> bool + 'a {
    move |status| status.state == State::Connected && status.identity.as_deref() == Some(email)
}

/// The device's end of the SMB connection, as the controller's host sees it.
fn smb_peers(intranet: &Namespace) -> Vec<String> {
    let connections = intranet.run("ss", &["-Htn", "state", "established", "sport", "=", ":445"]);
    connections.lines().filter_map(|line| Some(line.split_whitespace().nth(3)?.to_owned())).collect()
}

#[test]
fn a_domain_works_before_login_and_does_not_notice_the_swap() {
    if !vestibule_tests::required("a_domain_works_before_login_and_does_not_notice_the_swap") {
        return;
    }
    let house = House::with(Room::new("directory"), &[], &["--route", "10.20.0.0/24"]);
    let intranet = intranet(&house.inside);
    let controller = Controller::start(&intranet, &house.room.0, DIRECTORY.parse().unwrap());
    let token = house.admin.token("Devices", "1h");
    house.admin.user(EMAIL, PASSWORD);
    rules(&house);
    fallback_domains(&house);
    let asked_outside = name_server(&house.inside);
    let former = format!("# by hand\nnameserver {GATEWAY}\nsearch office.example\noptions timeout:1\n");
    let resolv_conf = house.outside.resolve_by(&former);
    let client = Client::new(&house.outside, &house.room);
    assert!(client.services(&format!("_ldap._tcp.{DOMAIN}")).is_err(), "the controller is known without the tunnel");
    assert_ne!(asked_outside.try_iter().count(), 0, "the network's name server was not asked");

    // At the login screen: nobody has logged in.
    house.paths.deploy(mdm(&token).replacen("<dict>\n", "<dict>\n  <key>multi_user</key>\n  <true/>\n", 1));
    let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let before = device.until("connected before login", LIMIT, connected_as(NON_IDENTITY));
    device.until("names of the domain", LIMIT, |status| status.dns.state == DnsState::On);
    for service in ["_ldap._tcp.dc._msdcs", "_kerberos._udp", "_kerberos._tcp"] {
        let found = client.services(&format!("{service}.{DOMAIN}")).unwrap();
        assert!(matches!(&found[..], [one] if one.contains(CONTROLLER)), "{service}: {found:?}");
    }
    let refused = client.services(&format!("_ldap._tcp.{CLOSED}")).unwrap_err();
    assert!(!refused.contains("Timeout"), "a refused question is not answered: {refused}");
    assert_eq!(asked_outside.try_iter().collect::<Vec<_>>(), [""; 0], "names of the domains left the tunnel");
    assert!(client.services("_ldap._tcp.elsewhere.example").is_err());
    assert!(asked_outside.try_iter().any(|name| name.contains("elsewhere")), "everything else goes where it went");
    client.kinit().unwrap();
    let listed = client.share("sysvol", "ls").unwrap();
    assert!(listed.contains(DOMAIN), "sysvol: {listed}");
    for server in [WEB, VAULT] {
        assert_refused(&house.outside, server);
    }
    assert_datagram_refused(&house.outside, WEB);

    // A file is opened, and stays open while she logs in, logs off and on again.
    let mut file = client.open_file("report.txt");
    file.more(50);
    let connection = smb_peers(&intranet);
    assert_eq!(connection.len(), 1, "{connection:?}");
    house.paths.session("logon alice 1").unwrap();
    let prompting = device.until("the address to sign in at", LIMIT, |status| status.auth_url.is_some());
    sign_in(&house.outside, &house.gateway, &prompting.auth_url.unwrap(), EMAIL, PASSWORD);
    let user = device.until("connected as the user", LIMIT, connected_as(EMAIL));
    assert_eq!(user.addresses, before.addresses, "the inner address changed at the login");
    file.more(50);
    for swap in 0..SWAPS {
        let (event, identity) = [("logoff 1", NON_IDENTITY), ("logon alice 1", EMAIL)][swap % 2];
        house.paths.session(event).unwrap();
        device.until(event, LIMIT, connected_as(identity));
        file.more(20);
    }
    assert_eq!(smb_peers(&intranet), connection, "the file's connection is not the one that was opened");

    // As herself: Kerberos goes on with the ticket from before, the web server is open, the vault is not.
    client.ticket_for(&format!("host/{CONTROLLER}")).unwrap();
    let written = client.share("staff", "allinfo report.txt").unwrap();
    assert!(written.contains("write_time"), "{written}");
    assert_eq!(knock(&house.outside, WEB).0, Ok(()), "staff may reach the web server");
    assert_refused(&house.outside, VAULT);

    let operations = file.close();
    let slowest = operations.iter().max().unwrap();
    println!("{} writes and reads of the open file, the slowest in {slowest:?}, {} swaps", operations.len(), SWAPS + 1);
    let content = std::fs::read_to_string(controller.file("report.txt")).unwrap();
    let records: Vec<usize> = content.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(records, (0..operations.len()).collect::<Vec<_>>(), "what lies on the controller's disk");

    // The system's resolvers: as they were after an end, also after one by SIGKILL and a start in between.
    let text = || std::fs::read_to_string(&resolv_conf).unwrap();
    assert!(text().contains("nameserver 127.0.2.2\nsearch office.example\noptions timeout:1\n"), "{}", text());
    device.kill();
    assert_ne!(text(), former);
    let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    device.until("names of the domain again", LIMIT, |status| status.dns.state == DnsState::On);
    client.services(&format!("_ldap._tcp.{DOMAIN}")).unwrap();
    assert!(device.stop(), "SIGTERM: {}", device.said());
    assert_eq!(text(), former);
}
