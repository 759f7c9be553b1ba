//! Both ends of memory: packets are made and checked by hand.

use super::{
    ends::{Ends, Watched},
    load::{Load, v4},
    stack::Stack,
    tcp::Connection,
};
use crate::world::{
    host::services::{answer_directory, answer_echo, answer_web},
    intranet::Intranet,
    probe::{self, Outcome, Question},
    scene::{Amount, SceneError, Traffic},
    stage::{DIRECTORY, DIRECTORY_PORT, ECHO_PORT, WEB, WEB_PORT},
};
use crossbeam_channel::Sender;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};
use vestibule_platform::adapter::memory::MemoryHost;

/// The device's programs and the intranet's servers.
pub(super) struct MemoryEnds {
    device: Stack,
    intranet: Stack,
    /// The device's address, once it has one.
    inner: Option<Ipv4Addr>,
}

impl MemoryEnds {
    /// Takes the hosts' sides of both adapters.
    pub(super) fn start(device: MemoryHost, intranet: MemoryHost) -> io::Result<Self> {
        let (device, intranet) = (Stack::start(device, "device")?, Stack::start(intranet, "intranet")?);
        let (directory, web) = (v4(DIRECTORY)?, v4(WEB)?);
        let at = |host: Ipv4Addr, port: u16| SocketAddrV4::new(host, port);
        intranet.serve(at(directory, DIRECTORY_PORT), |connection| drop(answer_directory(connection)));
        intranet.serve(at(web, WEB_PORT), |connection| drop(answer_web(connection)));
        intranet.serve(at(web, ECHO_PORT), |connection| drop(answer_echo(connection)));
        Ok(Self { device, intranet, inner: None })
    }

    /// Opens connections of the device's programs.
    fn dial(&self) -> impl Fn(SocketAddr) -> io::Result<Connection> + Send + 'static {
        let (stack, inner) = (self.device.clone(), self.inner);
        move |address| {
            let (Some(inner), SocketAddr::V4(address)) = (inner, address) else {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            };
            Connection::open(&stack, inner, address)
        }
    }
}

impl Ends for MemoryEnds {
    fn addressed(&mut self, inner: IpAddr) {
        self.inner = v4(inner).ok();
    }

    fn ask(&self, question: Question) -> Outcome {
        probe::ask(question, Intranet::FIRST, self.dial())
    }

    fn watch(&self, patience: Duration, opened: Sender<()>) -> Watched {
        let dial = self.dial();
        Box::new(move || probe::watch(patience, &opened, Intranet::FIRST, dial))
    }

    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError> {
        Ok(Box::new(Load::start(&self.device, &self.intranet, inner, amount, number)?))
    }
}
