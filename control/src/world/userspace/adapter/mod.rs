//! A device with a real adapter: its programs use the sockets of the system's kernel. The intranet stays memory, since a
//! system delivers to itself what is sent to any of its own addresses.
//!
//! By file: `host` (the intranet's host), `connection` (its TCP), `load` (the load between both).

mod connection;
mod host;
mod load;
#[cfg(test)]
mod tests;

use super::ends::{Ends, Watched};
use crate::world::{
    host::services::{answer_directory, answer_echo, answer_web},
    intranet::Intranet,
    probe::{self, Outcome, Question},
    scene::{Amount, SceneError, Traffic},
    stage::{DIRECTORY_PORT, ECHO_PORT, WEB_PORT},
};
use crossbeam_channel::Sender;
use host::Host;
use load::Load;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};
use vestibule_platform::adapter::memory::MemoryHost;

/// Kernel sockets at one end, a host of memory at the other.
pub(super) struct AdapterEnds {
    far: Host,
    intranet: Intranet,
    /// The device's address, once it has one.
    inner: Option<IpAddr>,
}

impl AdapterEnds {
    /// Starts the intranet's servers at the gateway's side of its adapter.
    pub(super) fn start(link: MemoryHost, intranet: Intranet) -> io::Result<Self> {
        let (directory, web) = (super::load::v4(intranet.directory())?, super::load::v4(intranet.web())?);
        let far = Host::start(link, &[directory, web], "intranet")?;
        let at = |host: Ipv4Addr, port: u16| SocketAddrV4::new(host, port);
        far.serve(at(directory, DIRECTORY_PORT), |connection| drop(answer_directory(connection)));
        far.serve(at(web, WEB_PORT), |connection| drop(answer_web(connection)));
        far.serve(at(web, ECHO_PORT), |connection| drop(answer_echo(connection)));
        Ok(Self { far, intranet, inner: None })
    }

    /// Opens connections of the device's programs.
    fn dial(&self) -> impl Fn(SocketAddr) -> io::Result<std::net::TcpStream> + Send + 'static {
        let inner = self.inner;
        move |address| probe::connect_from(inner.ok_or(io::ErrorKind::NetworkUnreachable)?, address)
    }
}

impl Ends for AdapterEnds {
    fn addressed(&mut self, inner: IpAddr) {
        self.inner = Some(inner);
    }

    fn ask(&self, question: Question) -> Outcome {
        probe::ask(question, self.intranet, self.dial())
    }

    fn watch(&self, patience: Duration, opened: Sender<()>) -> Watched {
        let (dial, intranet) = (self.dial(), self.intranet);
        Box::new(move || probe::watch(patience, &opened, intranet, dial))
    }

    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError> {
        Ok(Box::new(Load::start(&self.far, self.intranet, inner, amount, number)?))
    }
}
