//! The stage: three hosts and the cables between them.
//!
//! ```text
//! device 192.0.2.2 ---- 192.0.2.1 gateway 10.20.0.1 ---- 10.20.0.10 directory server
//!                       (underlay)                       10.20.0.80 web server
//! ```

use super::{
    drops::{self, Counters},
    hosts::{Host, HostError},
    intranet::Intranet,
};
use std::{
    cell::Cell,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};
use vestibule_platform::sandbox::{self, End, Namespace, SandboxError};

/// The device's address on the network between it and the gateway.
pub(crate) const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// The address that it may move to.
const ROAMED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
/// The gateway's address there.
pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The gateway's address in the intranet.
pub(crate) const INSIDE: IpAddr = Intranet::FIRST.gateway();
/// The directory server: reachable before login.
pub(crate) const DIRECTORY: IpAddr = Intranet::FIRST.directory();
/// The web server: for users.
pub(crate) const WEB: IpAddr = Intranet::FIRST.web();
/// Ports of the directory, web and echo services.
pub(crate) const DIRECTORY_PORT: u16 = 389;
/// See [`DIRECTORY_PORT`].
pub(crate) const WEB_PORT: u16 = 80;
/// See [`DIRECTORY_PORT`].
pub(crate) const ECHO_PORT: u16 = 8080;
/// The gateway's interface towards the device.
pub(crate) const UNDERLAY: &str = "underlay0";

/// Three hosts.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The machine that someone will log in to.
    pub device: Namespace,
    /// Where the tunnel ends.
    pub gateway: Namespace,
    /// What lies behind it.
    pub intranet: Namespace,
    /// Room for files: memory that goes with the sandbox.
    pub room: PathBuf,
    /// The device has moved.
    away: Cell<bool>,
    _services: Host,
}

impl Stage {
    /// Builds it. The intranet knows `inner` (the devices' inner addresses) behind the gateway.
    pub(crate) fn build(inner: (IpAddr, u8)) -> Result<Self, HostError> {
        Self::build_in(PathBuf::from("/run/vestibule-world"), inner)
    }

    /// Builds one of several, with its files in `room`.
    pub(crate) fn build_in(room: PathBuf, inner: (IpAddr, u8)) -> Result<Self, HostError> {
        fs::create_dir_all(&room).map_err(|cause| failed("make a directory in /run", cause))?;
        let device = Namespace::new("device")?;
        let gateway = Namespace::new("gateway")?;
        let intranet = Namespace::new("intranet")?;
        sandbox::cable(
            &End { namespace: &device, interface: UNDERLAY, addresses: &[(DEVICE, 24)] },
            &End { namespace: &gateway, interface: UNDERLAY, addresses: &[(GATEWAY, 24)] },
        )?;
        sandbox::cable(
            &End { namespace: &gateway, interface: "intranet0", addresses: &[(INSIDE, 24)] },
            &End { namespace: &intranet, interface: "intranet0", addresses: &[(DIRECTORY, 24), (WEB, 24)] },
        )?;
        sandbox::route(&intranet, inner.0, inner.1, INSIDE)?;
        let forward = || fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        gateway.run(forward)?.map_err(|cause| failed("let the gateway's host forward packets", cause))?;
        let services = format!(
            "services --directory {DIRECTORY}:{DIRECTORY_PORT} --web {WEB}:{WEB_PORT} --echo {WEB}:{ECHO_PORT}"
        );
        let services: Vec<String> = services.split_whitespace().map(str::to_owned).collect();
        let services = Host::start(&intranet, "intranet's servers", &services)?;
        Ok(Self { device, gateway, intranet, room, away: Cell::new(false), _services: services })
    }

    /// The device moves to its other address on the network towards the gateway, and back the next time.
    pub(crate) fn roam(&self) -> Result<(), SandboxError> {
        let away = self.away.get();
        let (from, to) = if away { (ROAMED, DEVICE) } else { (DEVICE, ROAMED) };
        sandbox::readdress(&self.device, UNDERLAY, (from, 24), (to, 24))?;
        self.away.set(!away);
        Ok(())
    }

    /// Cuts the cable between device and gateway, or mends it. Neither of them is told: what they send goes astray.
    pub(crate) fn cut(&self, cut: bool) -> Result<(), SandboxError> {
        let device = End { namespace: &self.device, interface: UNDERLAY, addresses: &[(DEVICE, 24), (ROAMED, 24)] };
        let gateway = End { namespace: &self.gateway, interface: UNDERLAY, addresses: &[(GATEWAY, 24)] };
        sandbox::mislead(&device, &gateway, cut)?;
        sandbox::mislead(&gateway, &device, cut)
    }

    /// Drop counters of each host.
    pub(crate) fn drops(&self) -> Result<[(String, Counters); 3], SandboxError> {
        let read = |namespace: &Namespace| Ok((namespace.name().to_owned(), namespace.run(drops::read)?));
        Ok([read(&self.device)?, read(&self.gateway)?, read(&self.intranet)?])
    }

    /// TCP segments sent again by the hosts at both ends of the load.
    pub(crate) fn retransmitted(&self) -> Result<u64, SandboxError> {
        Ok(self.device.run(drops::retransmitted)? + self.intranet.run(drops::retransmitted)?)
    }
}

fn failed(step: &'static str, cause: io::Error) -> HostError {
    HostError::Sandbox(SandboxError::Step { step, cause })
}
