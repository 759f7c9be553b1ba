//! Who `vestibule masque listen` lets in, what they may reach, and clients that others wrote.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use vestibule_engine::masque::session::tls::{key_id, public_key};
use vestibule_tests::masque::{identity, script};
use vestibule_tests::netns::Namespace;
use vestibule_tests::plain::{LIMIT, PROXY, Verb, World, block, is_clean, pings, refused, tcp};
use vestibule_tests::process::Process;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A certificate as `NAME.pem` and `NAME.key`, and its key's name.
fn certificate(world: &World, name: &str) -> String {
    let own = identity(&world.room, name);
    key_id(&public_key(&own.chain[0]).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a client that is not let in is told.
fn told(world: &World, words: &[&str]) -> String {
    let output = refused(&world.client, &[&[PROXY, "--pin", &world.pin], words].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// A helper that says `ready`.
fn helper(namespace: &Namespace, room: &Path, words: &[&str]) -> Process {
    let mut command = namespace.command("python3");
    command.arg("-B").args(words);
    let mut process = namespace.start(command, room.join("helper.log"));
    let log = process.log().to_owned();
    process.wait_for("the helper", LIMIT, || fs::read_to_string(&log).unwrap().contains("ready").then_some(()));
    process
}

#[test]
fn users_keys_and_guests_are_let_in_and_nobody_else() {
    if !vestibule_tests::required("users_keys_and_guests_are_let_in_and_nobody_else") {
        return;
    }
    let mut world = World::new("masque-admission");
    fs::write(world.room.0.join("users"), "alice:wonder:land\nbob:hush\n").unwrap();
    fs::write(world.room.0.join("alice"), "alice:wonder:land\n").unwrap();
    fs::write(world.room.0.join("mallory"), "alice:hush\n").unwrap();
    let (users, alice, mallory) = (world.file("users"), world.file("alice"), world.file("mallory"));
    let known = certificate(&world, "known");
    let [pem, key] = ["known.pem", "known.key"].map(|name| world.file(name));
    certificate(&world, "unknown");
    let [other_pem, other_key] = ["unknown.pem", "unknown.key"].map(|name| world.file(name));

    let mut listen = world.listen(&["--basic-file", &users, "--client-key", &known]);
    for http in ["3", "2"] {
        let mut connect = world.connect(&["--basic-file", &alice, "--http", http], "alice.log");
        assert_eq!(connect.is_up()["addresses"], json!(["10.89.0.2/32"]), "the first user");
        pings(&world.client, "10.89.0.1");
        assert!(connect.0.stop(), "{}", connect.0.said());
        let mut connect = world.connect(&["--certificate", &pem, "--key", &key, "--http", http], "key.log");
        assert_eq!(connect.is_up()["addresses"], json!(["10.89.0.4/32"]), "behind both users");
        pings(&world.client, "10.89.0.1");
        assert!(connect.0.stop(), "{}", connect.0.said());
        assert!(told(&world, &["--basic-file", &mallory, "--http", http]).contains("the proxy answered 401"));
        let words = ["--certificate", &other_pem, "--key", &other_key, "--http", http];
        assert!(told(&world, &words).contains("the proxy answered 401"));
    }
    assert!(listen.0.stop(), "{}", listen.0.said());

    let mut listen = world.listen(&["--client-key", &known]);
    assert!(told(&world, &[]).contains("the proxy answered 403"));
    assert!(listen.0.stop(), "{}", listen.0.said());

    // One guest at a time: the next one waits.
    let _listen = world.listen(&["--no-auth", "1"]);
    let mut first = world.connect(&[], "first.log");
    first.is_up();
    let mut second = world.connect(&["--interface", "masque1"], "second.log");
    second.tells("no place", 1, |event| {
        event["event"] == "lost" && event["reason"].as_str().is_some_and(|reason| reason.contains("answered 503"))
    });
    assert!(first.0.stop(), "{}", first.0.said());
    second.is_up();
    pings(&world.client, "10.89.0.1");
    assert!(second.0.stop(), "{}", second.0.said());
    assert!(is_clean(&world.client));
}

#[test]
fn clients_reach_what_they_ask_for_behind_the_proxy() {
    if !vestibule_tests::required("clients_reach_what_they_ask_for_behind_the_proxy") {
        return;
    }
    let mut world = World::new("masque-forward");
    let inside = Namespace::new();
    world.proxy.join_by("inside0", "10.50.0.1/24", &inside, "10.50.0.2/24");
    inside.run("ip", &["route", "add", "10.89.0.0/24", "via", "10.50.0.1"]);
    let token = world.file("token");
    let forwards = |world: &World| world.proxy.run("cat", &["/proc/sys/net/ipv4/ip_forward"]).trim().to_owned();

    let mut listen = world.listen(&["--bearer-file", &token]);
    let before = forwards(&world);
    let mut connect = world.connect(&["--bearer-file", &token, "--route", "10.50.0.0/24"], "no-forward.log");
    connect.is_up();
    let mut ping = world.client.command("ping");
    assert!(!ping.args(["-c", "2", "-i", "0.2", "-W", "1", "10.50.0.2"]).output().unwrap().status.success());
    assert!(connect.0.stop() && listen.0.stop());

    let mut listen = world.listen(&["--bearer-file", &token, "--forward", "--routes", "10.50.0.0/16"]);
    assert_eq!(forwards(&world), "1");
    let words = ["--bearer-file", &token, "--target", "10.50.0.0/24", "--ipproto", "17"];
    let mut connect = world.connect(&words, "udp.log");
    assert_eq!(connect.is_up()["routes"], json!(["10.50.0.0/24"]));
    // ICMP is part of every scope; TCP is not of this one, and the answer is a clear one.
    pings(&world.client, "10.50.0.2");
    let mut nc = world.client.command("nc");
    let output = nc.args(["-v", "-n", "-w", "30", "10.50.0.2", "7000"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.contains("timed out"), "{said}");
    assert!(connect.0.stop(), "{}", connect.0.said());

    let words = ["--bearer-file", &token, "--target", "10.50.0.0/24", "--ipproto", "6", "--http", "2"];
    let mut connect = world.connect(&words, "tcp.log");
    connect.is_up();
    tcp(&world.client, &inside, "10.50.0.2:7001");
    assert!(connect.0.stop(), "{}", connect.0.said());
    let mut connect = world.connect(&["--bearer-file", &token, "--target", "10.51.0.0/24"], "elsewhere.log");
    connect.tells("nothing of it", 1, |event| event["event"] == "routes" && event["routes"] == json!([]));
    assert!(connect.0.stop() && listen.0.stop());
    assert_eq!(forwards(&world), before, "it is as it was");
    assert!(is_clean(&world.client) && is_clean(&world.proxy));
}

/// U8, U9: the proxy resolves, over both versions of HTTP, and routes all addresses that it finds.
#[test]
fn u8_u9_a_name_as_target_is_resolved_by_the_proxy() {
    if !vestibule_tests::required("u8_u9_a_name_as_target_is_resolved_by_the_proxy") {
        return;
    }
    let mut world = World::new("masque-names");
    let hosts = world.proxy.resolve_by("# no name servers\n").with_file_name("hosts");
    fs::write(hosts, "10.99.0.1 inner.example\n10.99.0.2 inner.example\nfd99::1 inner.example\n").unwrap();
    for address in ["10.99.0.1/32", "10.99.0.2/32"] {
        world.proxy.run("ip", &["address", "add", address, "dev", "lo"]);
    }
    let (token, wrong) = (world.file("token"), world.file("wrong"));
    let _listen = world.listen(&["--bearer-file", &token]);
    for http in ["3", "2"] {
        let named =
            |name: &str, log: &str| world.connect(&["--bearer-file", &token, "--http", http, "--target", name], log);
        let mut connect = named("inner.example", "named.log");
        assert_eq!(connect.is_up()["routes"], json!(["10.99.0.1/32", "10.99.0.2/32"]), "of the IP version it has");
        pings(&world.client, "10.99.0.1");
        pings(&world.client, "10.99.0.2");
        assert!(connect.0.stop(), "{}", connect.0.said());

        let mut connect = named("nowhere.example", "nowhere.log");
        connect.tells("the reason", 1, |event| {
            let reason = event["reason"].as_str().unwrap_or_default();
            event["event"] == "lost" && reason.contains("answered 502") && reason.contains("error=dns_error")
        });
        assert!(connect.0.stop(), "{}", connect.0.said());
        let words = ["--bearer-file", &wrong, "--http", http, "--target", "inner.example"];
        assert!(told(&world, &words).contains("the proxy answered 401"), "nothing is resolved for strangers");
    }
}

#[test]
fn proxies_resolve_names_inside_the_tunnel() {
    if !vestibule_tests::required("proxies_resolve_names_inside_the_tunnel") {
        return;
    }
    let mut world = World::new("masque-dns");
    let token = world.file("token");
    let _listen = world.listen(&["--bearer-file", &token]);
    let words = ["--bearer-file", &token, "--socks", "127.0.0.1:1080", "--dns", "10.89.0.1"];
    let mut connect = world.connect(&words, "dns.log");
    connect.tells("the proxy", 1, |event| event["event"] == "proxies");
    let server = script("dns.py").display().to_string();
    let _dns = helper(&world.proxy, &world.room.0, &[&server, "10.89.0.1", "inner.example", "10.89.0.1"]);
    fs::write(world.room.0.join("page"), "found by its name").unwrap();
    let mut web = world.proxy.command("python3");
    web.args(["-m", "http.server", "--bind", "10.89.0.1", "8000", "--directory"]).arg(&world.room.0);
    let mut web = world.proxy.start(web, world.room.0.join("web.log"));
    let curl = |url: &str| {
        let mut curl = world.client.command("curl");
        curl.args(["-sS", "--max-time", "60", "--proxy", "socks5h://127.0.0.1:1080", url]).output().unwrap()
    };
    let page = web.wait_for("the web server", LIMIT, || {
        let output = curl("http://inner.example:8000/page");
        output.status.success().then_some(output.stdout)
    });
    assert_eq!(page, b"found by its name");
    let output = curl("http://nowhere.example:8000/page");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.contains("timed out"), "{said}");
    assert!(connect.0.stop(), "{}", connect.0.said());
}

/// A server with several addresses, of which the first is silent.
#[test]
fn a_silent_address_is_left_for_the_next_one() {
    if !vestibule_tests::required("a_silent_address_is_left_for_the_next_one") {
        return;
    }
    let mut world = World::new("masque-places");
    let token = world.file("token");
    let hosts = world.client.resolve_by("# no name servers\n").with_file_name("hosts");
    fs::write(hosts, "192.0.2.3 proxy.example\n192.0.2.1 proxy.example\n").unwrap();
    world.proxy.run("ip", &["address", "add", "192.0.2.3/24", "dev", "wire0"]);
    block(&world.client, "192.0.2.3", "4433", true);
    let _listen = world.listen(&["--bearer-file", &token]);
    let url = "https://proxy.example:4433";
    let words = ["connect", url, "--pin", &world.pin, "--bearer-file", &token, "--http", "3"];
    let mut connect = Verb::start(&world.client, &words, world.room.0.join("connect.log"));
    // The system names this one first: it is nearer to ours (RFC 6724 rule 9).
    connect.tells("the first", 1, |event| event["event"] == "connecting" && event["address"] == "192.0.2.3:4433");
    connect.tells("the tunnel", 1, |event| event["event"] == "opened" && event["endpoint"] == "192.0.2.1:4433");
    connect.is_up();
    pings(&world.client, "10.89.0.1");
    assert!(connect.0.stop(), "{}", connect.0.said());
}

/// A client that others wrote, whose packets are an interface's.
fn foreign_client(test: &str, program: &[&str], proof: impl Fn(&World) -> Vec<String>) {
    let mut world = World::new(test);
    let proof = proof(&world);
    let mut listen = world.listen(&proof.iter().map(String::as_str).collect::<Vec<_>>());
    let mut command = world.client.command(program[0]);
    command.args(&program[1..]).args(["interface", "192.0.2.1", "4433"]).arg(&world.room.0);
    let mut peer = world.client.start(command, world.room.0.join("peer.log"));
    let log = peer.log().to_owned();
    peer.wait_for("the tunnel", LIMIT, || {
        fs::read_to_string(&log).unwrap().contains("address 10.89.0.2\n").then_some(())
    });
    listen.tells("the client", 1, |event: &Value| event["event"] == "opened" && event["http"] == 3);
    pings(&world.client, "10.89.0.1");
    pings(&world.proxy, "10.89.0.2");
    tcp(&world.client, &world.proxy, "10.89.0.1:7001");
    tcp(&world.proxy, &world.client, "10.89.0.2:7002");
    peer.kill();
    assert!(listen.0.stop(), "{}", listen.0.said());
    assert!(is_clean(&world.proxy));
}

#[test]
fn an_aioquic_client_carries_pings_and_transfers_through_our_verb() {
    if vestibule_tests::required("an_aioquic_client_carries_pings_and_transfers_through_our_verb") {
        let python = root().join("../target/aioquic/venv/bin/python3").display().to_string();
        let peer = script("aioquic_peer.py").display().to_string();
        foreign_client("masque-from-aioquic", &[&python, "-B", &peer], |world| {
            certificate(world, "client");
            vec!["--no-auth".to_owned(), "1".to_owned()]
        });
    }
}

#[test]
fn a_go_client_carries_pings_and_transfers_through_our_verb() {
    if vestibule_tests::required("a_go_client_carries_pings_and_transfers_through_our_verb") {
        let peer = root().join("../target/peers/bin/masque-go").display().to_string();
        foreign_client("masque-from-go", &[&peer], |world| {
            vec!["--client-key".to_owned(), certificate(world, "client")]
        });
    }
}
