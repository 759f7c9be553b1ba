//! TCP connections for carriers.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
mod imp;

use super::driver::within;
use super::{CarrierError, Settings, Stage};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// HTTP/2's name in ALPN.
pub(super) const ALPN: &[u8] = b"h2";

/// Bytes that the system holds beyond what it has sent: two batches.
const MAX_UNSENT: u32 = 128 << 10;
/// "Connection Attempt Delay" (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects. `mark` keeps the connection out of the tunnel it carries, as the UDP socket's does.
///
/// # Errors
/// Nobody answers, or the mark was refused.
pub async fn dial(remote: SocketAddr, mark: Option<u32>, settings: &Settings) -> Result<TcpStream, CarrierError> {
    let failed = |error| CarrierError::Tcp(Arc::new(error));
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(mark) = mark {
        imp::mark(&socket, mark, remote).map_err(failed)?;
    }
    let stream = within(settings, Stage::Tcp, async { socket.connect(remote).await.map_err(failed) }).await?;
    prepare(&stream);
    Ok(stream)
}

/// Connects to the first of `remotes` that answers: each has a head start before the next is tried beside it (RFC 8305).
///
/// # Errors
/// How the last of them failed.
pub(super) async fn dial_any(
    remotes: &[SocketAddr],
    mark: Option<u32>,
    settings: &Settings,
) -> Result<TcpStream, CarrierError> {
    let mut tries = JoinSet::new();
    let mut failed = CarrierError::Request { what: "no address of the gateway is known" };
    let mut rest = remotes.iter().copied();
    loop {
        let begun = rest.next().map(|remote| {
            let settings = *settings;
            tries.spawn(async move { dial(remote, mark, &settings).await });
        });
        let patience = if begun.is_some() { HEAD_START } else { settings.patience };
        match timeout(patience, tries.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failed = error,
            Ok(None) => return Err(failed),
            // The next one's turn, or a task that was cancelled with us.
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

/// Sets what a carrier's connection needs: batches are whole, nothing is gained by waiting for more; and what the system
/// cannot send yet waits here, where packets can be dropped, and not in its buffer.
pub fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not to be had");
    }
    if let Err(error) = imp::limit_unsent(stream, MAX_UNSENT) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT is not to be had");
    }
}
