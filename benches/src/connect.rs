//! `connect`: from nothing to the first packet over MASQUE, two packet workers over UDP on the loopback.

use crate::tunnel::Tunnel;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vestibule_platform::adapter::memory::pair;
use vestibule_platform::socket::{Socket, Udp, UdpConfig};

const TIMES: usize = 50;
/// Longest wait for the first packet.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints medians and the slowest of each.
pub(crate) fn run() -> ExitCode {
    println!("| key exchange | connected ms | first packet ms | slowest ms |");
    println!("| --- | --- | --- | --- |");
    for (name, post_quantum) in [("X25519", false), ("X25519MLKEM768", true)] {
        // The first of a process pays for what is set up once.
        let mut times = Vec::new();
        for time in 0..=TIMES {
            match connect(post_quantum) {
                Ok(took) if time > 0 => times.push(took),
                Ok(took) => println!("| {name}, the first | {} |", columns(took, took.1)),
                Err(error) => {
                    eprintln!("connect: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        times.sort_by_key(|(_, first)| *first);
        let (median, slowest) = (times[TIMES / 2], times[TIMES - 1].1);
        println!("| {name}, median of {TIMES} | {} |", columns(median, slowest));
    }
    ExitCode::SUCCESS
}

fn columns((connected, first): (Duration, Duration), slowest: Duration) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!("{:.2} | {:.2} | {:.2}", ms(connected), ms(first), ms(slowest))
}

/// How long until the tunnel stood, and until the first packet was through.
fn connect(post_quantum: bool) -> Result<(Duration, Duration), Box<dyn Error>> {
    let loopback = UdpConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let socket = Udp::bind(&loopback)?;
    let address = socket.local_addr()?;
    let ((outside, desktop), (inside, intranet)) = (pair(64, 1420), pair(64, 1420));
    let tunnel = Tunnel::start((outside, Udp::bind(&loopback)?), (inside, socket), address, post_quantum)?;
    // The commit waits for a batch's end, and this is the same moment to all who may look.
    let committed = Instant::now();
    // An echo request from the device's inner address.
    let ping = b"\x45\0\0\x1c\0\0\0\0\x40\x01\x0c\x1c\x64\x60\0\x02\x0a\x14\0\x50\x08\0\xf7\xff\0\0\0\0";
    if !desktop.send(*ping) {
        return Err("the adapter is full".into());
    }
    let arrived = intranet.receive(PATIENCE).ok_or("the first packet did not arrive")?;
    if arrived.bytes != ping {
        return Err("another packet arrived first".into());
    }
    Ok((tunnel.connected, tunnel.connected + committed.elapsed()))
}
