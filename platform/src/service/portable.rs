use super::{Installed, Plan, ServiceError};
use crate::Unsupported;
use std::{io, process::ExitCode};

pub(super) const NAME: &str = "vestibule";
pub(super) const STATE: &str = "/var/lib/vestibule";
pub(super) const RIGHTS: &str = "root";
const SERVICES: Unsupported = Unsupported { what: "installing a service" };

pub(super) fn install(_: &Plan) -> Result<Installed, ServiceError> {
    Err(SERVICES.into())
}

pub(super) fn uninstall() -> Result<bool, ServiceError> {
    Err(SERVICES.into())
}

pub(super) fn managed(body: Box<dyn FnOnce() -> ExitCode + Send>) -> Result<ExitCode, ServiceError> {
    Ok(body())
}

pub(super) fn is_managed() -> bool {
    false
}

pub(super) fn ready() {}

pub(super) struct EndRequests;

impl EndRequests {
    pub(super) fn listen() -> Self {
        Self
    }

    pub(super) async fn received(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

pub(super) fn begin_session() -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}

pub(super) fn freeze(_pid: u32, _frozen: bool) -> io::Result<()> {
    Err(Unsupported { what: "letting a process stand still" }.into())
}

pub(super) fn silence(_errors: bool) -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}
