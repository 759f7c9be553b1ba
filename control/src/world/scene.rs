//! What the script needs of the place where it is played, whatever that is made of.

pub(crate) use super::account::{Account, Stream};

use super::{
    admin::Admin,
    browser::{BrowserError, Login},
    gateway::Facts,
    host::udp::{Seen, Sent},
    hosts::HostError,
    probe::{Closed, Outcome, Question},
};
use crate::gateway::GatewayError;
use crossbeam_channel::{Receiver, Sender};
use serde::Deserialize;
use std::{io, net::IpAddr, time::Duration};
use vestibule_platform::{adapter::AdapterError, sandbox::SandboxError};

/// Why the place failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SceneError {
    /// A process.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A namespace.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The login.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The gateway in this process.
    #[error(transparent)]
    Gateway(#[from] Box<GatewayError>),
    /// Something that should be there.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// This place is not made for it.
    #[error("{0:?} cannot be done here")]
    Unfit(Blow),
    /// The device's adapter.
    #[error("the device has no adapter")]
    Adapter(#[from] AdapterError),
    /// A file, a socket or a thread.
    #[error("the place's own means fail")]
    Io(#[from] io::Error),
}

/// Device, gateway and intranet, with load and measures.
pub(crate) trait Scene {
    /// The device's inner address is known now.
    fn addressed(&mut self, _inner: IpAddr) {}

    /// A program on the device asks a server.
    fn ask(&self, question: Question) -> Result<Outcome, SceneError>;

    /// A program on the device opens a connection to the echo server and talks until it is closed; it answers `None`
    /// when it is not within `patience`. `opened` is told when the connection stands.
    fn watch(&self, patience: Duration, opened: Sender<()>)
    -> Result<Receiver<io::Result<Option<Closed>>>, SceneError>;

    /// Starts load between the device's `inner` address and the directory server. `number` tells loads apart.
    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError>;

    /// Somebody logs in at the device's browser.
    fn sign_in(&self, login: Login) -> Result<(), SceneError>;

    /// What has passed between device and gateway.
    fn wire(&mut self) -> Result<Wire, SceneError>;

    /// Does something to the place on purpose.
    fn strike(&mut self, blow: Blow) -> Result<(), SceneError>;

    /// What the gateway says of itself, and an administrator who has just sat down at its host.
    fn seat(&self) -> Result<(Facts, Admin), SceneError>;

    /// The last few handshake initiations that have passed, newest first, in hex; none where nobody records them.
    fn recorded(&mut self) -> Result<Vec<String>, SceneError> {
        Ok(Vec::new())
    }

    /// The processes in which gateway and device run, by name and number.
    fn processes(&self) -> Vec<(&'static str, u32)>;

    /// Gateway and daemon still run.
    fn alive(&mut self) -> bool;

    /// Their last words.
    fn logs(&self) -> String;
}

/// Something done to a place on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The session of the device's adapter breaks: what waits in it is lost, and it goes on with a new one.
    Adapter,
    /// The device's socket is bound anew, elsewhere.
    Socket,
    /// The device gets another address on the network towards the gateway.
    Roam,
    /// Nothing gets through that network, or everything again.
    Cut(bool),
    /// The gateway is killed and started again.
    GatewayRestart,
    /// The device's daemon stands still, or goes on.
    Freeze(bool),
}

/// Load under way.
pub(crate) trait Traffic {
    /// What the device's end of the TCP connection has seen.
    fn stream(&mut self) -> Result<Stream, SceneError>;

    /// What has arrived until now, and the largest gaps since the last glance. A datagram below `final_below` (up, down)
    /// that has not arrived is lost.
    fn glance(&mut self, final_below: [u64; 2]) -> Result<Glance, SceneError>;

    /// Asks both ends for their largest gap around `moment` (nanoseconds of the wall clock) and keeps the larger.
    fn measure_gap(&mut self, moment: u64) -> Result<Option<u64>, SceneError>;

    /// Stops the senders, lets what is in flight arrive, and closes the account.
    fn finish(self: Box<Self>) -> Result<Account, SceneError>;
}

/// The load at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Glance {
    /// Device to intranet: who sent it, and who received it.
    pub up: (Sent, Seen),
    /// Intranet to device.
    pub down: (Sent, Seen),
    /// The ends of the TCP connection: the device's, the server's.
    pub streams: [Stream; 2],
}

/// The wire counter's report.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Wire {
    /// Distinct handshake initiations to the gateway.
    pub initiations: u64,
    /// Packets that the counter could not look at.
    pub missed: u64,
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// UDP packets per second, each way.
    pub rate: u32,
    /// TCP megabits per second, each way; in memory, zero for none.
    pub tcp_rate: u32,
    /// Largest packet inside the tunnel.
    pub mtu: u16,
    /// One packet is lost, one doubled and one held back on purpose, to show that it is seen (in memory only).
    pub plant: bool,
}
