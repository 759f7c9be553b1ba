use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::{fs::File, io};
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM ends this process without tidying up");
            std::future::pending().await
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
