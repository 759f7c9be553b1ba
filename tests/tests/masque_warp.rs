//! `vestibule masque connect --dialect warp` with peers that behave as Cloudflare WARP's edge is known to: over HTTP/3
//! `masque/warp_edge.py`, over HTTP/2 `masque/warp_edge.mjs`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use vestibule_tests::masque::{identity, key_name, script};
use vestibule_tests::plain::{Verb, World, is_clean, pings, refused};
use vestibule_tests::process::Process;

const ADDRESS: [&str; 2] = ["--address", "10.0.0.1/32"];

/// An edge that knows one device.
struct Edge {
    world: World,
    process: Process,
    url: String,
    pin: String,
    key: String,
}

impl Edge {
    fn start(test: &str, program: &[&str]) -> Self {
        let world = World::new(test);
        let pin = key_name(&identity(&world.room, "gateway"));
        let device = key_name(&identity(&world.room, "device"));
        let mut command = world.client.command(program[0]);
        command.args(&program[1..]).arg(&world.room.0).arg(device);
        let mut process = world.client.start(command, world.room.0.join("edge.log"));
        let port = process.ready_port("the edge");
        let (url, key) = (format!("https://127.0.0.1:{port}"), world.file("device.key"));
        Self { world, process, url, pin, key }
    }

    fn words<'a>(&'a self, http: &'a str, key: &'a str) -> Vec<&'a str> {
        let words = ["--dialect", "warp", "--http", http, "--key", key, "--pin", &self.pin];
        [&[self.url.as_str()], &words[..], &ADDRESS].concat()
    }

    fn connect(&self, http: &str) -> Verb {
        let words = [&["connect"], &self.words(http, &self.key)[..]].concat();
        Verb::start(&self.world.client, &words, self.world.room.0.join("connect.log"))
    }

    fn said(&self) -> String {
        self.process.said()
    }

    /// The edge knows nobody else, and says so.
    fn refuses_strangers(&self, http: &str) {
        let _stranger = identity(&self.world.room, "stranger");
        let output = refused(&self.world.client, &self.words(http, &self.world.file("stranger.key")));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains("the proxy answered 403"), "{told}\n{}", self.said());
        assert!(is_clean(&self.world.client));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn warp_over_http3_carries_pings_and_comes_back_from_idleness() {
    if !vestibule_tests::required("warp_over_http3_carries_pings_and_comes_back_from_idleness") {
        return;
    }
    let python = root().join("../target/aioquic/venv/bin/python3").display().to_string();
    let edge = Edge::start("warp-http3", &[&python, "-B", &script("warp_edge.py").display().to_string()]);
    let mut connect = edge.connect("3");
    let up = connect.is_up();
    assert_eq!(
        (&up["addresses"], &up["routes"]),
        (&serde_json::json!(["10.0.0.1/32"]), &serde_json::json!(["0.0.0.0/0"]))
    );
    connect.tells("the tunnel", 1, |event| event["event"] == "opened" && event["http"] == 3);
    pings(&edge.world.client, "203.0.113.5");
    edge.world.client.run("ping", &["-c", "3", "-i", "0.05", "-W", "20", "-s", "1200", "203.0.113.5"]);

    // A packet that the edge takes for a long silence: the tunnel is gone until there is a packet for it.
    let mut silence = edge.world.client.command("ping");
    silence.args(["-c", "1", "-W", "1", "203.0.113.99"]);
    assert!(!silence.output().unwrap().status.success());
    connect.tells("idleness", 1, |event| event["event"] == "idle");
    let opened = |event: &serde_json::Value| event["event"] == "opened";
    edge.world.client.run("ping", &["-c", "1", "-w", "60", "203.0.113.5"]);
    connect.tells("another tunnel", 2, opened);
    pings(&edge.world.client, "203.0.113.5");
    assert!(connect.0.stop(), "{}", connect.0.said());
    assert!(is_clean(&edge.world.client));
    assert!(!edge.said().contains("capsules") && !edge.said().contains("wrong"), "{}", edge.said());
    edge.refuses_strangers("3");
}

#[test]
fn warp_over_http2_carries_pings_without_extended_connect() {
    if !vestibule_tests::required("warp_over_http2_carries_pings_without_extended_connect") {
        return;
    }
    let edge = Edge::start("warp-http2", &["node", &script("warp_edge.mjs").display().to_string()]);
    let mut connect = edge.connect("2");
    connect.tells("the tunnel", 1, |event| event["event"] == "opened" && event["http"] == 2);
    pings(&edge.world.client, "203.0.113.5");
    edge.world.client.run("ping", &["-c", "3", "-i", "0.05", "-W", "20", "-s", "1200", "203.0.113.5"]);
    assert!(connect.0.stop(), "{}", connect.0.said());
    assert!(!edge.said().contains("capsules") && !edge.said().contains("wrong"), "{}", edge.said());
    edge.refuses_strangers("2");

    // Over UDP nobody is there: HTTP/2 is found by itself.
    let mut connect = edge.connect("auto");
    connect.tells("the tunnel", 1, |event| event["event"] == "opened" && event["http"] == 2);
    assert!(connect.0.stop(), "{}", connect.0.said());
}
