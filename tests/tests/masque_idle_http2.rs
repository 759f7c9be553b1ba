//! What a tunnel over HTTP/2 that carries nothing holds at the proxy, with Node's `http2` at the other ends.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use vestibule_tests::masque::script;
use vestibule_tests::plain::{LIMIT, World};
use vestibule_tests::process::Process;

/// What every tunnel adds to, tables and threads, is there with the first ones.
const FIRST: u64 = 16;
const MORE: u64 = 96;
const KIB: u64 = 1024;

/// Memory of its own that a process holds, in bytes: without the pages of its program.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * KIB
}

fn crowd(world: &World, count: u64, log: &str) -> Process {
    let mut command = world.client.command("node");
    command.arg(script("node_crowd.mjs")).args(["192.0.2.1", "4433", &count.to_string()]);
    let mut crowd = world.client.start(command, world.room.0.join(log));
    let log = crowd.log().to_owned();
    crowd.wait_for("tunnels", LIMIT, || fs::read_to_string(&log).unwrap().contains("ready").then_some(()));
    crowd
}

#[test]
fn an_idle_tunnel_over_http2_holds_little() {
    if !vestibule_tests::required("an_idle_tunnel_over_http2_holds_little") {
        return;
    }
    let mut world = World::new("masque-idle-http2");
    let listen = world.listen(&["--no-auth", &(FIRST + MORE).to_string()]);
    let pid = listen.0.id();
    let mut first = crowd(&world, FIRST, "first.log");
    let before = memory(pid);
    let mut more = crowd(&world, MORE, "more.log");
    let each = memory(pid).saturating_sub(before) / MORE;
    println!(
        "an idle tunnel over HTTP/2 holds {} KiB at the proxy, beside what the kernel holds for its socket",
        each / KIB
    );
    assert!(each < 64 * KIB, "{each} bytes");
    assert_eq!((first.ended(), more.ended()), (None, None), "{}{}", first.said(), more.said());
}
