//! One end of a MASQUE tunnel as a process: the engine, a TUN device and a UDP socket, and no control plane.
//!
//! `compare` starts two of them, as it starts the two processes of a WireGuard engine: the interface's name is the last
//! word, and what would come over WireGuard's control socket is in the file [`Orders`] beforehand.

use clap::Args;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Instant,
};
use vestibule_benches::masque::{self, Credential, GENERATION, PEER, Side};
use vestibule_engine::{
    core::{Event, MasqueServer},
    generation::HttpChoice,
};
use vestibule_platform::{
    adapter::{Tun, TunConfig},
    carrier::{self, ServerSettings},
    clock,
    runtime::{Handle, Worker},
    socket::{Udp, UdpConfig},
};

/// Where orders and signs of life are, by interface.
const ROOM: &str = "/run/compare";

/// What an end is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// Certificate and key of this end, DER.
    pub(crate) own: (Vec<u8>, Vec<u8>),
    /// Certificate of the other one.
    pub(crate) other: Vec<u8>,
    /// Where the gateway is, for a device.
    pub(crate) gateway: Option<SocketAddr>,
    /// The UDP port.
    pub(crate) port: u16,
    /// The device's inner addresses.
    pub(crate) device: Vec<IpNet>,
}

impl Orders {
    /// Where they are.
    pub(crate) fn file(interface: &str) -> PathBuf {
        format!("{ROOM}/{interface}.json").into()
    }

    /// What is there once the tunnel stands.
    pub(crate) fn sign(interface: &str) -> PathBuf {
        format!("{ROOM}/{interface}.stands").into()
    }
}

/// One end of a MASQUE tunnel.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Over HTTP/2 in place of HTTP/3.
    #[arg(long)]
    http2: bool,
    /// The TUN device's name.
    interface: String,
}

/// Runs until it is killed.
pub(crate) fn run(options: &Options) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("masque-end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(Options { http2, interface }: &Options) -> Result<(), Box<dyn Error>> {
    let orders: Orders = serde_json::from_slice(&fs::read(Orders::file(interface))?)?;
    let http = if *http2 { HttpChoice::Http2Only } else { HttpChoice::Http3Only };
    let own = Credential { certificate: orders.own.0, key: orders.own.1 };
    let side = match orders.gateway {
        Some(gateway) => Side::Device { certificate: orders.other, gateway, http },
        None => Side::Gateway { certificate: orders.other },
    };
    let mut seed = [0; 32];
    clock::entropy(&mut seed)?;
    let engine = masque::end(&own, &side, &orders.device, seed, Instant::now());
    let tun = Tun::open(&TunConfig::new(interface))?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, orders.port));
    let socket = Udp::bind(&UdpConfig::new(everywhere))?;
    let (handle, events) = Worker::spawn(engine, tun, socket, "packets")?;
    if *http2 && orders.gateway.is_some() {
        handle.carry_streams()?;
    } else if *http2 {
        take_streams(own.server(), everywhere, handle.clone())?;
    }
    for event in &events {
        match event {
            Event::Ready { .. } if orders.gateway.is_some() => {
                handle.with(|engine, now| engine.commit(PEER, GENERATION, now))??;
            }
            Event::Committed { .. } => fs::write(Orders::sign(interface), "")?,
            _ => {}
        }
    }
    Err("the packet worker has stopped".into())
}

/// Takes tunnels over HTTP/2, until the worker stops.
fn take_streams(MasqueServer { tls, templates }: MasqueServer, listen: SocketAddr, worker: Handle) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (server, mut requests) = carrier::Server::new(tls, templates, ServerSettings::default())?;
    let taking = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let hand_over = async {
            while let Some(request) = requests.recv().await {
                if worker.request(request).is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            served = server.serve(&listener) => served,
            () = hand_over => Ok(()),
        }
    };
    thread::Builder::new().name("listener".to_owned()).spawn(move || runtime.block_on(taking))?;
    Ok(())
}
