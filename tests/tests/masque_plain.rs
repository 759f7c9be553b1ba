//! `vestibule masque connect` and `vestibule masque listen` between network namespaces.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use vestibule_tests::netns::Namespace;
use vestibule_tests::plain::{LIMIT, PROXY, TOKEN, Verb, World, foreign_gateway, is_clean, large_pings, pings, tcp};
use vestibule_tests::process::wrapped;

#[test]
fn our_ends_carry_everything_and_leave_nothing() {
    if !vestibule_tests::required("our_ends_carry_everything_and_leave_nothing") {
        return;
    }
    let mut world = World::new("masque-plain");
    let token = world.file("token");
    let pools = ["--addresses", "10.89.0.0/24", "--addresses", "fd89::/64"];
    let mut listen = world.listen(&[&["--bearer-file", &token][..], &pools].concat());
    let mut connect = world.connect(&["--bearer-file", &token], "connect.log");
    let up = connect.is_up();
    assert_eq!(up["addresses"], serde_json::json!(["10.89.0.2/32", "fd89::2/128"]));
    assert_eq!(up["routes"], serde_json::json!(["0.0.0.0/0", "::/0"]), "all of it, and yet the tunnel stands");

    for (from, to) in [(&world.client, ["10.89.0.1", "fd89::1"]), (&world.proxy, ["10.89.0.2", "fd89::2"])] {
        to.iter().for_each(|to| pings(from, to));
        to.iter().for_each(|to| large_pings(from, to));
    }
    tcp(&world.client, &world.proxy, "10.89.0.1:7001");
    tcp(&world.proxy, &world.client, "10.89.0.2:7002");
    tcp(&world.client, &world.proxy, "[fd89::1]:7003");

    // A second one by the same proof takes the first one's place, at once; here the first is gone without a word.
    connect.0.kill();
    assert!(!world.client.run("ip", &["-o", "link", "show"]).contains("masque"), "the interface went with its process");
    let mut connect = world.connect(&["--bearer-file", &token, "--route", "10.89.0.0/24"], "again.log");
    let up = connect.is_up();
    assert_eq!(up["routes"], serde_json::json!(["10.89.0.0/24"]));
    pings(&world.client, "10.89.0.1");
    assert!(connect.0.stop(), "{}", connect.0.said());
    listen.tells("the end", 1, |event| event["event"] == "lost" && event["reason"] == "closed by the client");
    assert!(listen.0.stop(), "{}", listen.0.said());
    assert!(is_clean(&world.client) && is_clean(&world.proxy));
    let all = [&connect, &listen].map(|verb| verb.0.said()).concat();
    assert!(!all.contains(TOKEN), "a secret in what was told");
}

#[test]
fn a_wrong_token_ends_in_one_line() {
    if !vestibule_tests::required("a_wrong_token_ends_in_one_line") {
        return;
    }
    let mut world = World::new("masque-refused");
    let (token, wrong) = (world.file("token"), world.file("wrong"));
    let _listen = world.listen(&["--bearer-file", &token]);
    let refused = |words: &[&str], reason: &str| {
        let mut command = wrapped(&world.client, &[]);
        command.args(["masque", "connect", PROXY]).args(words);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(reason), "{said}");
        assert!(!said.contains("barley"), "{said}");
    };
    refused(&["--pin", &world.pin, "--bearer-file", &wrong], "the proxy answered 401");
    refused(&["--pin", &world.pin], "the proxy answered 401");
    refused(&["--pin", &"ab".repeat(32), "--bearer-file", &token], "TLS failed");
    refused(&["--pin", &world.pin, "--bearer-file", "/nowhere"], "cannot read /nowhere");
    assert!(is_clean(&world.client));
}

