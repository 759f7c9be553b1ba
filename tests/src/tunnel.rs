//! Two WireGuard interfaces, each in its namespace, with a cable or a relay between them.

use crate::kernel::Counters;
use crate::netns::Namespace;
use crate::peers::{Implementation, Inner, Keys, Peer, Remote};
use crate::process::run;
use crate::relay::Relay;
use std::net::SocketAddr;
use std::process::Command;

/// UDP port of every end.
const PORT: u16 = 51820;
/// What an end calls its cable, as [`Namespace::join`] does.
const CABLE: &str = "wire0";

/// How a tunnel is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The implementation at the left end, which is told where the right one is and so initiates,
    pub left: Implementation,
    /// and at the right end.
    pub right: Implementation,
    /// Outer addresses are of IPv6.
    pub outer_v6: bool,
    /// Inside.
    pub mtu: u32,
    /// Outside.
    pub wire_mtu: u32,
    /// Keys are mixed with a preshared one.
    pub preshared: bool,
    /// A [`Relay`] stands between the ends.
    pub relay: bool,
}

impl Plan {
    /// From `left` to `right` over an IPv4 cable, with usual MTUs.
    #[must_use]
    pub fn new(left: Implementation, right: Implementation) -> Self {
        Self { left, right, outer_v6: false, mtu: 1420, wire_mtu: 1500, preshared: false, relay: false }
    }
}

/// A tunnel that stands; dropping it ends it.
#[derive(Debug)]
pub struct Tunnel {
    /// The ends' processes, left and right.
    pub peers: [Peer; 2],
    /// What stands between them.
    pub relay: Option<Relay>,
    /// The ends' namespaces.
    pub ends: [Namespace; 2],
    _middle: Option<Namespace>,
    plan: Plan,
}

/// Outer address of host `number` on cable `net`.
fn outer(v6: bool, net: u8, number: u8) -> String {
    if v6 { format!("2001:db8:{net}::{number}") } else { format!("192.0.{net}.{number}") }
}

fn socket(v6: bool, net: u8, number: u8) -> SocketAddr {
    let address = outer(v6, net, number).parse();
    address.map_or_else(|error| panic!("{error}"), |address| SocketAddr::new(address, PORT))
}

/// A cable between two namespaces, and what each calls its end.
fn join([left, right]: [(&Namespace, &str); 2], v6: bool, net: u8, mtu: u32) {
    let mut add = Command::new("ip");
    add.args(["link", "add", left.1, "netns", left.0.name(), "mtu", &mtu.to_string(), "type", "veth"]);
    run(add.args(["peer", "name", right.1, "netns", right.0.name(), "mtu", &mtu.to_string()]));
    for ((end, name), number) in [(left, 1), (right, 2)] {
        let address = format!("{}/{}", outer(v6, net, number), if v6 { 64 } else { 24 });
        let nodad: &[_] = if v6 { &["nodad"] } else { &[] };
        end.run("ip", &[&["address", "add", &address, "dev", name], nodad].concat());
        end.run("ip", &["link", "set", name, "up"]);
    }
}

impl Tunnel {
    /// Makes one; `name` is that of its directory for logs. Its handshake begins with the first packet from the left.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    pub fn start(name: &str, plan: Plan) -> Self {
        let directory = crate::target_directory().join("../tmp").join(name);
        let ends = [Namespace::new(), Namespace::new()];
        let v6 = plan.outer_v6;
        let (middle, relay) = if plan.relay {
            let middle = Namespace::new();
            join([(&ends[0], CABLE), (&middle, "left")], v6, 2, plan.wire_mtu);
            join([(&middle, "right"), (&ends[1], CABLE)], v6, 3, plan.wire_mtu);
            let left = (socket(v6, 2, 2), socket(v6, 2, 1));
            let relay = Relay::start(&middle, left, (socket(v6, 3, 1), socket(v6, 3, 2)));
            (Some(middle), Some(relay))
        } else {
            join([(&ends[0], CABLE), (&ends[1], CABLE)], v6, 2, plan.wire_mtu);
            (None, None)
        };
        let keys = [Keys::generate(), Keys::generate()];
        let preshared = plan.preshared.then(crate::interface::preshared_key);
        let endpoint = socket(v6, 2, 2).to_string();
        let start = |at: usize, implementation| {
            let directory = directory.join(if at == 0 { "left" } else { "right" });
            std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let addresses = [format!("10.77.0.{}/32", at + 1), format!("fd77::{}/128", at + 1)];
            let inner =
                Inner { addresses: &[&addresses[0], &addresses[1]], mtu: plan.mtu, preshared: preshared.as_deref() };
            let remote = Remote {
                public_key: &keys[1 - at].public,
                endpoint: (at == 0).then_some(endpoint.as_str()),
                allowed: &format!("10.77.0.{}/32,fd77::{}/128", 2 - at, 2 - at),
            };
            Peer::start_with(implementation, &ends[at], &directory, &keys[at], PORT, &inner, &remote)
        };
        let peers = [start(0, plan.left), start(1, plan.right)];
        Self { peers, relay, ends, _middle: middle, plan }
    }

    /// An inner socket address of the end `at` (0: left).
    ///
    /// # Panics
    /// Never: the addresses are well-formed.
    #[must_use]
    pub fn inner(&self, at: usize, v6: bool, port: u16) -> SocketAddr {
        let address = if v6 { format!("[fd77::{}]:{port}", at + 1) } else { format!("10.77.0.{}:{port}", at + 1) };
        address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// `count` echo requests of `len` bytes from the end `from`, ten a second; the others' answers must all come.
    ///
    /// # Panics
    /// When one is missing or came twice.
    pub fn ping(&self, from: usize, v6: bool, len: usize, count: u32) {
        let to = self.inner(1 - from, v6, 0).ip().to_string();
        let (len, count) = (len.to_string(), count.to_string());
        let words = ["-n", "-i", "0.1", "-W", "5", "-M", "dont", "-s", &len, "-c", &count, &to];
        let output = self.ends[from].command("ping").args(words).output();
        let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        assert!(
            said.contains(" 0% packet loss") && !said.contains("DUP"),
            "{:?}: ping from {from}, {len} bytes, IPv6 {v6}:\n{said}\nleft: {}\nright: {}",
            self.plan,
            self.peers[0].said(),
            self.peers[1].said()
        );
    }

    /// The kernels' counters at both ends.
    #[must_use]
    pub fn counters(&self) -> [Counters; 2] {
        [Counters::of(&self.ends[0]), Counters::of(&self.ends[1])]
    }
}
