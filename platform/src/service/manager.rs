//! Windows' service control manager: installing and uninstalling.

use super::{
    DESCRIPTION, Installed, NAME, Plan, ServiceError,
    imp::{STOP, cause_of},
};
use crate::{
    eventlog,
    win32::{
        is,
        security::{self, ADMINISTRATORS, SYSTEM, TRUSTED_INSTALLER},
    },
};
use std::{
    ffi::OsStr,
    fs::File,
    os::windows::io::AsHandle,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};
use windows_service::{
    Error,
    service::{
        Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceDependency, ServiceErrorControl,
        ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState, ServiceType,
    },
    service_manager::{ServiceManager, ServiceManagerAccess},
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_CANNOT_ACCEPT_CTRL,
        ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
    },
    Security::Authorization::SE_FILE_OBJECT,
};

/// What the network needs of the system is there once these run: interfaces, addresses, names, the firewall's engine.
const AFTER: [&str; 4] = ["nsi", "Tcpip", "Dnscache", "BFE"];
/// Waits before the first, the second and every later restart after a failure.
const RESTARTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)];
/// Without a failure for this long, the waits begin anew.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);
/// How long a start or a stop is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn install(plan: &Plan) -> Result<Installed, ServiceError> {
    const INSTALLING: &str = "installing";
    let rights = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&OsStr>, rights).map_err(refused(INSTALLING))?;
    let access =
        ServiceAccess::CHANGE_CONFIG | ServiceAccess::QUERY_STATUS | ServiceAccess::START | ServiceAccess::STOP;
    let info = info(plan);
    let (service, replaced) = match manager.open_service(NAME, access) {
        Ok(service) => {
            if !plan.keep {
                service.change_config(&info).map_err(refused(INSTALLING))?;
            }
            (service, true)
        }
        Err(Error::Winapi(error)) if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => {
            (manager.create_service(&info, access).map_err(refused(INSTALLING))?, false)
        }
        Err(error) => return Err(refused(INSTALLING)(error)),
    };
    let mut warnings = configure(&service);
    warnings.extend(replaceable(&plan.program));
    if let Err(error) = eventlog::register() {
        warnings.push(format!("the event log will show its texts with a note about a missing description: {error}"));
    }
    if plan.start {
        restart(&service)?;
    }
    let place = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{NAME}");
    Ok(Installed { place, replaced, started: plan.start, warnings })
}

fn info(plan: &Plan) -> ServiceInfo {
    ServiceInfo {
        name: NAME.into(),
        display_name: NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: plan.program.clone(),
        launch_arguments: plan.arguments.clone(),
        dependencies: AFTER.map(|name| ServiceDependency::Service(name.into())).to_vec(),
        // LocalSystem.
        account_name: None,
        account_password: None,
    }
}

/// What makes the service a better one; an older system that lacks a setting still has a service.
fn configure(service: &Service) -> Vec<String> {
    let actions = RESTARTS.map(|delay| ServiceAction { action_type: ServiceActionType::Restart, delay }).to_vec();
    let failures = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN),
        reboot_msg: None,
        command: None,
        actions: Some(actions),
    };
    let outcomes = [
        ("its description", service.set_description(DESCRIPTION)),
        ("restarts after a failure", service.update_failure_actions(failures)),
        // An orderly end with an error is a failure, too.
        ("restarts after an error", service.set_failure_actions_on_non_crash_failures(true)),
        ("an early start", service.set_delayed_auto_start(false)),
        ("time to stop before the system does", service.set_preshutdown_timeout(STOP)),
    ];
    let failed = outcomes.into_iter().filter_map(|(what, outcome)| Some((what, outcome.err()?)));
    failed.map(|(what, error)| format!("the system does not take {what}: {}", cause_of(error))).collect()
}

/// The system will run this program with all rights: whoever can replace it has them, too.
fn replaceable(program: &Path) -> Option<String> {
    let file = File::open(program).ok()?;
    let owner = security::owner(file.as_handle(), SE_FILE_OBJECT).ok()?;
    if [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER].contains(&owner.as_str()) {
        return None;
    }
    Some(format!(
        "{} belongs to {owner}, who could replace what the system runs: keep it in C:\\Program Files",
        program.display()
    ))
}

fn restart(service: &Service) -> Result<(), ServiceError> {
    stop(service)?;
    match service.start::<&OsStr>(&[]) {
        Ok(()) => {}
        Err(Error::Winapi(error)) if is(&error, ERROR_SERVICE_ALREADY_RUNNING) => {}
        Err(error) => return Err(ServiceError::DoesNotStart { reason: cause_of(error).to_string() }),
    }
    let given_up = Instant::now() + PATIENCE;
    loop {
        let status = service.query_status().map_err(refused("starting"))?;
        match status.current_state {
            ServiceState::Running => return Ok(()),
            ServiceState::StartPending if Instant::now() < given_up => sleep(LOOK),
            state => {
                let reason = format!(
                    "it is {state:?} ({:?}); the event log (source {NAME}) and the log in the state directory say why",
                    status.exit_code
                );
                return Err(ServiceError::DoesNotStart { reason });
            }
        }
    }
}

/// Stops the service if it runs: whether it did. One that is just starting or ending is waited for.
fn stop(service: &Service) -> Result<bool, ServiceError> {
    let given_up = Instant::now() + PATIENCE;
    let mut ran = false;
    loop {
        match service.stop() {
            Ok(_) => ran = true,
            Err(Error::Winapi(error)) if is(&error, ERROR_SERVICE_NOT_ACTIVE) => return Ok(ran),
            Err(Error::Winapi(error)) if is(&error, ERROR_SERVICE_CANNOT_ACCEPT_CTRL) => ran = true,
            Err(error) => return Err(refused("stopping")(error)),
        }
        if Instant::now() >= given_up {
            let state = service.query_status().map_err(refused("stopping"))?.current_state;
            return Err(ServiceError::DoesNotStop { reason: format!("it is {state:?}") });
        }
        sleep(LOOK);
    }
}

pub(super) fn uninstall() -> Result<bool, ServiceError> {
    const UNINSTALLING: &str = "uninstalling";
    let manager = ServiceManager::local_computer(None::<&OsStr>, ServiceManagerAccess::CONNECT);
    let manager = manager.map_err(refused(UNINSTALLING))?;
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
    let service = manager.open_service(NAME, access).map_err(refused(UNINSTALLING))?;
    let ran = stop(&service)?;
    match service.delete() {
        Ok(()) => {}
        // Somebody has its properties open: it goes when they close them.
        Err(Error::Winapi(error)) if is(&error, ERROR_SERVICE_MARKED_FOR_DELETE) => {}
        Err(error) => return Err(refused(UNINSTALLING)(error)),
    }
    if let Err(error) = eventlog::unregister() {
        tracing::warn!(%error, "the event log still knows the service");
    }
    Ok(ran)
}

fn refused(action: &'static str) -> impl FnOnce(Error) -> ServiceError {
    move |error| {
        let cause = cause_of(error);
        if is(&cause, ERROR_ACCESS_DENIED) {
            ServiceError::NotAllowed { action }
        } else if is(&cause, ERROR_SERVICE_DOES_NOT_EXIST) {
            ServiceError::NotInstalled
        } else {
            ServiceError::System { action: "change the service", cause }
        }
    }
}
