//! The world's hosts: small programs that load the tunnel and measure it with kernel sockets alone.
//!
//! Each runs as a process of its own (the hidden verb `world-host`), takes one command per line on standard input and
//! answers each with one line of JSON on standard output. End of input ends it.

mod bulk;
mod flood;
pub(crate) mod gaps;
pub(crate) mod ledger;
pub(crate) mod services;
pub(crate) mod stamp;
pub(crate) mod stream;
pub(crate) mod udp;
mod wire;

use serde::Serialize;
use std::{
    io::{self, BufRead, Write},
    net::SocketAddr,
    process::ExitCode,
};

/// What a host does.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// One end of the stamped datagrams.
    Udp {
        /// Own address.
        #[arg(long)]
        local: SocketAddr,
        /// The other end's.
        #[arg(long)]
        peer: SocketAddr,
        /// Number of the flow that this end sends; the other end's is one above.
        #[arg(long)]
        flow: u32,
        /// Number of the flow that this end expects.
        #[arg(long)]
        expect: u32,
        /// Largest packet.
        #[arg(long)]
        mtu: u16,
        /// Packets per second.
        #[arg(long)]
        rate: u32,
    },
    /// One end of a TCP connection that carries checked bytes both ways.
    Stream {
        /// Waits for the other end here.
        #[arg(long, conflicts_with = "connect", required_unless_present = "connect")]
        listen: Option<SocketAddr>,
        /// Connects to the other end there.
        #[arg(long)]
        connect: Option<SocketAddr>,
        /// Megabits per second.
        #[arg(long)]
        rate: u32,
    },
    /// One end of TCP connections that carry bytes as fast as they can.
    Bulk {
        /// Takes connections here.
        #[arg(long, conflicts_with = "connect", required_unless_present = "connect")]
        listen: Option<SocketAddr>,
        /// Makes them to there.
        #[arg(long)]
        connect: Option<SocketAddr>,
    },
    /// The intranet's servers.
    Services {
        /// Directory server.
        #[arg(long)]
        directory: SocketAddr,
        /// Web server.
        #[arg(long)]
        web: SocketAddr,
        /// Echo server.
        #[arg(long)]
        echo: SocketAddr,
    },
    /// Floods a port with rubbish, half messages and replays.
    Flood {
        /// Own address.
        #[arg(long)]
        local: SocketAddr,
        /// Where to.
        #[arg(long)]
        target: SocketAddr,
        /// Datagrams per second.
        #[arg(long)]
        rate: u32,
        /// Recorded datagrams in hex, separated by commas.
        #[arg(long, default_value = "")]
        replay: String,
    },
    /// Counts handshakes on an interface.
    Wire {
        /// Interface.
        #[arg(long)]
        interface: String,
        /// The tunnel's UDP port.
        #[arg(long)]
        port: u16,
    },
}

/// Runs a host until its input ends.
#[must_use]
pub(crate) fn run(role: Role) -> ExitCode {
    let ended = match role {
        Role::Udp { local, peer, flow, expect, mtu, rate } => udp::run(local, peer, flow, expect, mtu, rate),
        Role::Stream { listen: Some(address), rate, .. } => stream::run(stream::Side::Listen(address), rate),
        Role::Stream { connect: Some(address), rate, .. } => stream::run(stream::Side::Connect(address), rate),
        Role::Bulk { listen: Some(address), .. } => bulk::sink(address),
        Role::Bulk { connect: Some(address), .. } => bulk::source(address),
        Role::Stream { .. } | Role::Bulk { .. } => Err(io::Error::other("expected --listen or --connect")),
        Role::Services { directory, web, echo } => services::run(directory, web, echo),
        Role::Flood { local, target, rate, replay } => flood::run(local, target, rate, &replay),
        Role::Wire { interface, port } => wire::run(&interface, port),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The answer to a command that has nothing to tell.
#[derive(Serialize)]
struct Done {}

/// Says one line of JSON.
fn say(answer: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Says that the host stands, then answers commands with `answer` until the input ends.
fn serve(mut answer: impl FnMut(&str, &str) -> io::Result<serde_json::Value>) -> io::Result<()> {
    say(&Done {})?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        say(&answer(command, argument)?)?;
    }
    Ok(())
}

/// The answer to a command that a host does not know.
fn unknown(command: &str) -> io::Error {
    io::Error::other(format!("unknown command `{command}`"))
}
