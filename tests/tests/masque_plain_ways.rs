//! The plain verbs over both versions of HTTP: by wish, where UDP is blocked, and with Node's HTTP/2 at the other end.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::thread::sleep;
use std::time::Duration;
use vestibule_tests::load::Transfer;
use vestibule_tests::masque::{identity, key_name, script};
use vestibule_tests::plain::{PROXY, World, block, foreign_gateway, is_clean, large_pings, pings, refused, tcp};

fn opened(http: u8) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "opened" && event["http"] == http
}

#[test]
fn over_http2_alone_our_ends_carry_everything() {
    if !vestibule_tests::required("over_http2_alone_our_ends_carry_everything") {
        return;
    }
    let mut world = World::new("masque-http2");
    let (token, wrong) = (world.file("token"), world.file("wrong"));
    let pools = ["--addresses", "10.89.0.0/24", "--addresses", "fd89::/64"];
    let mut listen = world.listen(&[&["--bearer-file", &token, "--http", "2"][..], &pools].concat());
    let mut connect = world.connect(&["--bearer-file", &token, "--http", "2"], "connect.log");
    let up = connect.is_up();
    assert_eq!(up["addresses"], serde_json::json!(["10.89.0.2/32", "fd89::2/128"]));
    connect.tells("the tunnel", 1, opened(2));
    for to in ["10.89.0.1", "fd89::1"] {
        pings(&world.client, to);
        large_pings(&world.client, to);
    }
    tcp(&world.client, &world.proxy, "10.89.0.1:7001");
    tcp(&world.proxy, &world.client, "10.89.0.2:7002");
    assert!(connect.0.stop(), "{}", connect.0.said());
    listen.tells("the end", 1, |event| event["event"] == "lost" && event["reason"] == "closed by the client");

    // What is refused over HTTP/2 is told as over HTTP/3.
    for (words, told) in [
        (&["--http", "2", "--pin", &world.pin, "--bearer-file", &wrong][..], "the proxy answered 401"),
        (&["--http", "2", "--pin", &"ab".repeat(32), "--bearer-file", &token], "TLS failed"),
    ] {
        let output = refused(&world.client, &[&[PROXY], words].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(told), "{said}");
    }
    assert!(listen.0.stop(), "{}", listen.0.said());
    assert!(is_clean(&world.client) && is_clean(&world.proxy));
}

/// From the beginning, and in the middle of a transfer.
#[test]
fn where_udp_is_blocked_the_plain_tunnel_travels_over_http2() {
    if !vestibule_tests::required("where_udp_is_blocked_the_plain_tunnel_travels_over_http2") {
        return;
    }
    let mut world = World::new("masque-blocked");
    let token = world.file("token");
    let mut listen = world.listen(&["--bearer-file", &token]);
    assert!(listen.0.said().contains("\"http\":[3,2]"), "{}", listen.0.said());
    block(&world.client, "192.0.2.1", "4433", true);
    let mut connect = world.connect(&["--bearer-file", &token], "blocked.log");
    connect.is_up();
    connect.tells("the tunnel", 1, opened(2));
    pings(&world.client, "10.89.0.1");
    assert!(connect.0.stop(), "{}", connect.0.said());

    block(&world.client, "192.0.2.1", "4433", false);
    let mut connect = world.connect(&["--bearer-file", &token, "--http2-at", "192.0.2.1:4433"], "free.log");
    connect.is_up();
    connect.tells("the tunnel", 1, opened(3));
    let transfer = Transfer::start(&world.client, &world.proxy, "10.89.0.1:7003".parse().unwrap(), 200 << 20);
    sleep(Duration::from_millis(100));
    block(&world.client, "192.0.2.1", "4433", true);
    connect.tells("the way out", 1, opened(2));
    transfer.finish("begun over HTTP/3, ended over HTTP/2");
    assert!(connect.0.stop() && listen.0.stop());
    assert!(is_clean(&world.client) && is_clean(&world.proxy));
}

#[test]
fn a_node_gateway_serves_our_verb_over_http2() {
    if !vestibule_tests::required("a_node_gateway_serves_our_verb_over_http2") {
        return;
    }
    let script = script("node_server.mjs").display().to_string();
    foreign_gateway("masque-node", &["node", &script], &["--http", "2"]);
}

#[test]
fn a_web_server_is_no_proxy_and_that_is_said() {
    if !vestibule_tests::required("a_web_server_is_no_proxy_and_that_is_said") {
        return;
    }
    let world = World::new("masque-web");
    let pin = key_name(&identity(&world.room, "gateway"));
    let program = "const fs = require('fs'), dir = process.argv[1];
        const server = require('http2').createSecureServer({
            cert: fs.readFileSync(dir + '/gateway.pem'), key: fs.readFileSync(dir + '/gateway.key') });
        server.listen(0, '127.0.0.1', () => console.log('ready at ' + server.address().port));";
    let mut command = world.client.command("node");
    command.args(["-e", program]).arg(&world.room.0);
    let mut web = world.client.start(command, world.room.0.join("web.log"));
    let url = format!("https://127.0.0.1:{}", web.ready_port("the server"));
    let output = refused(&world.client, &[&url, "--http", "2", "--pin", &pin]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("it is no proxy for IP"), "{said}");
    let nobody = refused(&world.client, &["https://127.0.0.1:1", "--http", "2", "--dialect", "warp"]);
    assert_eq!(nobody.status.code(), Some(2), "what the dialect needs is not given");
}
