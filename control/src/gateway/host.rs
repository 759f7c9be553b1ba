//! The gateway's place on its host: what moves packets, and what ends the process.

use super::{DataPlaneKind, GatewayError, Options};
use crossbeam_channel::Receiver;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use vestibule_engine::core::{Engine, Event};
use vestibule_platform::adapter::{Tun, TunConfig};
use vestibule_platform::runtime::{Handle, Worker};
use vestibule_platform::socket::{Socket as _, Udp, UdpConfig};

/// Name of the worker's thread.
const WORKER: &str = "vestibule-tunnel";

/// What the gateway took of its host; dropping it gives it back.
pub(super) struct Host {}

/// A data plane that runs.
pub(super) struct Started {
    /// What is left of the options.
    pub(super) options: Options,
    pub(super) worker: Handle,
    pub(super) events: Receiver<Event>,
    /// Where datagrams arrive.
    pub(super) tunnel: SocketAddr,
    pub(super) host: Option<Host>,
}

/// Starts the worker that owns `engine`; `address` is the gateway's inner one.
pub(super) fn start(mut options: Options, engine: Engine, address: Ipv4Addr) -> Result<Started, GatewayError> {
    let step = |step| move |cause: io::Error| GatewayError::Tunnel { step, cause };
    match std::mem::replace(&mut options.data_plane, DataPlaneKind::Kernel) {
        DataPlaneKind::Worker(start) => {
            let (worker, events) = start(engine).map_err(step("the given worker"))?;
            let tunnel = options.tunnel;
            Ok(Started { options, worker, events, tunnel, host: None })
        }
        DataPlaneKind::Kernel => {
            let socket = Udp::bind(&UdpConfig::new(options.tunnel)).map_err(step("the UDP port"))?;
            let tunnel = socket.local_addr().map_err(step("the UDP port"))?;
            let config = TunConfig { mtu: options.mtu.into(), ..TunConfig::new(&options.interface) };
            let adapter = Tun::open(&config).map_err(io::Error::other).map_err(step("the network interface"))?;
            let _ = address;
            let (worker, events) = Worker::spawn(engine, adapter, socket, WORKER).map_err(step("the packet worker"))?;
            Ok(Started { options, worker, events, tunnel, host: Some(Host {}) })
        }
    }
}

/// Waits until the process is asked to end.
pub(super) async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "the process cannot be interrupted");
        std::future::pending::<()>().await;
    }
}
