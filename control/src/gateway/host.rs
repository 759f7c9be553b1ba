//! The gateway's place on its host: what moves packets, and what ends the process.

use super::{DataPlaneKind, GatewayError, Options};
use crossbeam_channel::Receiver;
use ipnet::{IpNet, Ipv4Net};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use vestibule_engine::core::{Engine, Event};
use vestibule_platform::adapter::{Tun, TunConfig};
use vestibule_platform::netcfg::{Applied, Desired, NetConfig as _, Routing, System};
use vestibule_platform::runtime::{Handle, Worker};
use vestibule_platform::socket::{Socket as _, Udp, UdpConfig};

/// Name of the worker's thread.
const WORKER: &str = "vestibule-tunnel";

/// A data plane that runs.
pub(super) struct Started {
    /// What is left of the options.
    pub(super) options: Options,
    pub(super) worker: Handle,
    pub(super) events: Receiver<Event>,
    /// Where datagrams arrive.
    pub(super) tunnel: SocketAddr,
    /// The host's settings, to be taken back at the end.
    pub(super) host: Option<Applied>,
}

/// Starts the worker that owns `engine`; `address` is the gateway's inner one.
pub(super) async fn start(mut options: Options, engine: Engine, address: Ipv4Addr) -> Result<Started, GatewayError> {
    match std::mem::replace(&mut options.data_plane, DataPlaneKind::Kernel) {
        DataPlaneKind::Worker(start) => {
            let (worker, events) = start(engine).map_err(step("the given worker"))?;
            let tunnel = options.tunnel;
            Ok(Started { options, worker, events, tunnel, host: None })
        }
        // Speaks to the kernel, which may take its time.
        DataPlaneKind::Kernel => tokio::task::spawn_blocking(move || kernel(options, engine, address))
            .await
            .map_err(|error| step("its thread")(io::Error::other(error)))?,
    }
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> GatewayError {
    move |cause| GatewayError::Tunnel { step, cause }
}

fn kernel(options: Options, engine: Engine, address: Ipv4Addr) -> Result<Started, GatewayError> {
    let socket = Udp::bind(&UdpConfig::new(options.tunnel)).map_err(step("the UDP port"))?;
    let tunnel = socket.local_addr().map_err(step("the UDP port"))?;
    let config = TunConfig { mtu: options.mtu.into(), ..TunConfig::new(&options.interface) };
    let adapter = Tun::open(&config).map_err(io::Error::other).map_err(step("the network interface"))?;
    let host = System.apply(&desired(&options, address))?;
    let (worker, events) = Worker::spawn(engine, adapter, socket, WORKER).map_err(step("the packet worker"))?;
    Ok(Started { options, worker, events, tunnel, host: Some(host) })
}

/// The pool is on the interface; plain peers outside it have routes of their own.
fn desired(options: &Options, address: Ipv4Addr) -> Desired {
    let pool = IpNet::V4(options.addresses);
    let network = Ipv4Net::new(address, options.addresses.prefix_len()).map_or(pool, IpNet::V4);
    let outside = options.plain_peers.iter().flat_map(|peer| &peer.addresses).map(IpNet::trunc);
    Desired {
        interface: options.interface.clone(),
        addresses: vec![network],
        routes: outside.filter(|net| !pool.contains(net)).collect(),
        routing: Routing::Main,
        forwarding: true,
    }
}
