//! A device, a gateway and an intranet on one machine, with load between them and an account of every packet: what the
//! demo and the soak are played in.
//!
//! Of kernels: three network namespaces stand in a [`sandbox`](vestibule_platform::sandbox) that goes with its first
//! process; gateway and device daemon run in processes of their own, and the load is made and measured by
//! [hosts](host) that use kernel sockets alone. Of memory: everything in this process, on any system, but for the device's
//! adapter where a real one is wanted.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod browser;
pub(crate) mod device;
pub(crate) mod drops;
pub(crate) mod gateway;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod intranet;
pub(crate) mod kernel;
pub(crate) mod load;
pub(crate) mod probe;
pub(crate) mod scene;
pub(crate) mod setup;
pub(crate) mod stage;
pub(crate) mod swaps;
mod transport;
pub(crate) mod userspace;

pub use transport::Transport;

use admin::{Admin, AdminError};
use device::{Device, DeviceError, Paths, Token};
use gateway::Facts;
use intranet::Intranet;
use kernel::Kernel;
use scene::{Scene, SceneError};
use stage::Stage;
use std::net::{IpAddr, Ipv4Addr};
use userspace::{RealAdapter, Room, Userspace};

/// The devices' inner addresses.
pub(crate) const INNER: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(100, 96, 0, 0)), 12);

/// Why what was played stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// The place it is played in.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The gateway's API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Something that should be there.
    #[error("there is no {0}")]
    Missing(&'static str),
}

/// Everything that takes part: the gateway runs, the organisation is set up, the device boots, nobody has logged in.
pub(crate) struct World {
    /// Where it is played.
    pub scene: Box<dyn Scene>,
    /// What the gateway says of itself.
    pub gateway: Facts,
    /// Who administers it.
    pub admin: Admin,
    /// The service token in the device's MDM file.
    pub token: Token,
    /// The device.
    pub device: Device,
}

impl World {
    /// Made of kernels; `tell` hears of every step.
    pub(crate) fn of_kernels(transport: Transport, tell: impl Fn(&str)) -> Result<Self, Stopped> {
        let stage = Stage::build(INNER).map_err(SceneError::from)?;
        tell("three hosts stand: device -- gateway -- intranet (directory 10.20.0.10, web 10.20.0.80)");
        let paths = Paths::below(&stage.room, transport);
        let mut kernel = Kernel::start(stage)?;
        tell("the gateway runs");
        let (gateway, admin) = kernel.seat()?;
        let token = setup::organisation(&admin, transport, Intranet::FIRST)?;
        tell(SET_UP);
        paths.write_mdm(&token, false)?;
        kernel.boot(&paths.command(&gateway))?;
        let device = Device::sit_down(paths).inspect_err(|_| eprintln!("{}", kernel.logs()))?;
        tell(BOOTS);
        Ok(Self { scene: Box::new(kernel), gateway, admin, token, device })
    }

    /// Made of memory, in this process, with its files in `room`. The device may have a real adapter.
    pub(crate) fn of_memory(
        transport: Transport,
        room: &Room,
        real: Option<&RealAdapter>,
        tell: impl Fn(&str),
    ) -> Result<Self, Stopped> {
        let paths = Paths::below(room.path(), transport);
        let mut userspace = Userspace::start(room, real)?;
        tell("the gateway runs");
        let (gateway, admin) = userspace.seat()?;
        let intranet = real.map_or(Intranet::FIRST, |real| real.intranet);
        let token = setup::organisation(&admin, transport, intranet)?;
        tell(SET_UP);
        paths.write_mdm(&token, false)?;
        userspace.boot(&paths)?;
        let device = Device::sit_down(paths)?;
        tell(BOOTS);
        Ok(Self { scene: Box::new(userspace), gateway, admin, token, device })
    }
}

const SET_UP: &str = "service token, enrolment policies, two accounts and two rules made over the REST API";
const BOOTS: &str = "the device boots; nobody has logged in";
