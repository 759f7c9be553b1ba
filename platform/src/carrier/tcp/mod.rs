//! TCP connections for carriers.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod imp;

use super::driver::within;
use super::{CarrierError, Settings, Stage};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};

/// HTTP/2's name in ALPN.
pub(super) const ALPN: &[u8] = b"h2";

/// Connects. `mark` keeps the connection out of the tunnel it carries, as the UDP socket's does.
///
/// # Errors
/// Nobody answers, or the mark was refused.
pub async fn dial(remote: SocketAddr, mark: Option<u32>, settings: &Settings) -> Result<TcpStream, CarrierError> {
    let failed = |error| CarrierError::Tcp(Arc::new(error));
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(mark) = mark {
        imp::mark(&socket, mark).map_err(failed)?;
    }
    let stream = within(settings, Stage::Tcp, async { socket.connect(remote).await.map_err(failed) }).await?;
    prepare(&stream);
    Ok(stream)
}

/// Sets what a carrier's connection needs: batches are whole, nothing is gained by waiting for more.
pub fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not to be had");
    }
}
