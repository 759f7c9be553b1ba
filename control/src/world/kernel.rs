//! The place made of kernels: namespaces, devices, processes.

use super::{
    admin::Admin,
    browser::Login,
    gateway::{Facts, Gateway, TUNNEL_PORT},
    hosts::{Host, Service},
    intranet::Intranet,
    load::Load,
    probe::{self, Closed, Outcome, Question},
    scene::{Amount, Blow, Scene, SceneError, Traffic, Wire},
    stage::{Stage, UNDERLAY},
};
use crossbeam_channel::{Receiver, Sender};
use std::{io, net::IpAddr, rc::Rc, time::Duration};
use vestibule_platform::service;

/// Three hosts, the gateway's and the daemon's processes, and a counter on the wire between them.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The hosts.
    pub stage: Rc<Stage>,
    wire: Host,
    gateway: Option<Gateway>,
    daemon: Option<Service>,
}

impl Kernel {
    /// Puts the counter on the wire, then starts the gateway.
    pub(crate) fn start(stage: Stage) -> Result<Self, SceneError> {
        let port = TUNNEL_PORT.to_string();
        let wire: Vec<String> = ["wire", "--interface", UNDERLAY, "--port", &port].map(str::to_owned).into();
        let wire = Host::start(&stage.gateway, "wire counter", &wire)?;
        let gateway = Some(Gateway::start(&stage)?);
        Ok(Self { stage: Rc::new(stage), wire, gateway, daemon: None })
    }

    /// The gateway, unless it was killed.
    pub(crate) fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Kills the gateway (SIGKILL).
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway = None;
    }

    /// Starts it again on what it has stored.
    pub(crate) fn restart_gateway(&mut self) -> Result<(), SceneError> {
        self.gateway = Some(Gateway::start(&self.stage)?);
        Ok(())
    }

    /// Kills the device's daemon (SIGKILL).
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Starts the device's daemon.
    pub(crate) fn boot(&mut self, command: &[String]) -> Result<(), SceneError> {
        let log = self.stage.room.join("device.log");
        self.daemon = Some(Service::start(&self.stage.device, "device", command, &log)?);
        Ok(())
    }
}

impl Scene for Kernel {
    fn ask(&self, question: Question) -> Result<Outcome, SceneError> {
        Ok(self.stage.device.run(move || probe::ask(question, Intranet::FIRST, probe::connect))?)
    }

    fn watch(
        &self,
        patience: Duration,
        opened: Sender<()>,
    ) -> Result<Receiver<io::Result<Option<Closed>>>, SceneError> {
        let (done, closed) = crossbeam_channel::bounded(1);
        self.stage.device.spawn(move || {
            let _ = done.send(probe::watch(patience, &opened, Intranet::FIRST, probe::connect));
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

    fn strike(&mut self, blow: Blow) -> Result<(), SceneError> {
        match blow {
            Blow::Roam => Ok(self.stage.roam()?),
            Blow::Cut(cut) => Ok(self.stage.cut(cut)?),
            Blow::GatewayRestart => {
                self.kill_gateway();
                self.restart_gateway()
            }
            Blow::Freeze(frozen) => {
                let daemon = self.daemon.as_ref().ok_or(SceneError::Missing("device"))?;
                Ok(service::freeze(daemon.pid(), frozen)?)
            }
            Blow::Adapter | Blow::Socket => Err(SceneError::Unfit(blow)),
        }
    }

    fn seat(&self) -> Result<(Facts, Admin), SceneError> {
        let gateway = self.gateway.as_ref().ok_or(SceneError::Missing("gateway"))?;
        let seat = |work| self.stage.gateway.spawn(work).map(|_| ());
        let admin = Admin::seat(&gateway.facts, gateway.admin_token()?, seat)?;
        Ok((gateway.facts.clone(), admin))
    }

    fn processes(&self) -> Vec<(&'static str, u32)> {
        let gateway = self.gateway.iter().map(|gateway| ("gateway", gateway.service.pid()));
        gateway.chain(self.daemon.iter().map(|daemon| ("device", daemon.pid()))).collect()
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
