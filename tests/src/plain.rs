//! The plain verbs, `vestibule masque connect` and `vestibule masque listen`, between two network namespaces.

use crate::house::Room;
use crate::masque::{GATEWAY, corpus, identity};
use crate::netns::Namespace;
use crate::process::{Process, wrapped};
use crate::steady::{Pings, Stream};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The token that is known.
pub const TOKEN: &str = "sesame.opens-the_door";
/// Where the proxy listens.
pub const PROXY: &str = "https://192.0.2.1:4433";

/// A running verb, and what it tells as JSON lines.
#[derive(Debug)]
pub struct Verb(pub Process);

impl Verb {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(namespace: &Namespace, words: &[&str], log: PathBuf) -> Self {
        let mut command = wrapped(namespace, &[]);
        command.arg("masque").args(words).arg("--json");
        Self(namespace.start(command, log))
    }

    /// Waits until it has told a `number`th event that fits.
    ///
    /// # Panics
    /// When it ends, or takes too long.
    pub fn tells(&mut self, what: &str, number: usize, fits: impl Fn(&Value) -> bool) -> Value {
        let log = self.0.log().to_owned();
        self.0.wait_for(what, LIMIT, || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.filter(|event| fits(event)).nth(number - 1)
        })
    }

    /// A client's interface has addresses and routes.
    ///
    /// # Panics
    /// As [`Self::tells`].
    pub fn is_up(&mut self) -> Value {
        self.tells("addresses and routes", 1, |event| {
            event["event"] == "up" && event["routes"].as_array().is_some_and(|routes| !routes.is_empty())
        })
    }
}

/// A proxy at 192.0.2.1 and a client's host, with a cable between them.
#[derive(Debug)]
pub struct World {
    /// The proxy.
    pub proxy: Namespace,
    /// The client.
    pub client: Namespace,
    /// Its files.
    pub room: Room,
    /// SHA-256 of the proxy's key, once it listens.
    pub pin: String,
}

impl World {
    /// A world with a file of tokens, `token`, and one that is not known, `wrong`.
    ///
    /// # Panics
    /// When there is no room, or no cable.
    #[must_use]
    pub fn new(test: &str) -> Self {
        let (proxy, client) = (Namespace::new(), Namespace::new());
        proxy.join("192.0.2.1/24", &client, "192.0.2.2/24");
        let room = Room::new(test);
        fs::write(room.0.join("token"), format!("{TOKEN}\n")).expect("the room is writable");
        fs::write(room.0.join("wrong"), "barley\n").expect("the room is writable");
        Self { proxy, client, room, pin: String::new() }
    }

    /// The path of a file in the room.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.room.0.join(name).display().to_string()
    }

    /// Starts the proxy, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn listen(&mut self, words: &[&str]) -> Verb {
        let words = [&["listen", "--listen", "192.0.2.1:4433"], words].concat();
        let mut verb = Verb::start(&self.proxy, &words, self.room.0.join("listen.log"));
        let ready = verb.tells("the proxy", 1, |event| event["event"] == "ready");
        self.pin = ready["key_sha256"].as_str().expect("a key").to_owned();
        verb
    }

    /// Starts a client of the proxy.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn connect(&self, words: &[&str], log: &str) -> Verb {
        let words = [&["connect", PROXY, "--pin", &self.pin], words].concat();
        Verb::start(&self.client, &words, self.room.0.join(log))
    }
}

/// `connect`, with more `words`, through a gateway that others wrote and that echoes what it gets: `program`, whose last
/// words are a folder with its certificate and the corpus of capsules.
///
/// # Panics
/// When anything is not as it should be.
pub fn foreign_gateway(test: &str, program: &[&str], words: &[&str]) {
    let world = World::new(test);
    let _identity = identity(&world.room, "gateway");
    let mut command = world.client.command(program[0]);
    command.args(&program[1..]).arg(&world.room.0).arg(corpus());
    let mut peer = world.client.start(command, world.room.0.join("peer.log"));
    let url = format!("https://127.0.0.1:{}", peer.ready_port("the gateway"));
    let authority = world.file("gateway.pem");
    let words = [&["connect", &url, "--ca", &authority, "--server-name", GATEWAY], words].concat();
    let mut connect = Verb::start(&world.client, &words, world.room.0.join("connect.log"));
    let up = connect.is_up();
    assert_eq!(up["addresses"], serde_json::json!(["10.0.0.1/32"]));
    // What the peer advertises covers the peer.
    assert_eq!(up["routes"], serde_json::json!(["0.0.0.0/0"]));
    pings(&world.client, "203.0.113.5");
    world.client.run("ping", &["-c", "3", "-i", "0.05", "-W", "20", "-s", "1200", "203.0.113.5"]);
    assert!(connect.0.stop(), "{}", connect.0.said());
    assert!(is_clean(&world.client));
}

/// What a client of the proxy comes to that ends by itself.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn refused(from: &Namespace, words: &[&str]) -> Output {
    let mut command = wrapped(from, &[]);
    command.args(["masque", "connect"]).args(words).output().expect("vestibule runs")
}

/// Each of them must be answered.
///
/// # Panics
/// When one is not, or twice.
pub fn pings(from: &Namespace, to: &str) {
    let to: IpAddr = to.parse().expect("an address");
    let echoes = Pings::paced(from, to, Duration::from_millis(10), Duration::from_millis(500)).finish();
    assert!(echoes.sent > 0 && echoes.missing.is_empty() && echoes.duplicates == 0, "to {to}: {echoes:?}");
}

/// Larger ones, also such that are fragmented.
///
/// # Panics
/// When one is not answered.
pub fn large_pings(from: &Namespace, to: &str) {
    for size in ["1200", "1400", "4000"] {
        from.run("ping", &["-c", "3", "-i", "0.05", "-W", "20", "-s", size, to]);
    }
}

/// A transfer both ways.
///
/// # Panics
/// When a byte is missing.
pub fn tcp(from: &Namespace, to: &Namespace, address: &str) {
    let stream =
        Stream::start(from, to, address.parse::<SocketAddr>().expect("an address"), Duration::from_millis(700));
    let (connecting, accepting) = stream.finish();
    assert_eq!((connecting.sent, accepting.sent), (accepting.received, connecting.received), "{address}");
    assert!(connecting.sent > 0 && accepting.sent > 0);
}

/// Nothing of a tunnel is left on a host.
#[must_use]
pub fn is_clean(host: &Namespace) -> bool {
    let no_link = !host.run("ip", &["-o", "link", "show"]).contains("masque");
    let routes = ["-4", "-6"].map(|family| host.run("ip", &[family, "route", "show", "table", "all"])).concat();
    let rules = ["-4", "-6"].map(|family| host.run("ip", &[family, "rule", "show"])).concat();
    no_link && !routes.contains("masque") && !rules.contains("0x5642")
}

/// Lets UDP to an address and a port come through no longer, or again.
///
/// # Panics
/// When `ip` refuses.
pub fn block(host: &Namespace, to: &str, port: &str, block: bool) {
    let rule = ["pref", "10", "ipproto", "udp", "to", to, "dport", port, "blackhole"];
    host.run("ip", &[&["rule", if block { "add" } else { "del" }][..], &rule].concat());
}