#[test]
fn a_lost_tunnel_is_made_anew_under_the_same_interface() {
    if !vestibule_tests::required("a_lost_tunnel_is_made_anew_under_the_same_interface") {
        return;
    }
    let mut world = World::new("masque-again");
    let token = world.file("token");
    let _identity = vestibule_tests::masque::identity(&world.room, "proxy");
    let (certificate, key) = (world.file("proxy.pem"), world.file("proxy.key"));
    let words = ["--bearer-file", &token, "--certificate", &certificate, "--key", &key];
    let mut listen = world.listen(&words);
    let mut connect = world.connect(&["--bearer-file", &token], "connect.log");
    connect.is_up();
    let index = || link_number(&world.client);
    let before = index();
    assert!(listen.0.stop(), "{}", listen.0.said());
    connect.tells("the loss", 1, |event| event["event"] == "lost");
    let _listen = {
        let words = [&["listen", "--listen", "192.0.2.1:4433"], &words[..]].concat();
        Verb::start(&world.proxy, &words, world.room.0.join("listen-again.log"))
    };
    connect.tells("another tunnel", 2, |event| event["event"] == "opened");
    pings(&world.client, "10.89.0.1");
    assert_eq!(index(), before, "the interface stayed");
}

/// The interface's line, with its number.
fn link_number(host: &Namespace) -> String {
    let lines = host.run("ip", &["-o", "link", "show", "dev", "masque0"]);
    lines.split(':').next().unwrap_or_default().to_owned()
}

/// The same bytes by both kinds of proxies, by address, and a clear answer where there is nobody.
#[test]
fn proxies_carry_transfers_without_an_interface() {
    if !vestibule_tests::required("proxies_carry_transfers_without_an_interface") {
        return;
    }
    let mut world = World::new("masque-proxies");
    let token = world.file("token");
    let _listen = world.listen(&["--bearer-file", &token]);
    let words = ["--bearer-file", &token, "--socks", "127.0.0.1:1080", "--http-proxy", "127.0.0.1:8080"];
    let mut connect = world.connect(&words, "proxies.log");
    connect.tells("the proxies", 1, |event| event["event"] == "proxies");
    assert!(is_clean(&world.client), "no interface");

    let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(world.room.0.join("large"), &bytes).unwrap();
    let mut web = world.proxy.command("python3");
    web.args(["-m", "http.server", "--bind", "10.89.0.1", "8000", "--directory"]).arg(&world.room.0);
    let mut web = world.proxy.start(web, world.room.0.join("web.log"));
    let got = world.room.0.join("got");
    let curl = |proxy: &str, url: &str| {
        let mut curl = world.client.command("curl");
        curl.args(["-sS", "--max-time", "60", "--proxytunnel", "--proxy", proxy, "-o"]).arg(&got).arg(url);
        curl.output().unwrap()
    };
    let url = "http://10.89.0.1:8000/large";
    web.wait_for("the web server", LIMIT, || curl("http://127.0.0.1:8080", url).status.success().then_some(()));
    for proxy in ["http://127.0.0.1:8080", "socks5h://127.0.0.1:1080"] {
        let _ = fs::remove_file(&got);
        let output = curl(proxy, url);
        assert!(output.status.success(), "{proxy}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&got).unwrap() == bytes, "{proxy}");
        assert!(!curl(proxy, "http://10.89.0.1:9/").status.success(), "{proxy}: nobody listens there");
    }
    let mut named = world.client.command("curl");
    named.args([
        "-sS",
        "-v",
        "--max-time",
        "60",
        "--proxytunnel",
        "--proxy",
        "http://127.0.0.1:8080",
        "http://a.example/",
    ]);
    let said = named.output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("502"), "a name without --dns is refused");
    assert!(connect.0.stop(), "{}", connect.0.said());
}

#[test]
fn an_aioquic_gateway_serves_our_verb() {
    if vestibule_tests::required("an_aioquic_gateway_serves_our_verb") {
        let python = root().join("../target/aioquic/venv/bin/python3").display().to_string();
        let script = vestibule_tests::masque::script("aioquic_peer.py").display().to_string();
        foreign_gateway("masque-aioquic", &[&python, "-B", &script, "server"], &[]);
    }
}

#[test]
fn a_go_gateway_serves_our_verb() {
    if vestibule_tests::required("a_go_gateway_serves_our_verb") {
        foreign_gateway(
            "masque-go",
            &[&root().join("../target/peers/bin/masque-go").display().to_string(), "server"],
            &[],
        );
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
