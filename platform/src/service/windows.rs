//! A service of Windows' service control manager: how it runs. [`manager`](super::manager) installs it.
#![allow(unsafe_code, reason = "the service's entry is called by the system")]

pub(super) use super::manager::{install, uninstall};

use super::{ServiceError, next};
use crate::{
    Unsupported,
    session::{
        windows::tell,
        wts::{Change, Told},
    },
};
use std::{
    ffi::OsString,
    io,
    process::ExitCode,
    sync::{
        LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::windows::{self, CtrlC, CtrlClose, CtrlShutdown},
    sync::watch,
};
use windows_service::{
    define_windows_service,
    service::{
        PowerEventParam, ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType, SessionChangeParam, SessionChangeReason,
    },
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};
use windows_sys::Win32::Foundation::ERROR_FAILED_SERVICE_CONTROLLER_CONNECT;

pub(super) const NAME: &str = "Vestibule";
pub(super) const STATE: &str = r"C:\ProgramData\Vestibule";
pub(super) const RIGHTS: &str = "an administrator: try again in a terminal that was started as administrator";
/// How long a start may take before the manager takes the service to hang. It makes a network adapter.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take; the tunnel's last words wait for nobody.
pub(super) const STOP: Duration = Duration::from_secs(20);

type Body = Box<dyn FnOnce() -> ExitCode + Send>;

static BODY: Mutex<Option<Body>> = Mutex::new(None);
static OUTCOME: Mutex<Option<ExitCode>> = Mutex::new(None);
static STATUS: OnceLock<ServiceStatusHandle> = OnceLock::new();
static STOPPING: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
/// How often a pending state was told.
static CHECKPOINT: AtomicU32 = AtomicU32::new(0);
static MANAGED: AtomicBool = AtomicBool::new(false);

define_windows_service!(entry, run);

pub(super) fn managed(body: Body) -> Result<ExitCode, ServiceError> {
    *lock(&BODY) = Some(body);
    MANAGED.store(true, Ordering::SeqCst);
    match service_dispatcher::start(NAME, entry) {
        Ok(()) => Ok(lock(&OUTCOME).take().unwrap_or(ExitCode::FAILURE)),
        Err(error) => {
            MANAGED.store(false, Ordering::SeqCst);
            let cause = cause_of(error);
            if crate::win32::is(&cause, ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
                return Err(ServiceError::NotManaged);
            }
            Err(ServiceError::System { action: "answer the service manager", cause })
        }
    }
}

/// The system's error of one of the crate's.
pub(super) fn cause_of(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(cause) => cause,
        other => io::Error::other(other),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On a thread of the dispatcher's, when the manager has started us.
fn run(_: Vec<OsString>) {
    // The handler captures nothing: the crate frees what it captures at the first request to stop, and the manager may
    // still call it after that.
    let status = match service_control_handler::register(NAME, control) {
        Ok(status) => status,
        Err(error) => {
            tracing::error!(%error, "the service manager takes no handler");
            return;
        }
    };
    let _ = STATUS.set(status);
    report(ServiceState::StartPending, START);
    let Some(body) = lock(&BODY).take() else { return };
    let outcome = body();
    let failed = outcome != ExitCode::SUCCESS;
    *lock(&OUTCOME) = Some(outcome);
    let exit_code = if failed { ServiceExitCode::ServiceSpecific(1) } else { ServiceExitCode::Win32(0) };
    tell_status(ServiceState::Stopped, Duration::ZERO, exit_code);
}

/// What the manager tells. It returns at once: the manager waits for it before it tells anybody anything else.
fn control(control: ServiceControl) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Interrogate => {}
        ServiceControl::Stop | ServiceControl::Preshutdown | ServiceControl::Shutdown => {
            report(ServiceState::StopPending, STOP);
            STOPPING.send_replace(true);
        }
        ServiceControl::SessionChange(change) => {
            if let Some(told) = session(&change) {
                tell(told);
            }
        }
        ServiceControl::PowerEvent(PowerEventParam::Suspend) => tell(Told::Suspend),
        // When a person is there, `ResumeSuspend` follows: nothing new.
        ServiceControl::PowerEvent(PowerEventParam::ResumeAutomatic | PowerEventParam::ResumeCritical) => {
            crate::netcfg::woke();
            tell(Told::Resume);
        }
        ServiceControl::PowerEvent(_) => {}
        _ => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

fn session(change: &SessionChangeParam) -> Option<Told> {
    let what = match change.reason {
        SessionChangeReason::ConsoleConnect | SessionChangeReason::RemoteConnect => Change::Connect,
        SessionChangeReason::ConsoleDisconnect | SessionChangeReason::RemoteDisconnect => Change::Disconnect,
        SessionChangeReason::SessionLogon => Change::Logon,
        SessionChangeReason::SessionLogoff | SessionChangeReason::SessionTerminate => Change::Logoff,
        SessionChangeReason::SessionLock => Change::Lock,
        SessionChangeReason::SessionUnlock => Change::Unlock,
        // Nobody's yet, or watched by a helper: the look that others bring is enough.
        SessionChangeReason::SessionCreate | SessionChangeReason::SessionRemoteControl => return None,
    };
    Some(Told::Session(what, change.notification.session_id))
}

pub(super) fn is_managed() -> bool {
    MANAGED.load(Ordering::SeqCst)
}

pub(super) fn ready() {
    // A stop that was asked for meanwhile stays in force.
    if !*STOPPING.borrow() {
        report(ServiceState::Running, Duration::ZERO);
        // Until now nothing was told of what has changed since the first look.
        tell(Told::Look);
    }
}

fn report(state: ServiceState, wait_hint: Duration) {
    tell_status(state, wait_hint, ServiceExitCode::Win32(0));
}

fn tell_status(current_state: ServiceState, wait_hint: Duration, exit_code: ServiceExitCode) {
    let Some(status) = STATUS.get() else { return };
    let pending = matches!(current_state, ServiceState::StartPending | ServiceState::StopPending);
    let accepted = ServiceControlAccept::STOP
        | ServiceControlAccept::PRESHUTDOWN
        | ServiceControlAccept::POWER_EVENT
        | ServiceControlAccept::SESSION_CHANGE;
    let controls_accepted =
        if current_state == ServiceState::Running { accepted } else { ServiceControlAccept::empty() };
    let checkpoint = if pending { CHECKPOINT.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
    let told = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code,
        checkpoint,
        wait_hint,
        process_id: None,
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told: {current_state:?}");
    }
}

pub(super) struct EndRequests {
    stopping: watch::Receiver<bool>,
    interrupt: Option<CtrlC>,
    close: Option<CtrlClose>,
    shutdown: Option<CtrlShutdown>,
}

impl EndRequests {
    pub(super) fn listen() -> Self {
        fn kept<S>(signals: io::Result<S>, name: &str) -> Option<S> {
            signals.inspect_err(|error| tracing::warn!(%error, "{name} ends this process without tidying up")).ok()
        }
        Self {
            stopping: STOPPING.subscribe(),
            interrupt: kept(windows::ctrl_c(), "Ctrl-C"),
            close: kept(windows::ctrl_close(), "closing its terminal"),
            shutdown: kept(windows::ctrl_shutdown(), "the end of the system"),
        }
    }

    pub(super) async fn received(&mut self) {
        let Self { stopping, interrupt, close, shutdown } = self;
        let asked = async {
            // The sender is never dropped.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        tokio::select! {
            () = asked => {}
            () = next(interrupt.as_mut(), CtrlC::recv) => {}
            () = next(close.as_mut(), CtrlClose::recv) => {}
            () = next(shutdown.as_mut(), CtrlShutdown::recv) => {}
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
