//! What the loop is made of, and what it waits for.

use crate::{
    daemon::{
        configuration::Configuration,
        emergency::Emergency,
        enrol::{Device, EnrolError, Enrolled},
        host::{Host, HostError},
        ipc::{Answer, RegistrationView, server::Call},
        journal::Journal,
        login::LoginError,
        order::{Order, OrderError},
        poll::News,
        remote::RemoteError,
        store::Store,
        tunnel::{Tunnel, TunnelError},
        ways::Ways,
    },
    registration::{ActivationId, Event, Machine, RequestId, Slot, Timestamp, UserId},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;
use vestibule_engine::generation::GenerationId;

/// What the loop waits for.
#[derive(Debug)]
pub(in crate::daemon) enum Input {
    /// From the operating system, or an answer that needs nothing else done.
    Happened(Event),
    /// The MDM file may have changed.
    MdmTouched,
    /// The file of the emergency signal may have changed.
    EmergencyTouched,
    /// The address of the emergency signal answered: whether it is engaged.
    EmergencyAnswered(bool),
    /// From the control socket.
    Call(Call),
    /// From the packet worker.
    Engine(vestibule_engine::core::Event),
    /// The packet worker has stopped.
    WorkerStopped,
    Enrolled {
        request: RequestId,
        slot: Slot,
        result: Result<Enrolled, EnrolError>,
    },
    LoginShown {
        request: RequestId,
        url: String,
    },
    LoginEnded {
        request: RequestId,
        user: UserId,
        result: Result<Enrolled, LoginError>,
    },
    Ordered {
        activation: ActivationId,
        result: Result<Box<Order>, OrderError>,
    },
    Committed {
        activation: ActivationId,
        result: Result<(), CommitFailure>,
    },
    /// The routes were brought to another profile.
    Routed {
        result: Result<(), HostError>,
    },
    News {
        generation: GenerationId,
        news: News,
    },
    Deleted {
        /// As it was when it was asked for.
        view: RegistrationView,
        result: Result<(), RemoteError>,
        answer: oneshot::Sender<Answer>,
    },
    /// End of the process.
    Stop,
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum CommitFailure {
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    #[error("the host's network could not be set up")]
    Host(#[from] HostError),
}

/// What a driver is made of.
pub(in crate::daemon) struct Parts<G> {
    pub(in crate::daemon) machine: Machine,
    pub(in crate::daemon) gateway: Arc<G>,
    pub(in crate::daemon) device: Arc<Device>,
    pub(in crate::daemon) store: Arc<Store>,
    pub(in crate::daemon) journal: Journal,
    pub(in crate::daemon) emergency: Emergency,
    pub(in crate::daemon) tunnel: Tunnel,
    pub(in crate::daemon) host: Arc<Host>,
    /// How names are resolved, for the status.
    pub(in crate::daemon) names: crate::daemon::dns::Watch,
    pub(in crate::daemon) configuration: Configuration,
    pub(in crate::daemon) settings: Settings,
    pub(in crate::daemon) clock: Box<dyn Fn() -> Timestamp + Send>,
}

/// What the command line decides.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Settings {
    pub(in crate::daemon) interface: String,
    pub(in crate::daemon) mtu: u16,
    /// Which versions of HTTP are tried for MASQUE.
    pub(in crate::daemon) http: Arc<Ways>,
    /// Opens a login's address for the user; gets it as its last argument.
    pub(in crate::daemon) browser: Browser,
    /// How long a handshake may take, and how long an acknowledgement.
    pub(in crate::daemon) patience: Duration,
    /// How long a login may take.
    pub(in crate::daemon) login_patience: Duration,
}

/// Who opens a login's address for the user.
#[derive(Clone, Debug)]
pub(in crate::daemon) enum Browser {
    /// The browser of who is at the desktop.
    Desktop,
    /// A command, with the address as its last word.
    Command(String),
    /// Nobody; the address is only told.
    #[cfg(test)]
    Nobody,
}
