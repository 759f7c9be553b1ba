//! systemd: a unit file, `systemctl`, and a word over `NOTIFY_SOCKET`.

use super::{Installed, Plan, ServiceError, next, unit};
use crate::files;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::PermissionsExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

pub(super) const NAME: &str = "vestibule";
pub(super) const STATE: &str = "/var/lib/vestibule";
pub(super) const RIGHTS: &str = "root: try again with sudo";
const UNIT: &str = "/etc/systemd/system/vestibule.service";

pub(super) fn install(plan: &Plan) -> Result<Installed, ServiceError> {
    check("installing")?;
    let text = unit::text(plan).ok_or_else(|| ServiceError::System {
        action: "write the command line into a unit",
        cause: io::Error::new(io::ErrorKind::InvalidInput, "a word of it is no UTF-8 text, or has control characters"),
    })?;
    let replaced = Path::new(UNIT).exists();
    let failed = |cause| ServiceError::System { action: "write /etc/systemd/system/vestibule.service", cause };
    if !(plan.keep && replaced) {
        files::write_atomic(Path::new(UNIT), text.as_bytes()).map_err(failed)?;
        fs::set_permissions(UNIT, Permissions::from_mode(0o644)).map_err(failed)?;
    }
    systemctl(&["daemon-reload"]).map_err(|reason| ServiceError::NoManager { reason })?;
    systemctl(&["enable", NAME]).map_err(|reason| ServiceError::NoManager { reason })?;
    if plan.start {
        systemctl(&["restart", NAME]).map_err(|reason| ServiceError::DoesNotStart { reason })?;
    }
    Ok(Installed { place: UNIT.to_owned(), replaced, started: plan.start, warnings: Vec::new() })
}

pub(super) fn uninstall() -> Result<bool, ServiceError> {
    check("uninstalling")?;
    if !Path::new(UNIT).exists() {
        return Err(ServiceError::NotInstalled);
    }
    let ran = systemctl(&["is-active", "--quiet", NAME]).is_ok();
    systemctl(&["disable", "--now", NAME]).map_err(|reason| ServiceError::DoesNotStop { reason })?;
    let failed = |cause| ServiceError::System { action: "remove /etc/systemd/system/vestibule.service", cause };
    files::remove_synced(Path::new(UNIT)).map_err(failed)?;
    systemctl(&["daemon-reload"]).map_err(|reason| ServiceError::NoManager { reason })?;
    Ok(ran)
}

fn check(action: &'static str) -> Result<(), ServiceError> {
    if !Uid::effective().is_root() {
        return Err(ServiceError::NotAllowed { action });
    }
    // As sd_booted(3) does.
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(ServiceError::NoManager { reason: "systemd does not run this system".to_owned() });
    }
    Ok(())
}

/// Runs it; the error is what it said.
fn systemctl(words: &[&str]) -> Result<(), String> {
    let shown = || format!("`systemctl {}`", words.join(" "));
    let output = Command::new("systemctl").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} does not start: {error}", shown()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.split_whitespace().collect();
    Err(format!("{} failed ({}): {}", shown(), output.status, said.join(" ")))
}

/// systemd wants nothing of a service but [`ready`].
#[allow(clippy::unnecessary_wraps, reason = "the signature is shared")]
pub(super) fn managed(body: Box<dyn FnOnce() -> ExitCode + Send>) -> Result<ExitCode, ServiceError> {
    Ok(body())
}

/// logind tells of sessions and sleep, whoever has started us.
pub(super) fn is_managed() -> bool {
    false
}

pub(super) fn ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // A leading `@` stands for the zero byte of a name that is no file.
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.send(b"READY=1\n")
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd was not told that the service runs");
    }
}

pub(super) struct EndRequests {
    interrupt: Option<Signals>,
    terminate: Option<Signals>,
}

impl EndRequests {
    pub(super) fn listen() -> Self {
        let listen = |kind, name: &str| {
            let signals = signal(kind);
            signals.inspect_err(|error| tracing::warn!(%error, "{name} ends this process without tidying up")).ok()
        };
        Self {
            interrupt: listen(SignalKind::interrupt(), "SIGINT"),
            terminate: listen(SignalKind::terminate(), "SIGTERM"),
        }
    }

    pub(super) async fn received(&mut self) {
        tokio::select! {
            () = next(self.interrupt.as_mut(), Signals::recv) => {}
            () = next(self.terminate.as_mut(), Signals::recv) => {}
        }
    }
}

pub(super) fn begin_session() -> io::Result<()> {
    setsid()?;
    Ok(())
}

pub(super) fn freeze(pid: u32, frozen: bool) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(kill(Pid::from_raw(pid), if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })?)
}

pub(super) fn silence(errors: bool) -> io::Result<()> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nowhere)?;
    dup2_stdout(&nowhere)?;
    if errors {
        dup2_stderr(&nowhere)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_to_end_is_kept_until_somebody_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for request in [Signal::SIGTERM, Signal::SIGINT] {
            let mut requests = {
                let _in_it = runtime.enter();
                EndRequests::listen()
            };
            kill(Pid::this(), request).unwrap();
            runtime.block_on(requests.received());
        }
    }
}
