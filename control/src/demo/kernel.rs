//! The place made of kernels: namespaces, devices, processes.

use super::{
    browser::Login,
    gateway::{Gateway, TUNNEL_PORT},
    hosts::{Host, Service},
    load::Load,
    probe::{self, Closed, Outcome, Question},
    scene::{Amount, Scene, SceneError, Traffic, Wire},
    stage::{Stage, UNDERLAY},
};
use crossbeam_channel::{Receiver, Sender};
use std::{io, net::IpAddr, rc::Rc, time::Duration};

/// Three hosts, the gateway's and the daemon's processes, and a counter on the wire between them.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The hosts.
    pub stage: Rc<Stage>,
    wire: Host,
    gateway: Option<Gateway>,
    daemon: Option<Service>,
}

impl Kernel {
    /// Puts the counter on the wire, then starts the gateway.
    pub(super) fn start(stage: Stage) -> Result<Self, SceneError> {
        let port = TUNNEL_PORT.to_string();
        let wire: Vec<String> = ["wire", "--interface", UNDERLAY, "--port", &port].map(str::to_owned).into();
        let wire = Host::start(&stage.gateway, "wire counter", &wire)?;
        let gateway = Some(Gateway::start(&stage)?);
        Ok(Self { stage: Rc::new(stage), wire, gateway, daemon: None })
    }

    /// The gateway, unless it was killed.
    pub(super) fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// The gateway's and the daemon's processes, those that run.
    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.gateway.iter().map(|gateway| &gateway.service).chain(&self.daemon)
    }

    /// Kills the gateway (SIGKILL).
    pub(super) fn kill_gateway(&mut self) {
        self.gateway = None;
    }

    /// Starts it again on what it has stored.
    pub(super) fn restart_gateway(&mut self) -> Result<(), SceneError> {
        self.gateway = Some(Gateway::start(&self.stage)?);
        Ok(())
    }

    /// Kills the device's daemon (SIGKILL).
    pub(super) fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Starts the device's daemon.
    pub(super) fn boot(&mut self, command: &[String]) -> Result<(), SceneError> {
        let log = self.stage.room.join("device.log");
        self.daemon = Some(Service::start(&self.stage.device, "device", command, &log)?);
        Ok(())
    }
}

impl Scene for Kernel {
    fn ask(&self, question: Question) -> Result<Outcome, SceneError> {
        Ok(self.stage.device.run(move || probe::ask(question, probe::connect))?)
    }

    fn watch(
        &self,
        patience: Duration,
        opened: Sender<()>,
    ) -> Result<Receiver<io::Result<Option<Closed>>>, SceneError> {
        let (done, closed) = crossbeam_channel::bounded(1);
        self.stage.device.spawn(move || {
            let _ = done.send(probe::watch(patience, &opened, probe::connect));
        })?;
        Ok(closed)
    }

    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError> {
        Ok(Box::new(Load::start(&self.stage, inner, amount, number)?))
    }

    fn sign_in(&self, login: Login) -> Result<(), SceneError> {
        Ok(self.stage.device.run(move || login.here())??)
    }

    fn wire(&mut self) -> Result<Wire, SceneError> {
        Ok(self.wire.ask("report")?)
    }

    fn recorded(&mut self) -> Result<Vec<String>, SceneError> {
        let recorded: serde_json::Value = self.wire.ask("recorded")?;
        let all = recorded["datagrams"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
    }

    fn alive(&mut self) -> bool {
        self.gateway.as_mut().is_some_and(|gateway| gateway.service.alive())
            && self.daemon.as_mut().is_some_and(Service::alive)
    }

    fn logs(&self) -> String {
        let gateway = self.gateway.as_ref().map(|gateway| gateway.service.tail(20)).unwrap_or_default();
        let daemon = self.daemon.as_ref().map(|daemon| daemon.tail(20)).unwrap_or_default();
        format!("{gateway}\n{daemon}")
    }
}
