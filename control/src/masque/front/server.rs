//! The proxies' sockets, and what passes through a connection.

use super::dial::{Connection, Dialer};
use super::{http, socks};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Clients of a proxy at a time.
const MAX_CLIENTS: usize = 256;
/// How long a client may take to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Bytes moved at a time.
const CHUNK: usize = 32 << 10;

/// Which proxies, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::masque) struct Fronts {
    pub(in crate::masque) socks: Option<SocketAddr>,
    pub(in crate::masque) http: Option<SocketAddr>,
}

/// Why a proxy does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// Everybody could use it.
    #[error("the proxy at {0} asks nobody who he is: let it listen at a loopback address, 127.0.0.1 or [::1]")]
    Public(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
}

#[derive(Clone, Copy)]
enum Speaks {
    Socks,
    Http,
}

/// Listens; the addresses that it has got. The tasks end with the runtime.
pub(in crate::masque) async fn serve(fronts: Fronts, dialer: &Dialer) -> Result<Fronts, FrontError> {
    let mut bound = Fronts::default();
    for (wanted, got, speaks) in
        [(fronts.socks, &mut bound.socks, Speaks::Socks), (fronts.http, &mut bound.http, Speaks::Http)]
    {
        let Some(address) = wanted else { continue };
        if !address.ip().is_loopback() {
            return Err(FrontError::Public(address));
        }
        let refuse = |cause| FrontError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        *got = Some(listener.local_addr().map_err(refuse)?);
        tokio::spawn(accept(listener, speaks, dialer.clone()));
    }
    Ok(bound)
}

async fn accept(listener: TcpListener, speaks: Speaks, dialer: Dialer) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client of the proxy was not accepted");
                // Out of descriptors: others must end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let dialer = dialer.clone();
        tokio::spawn(async move {
            if let Err(error) = client(stream, speaks, &dialer).await {
                tracing::debug!(%error, "a client of the proxy was left");
            }
            drop(place);
        });
    }
}

async fn client(stream: TcpStream, speaks: Speaks, dialer: &Dialer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    let asked = async {
        let asked = match speaks {
            Speaks::Socks => socks::request(&mut stream).await,
            Speaks::Http => http::request(&mut stream).await,
        };
        stream.flush().await?;
        asked
    };
    let Some(destination) = tokio::time::timeout(HANDSHAKE, asked).await?? else { return Ok(()) };
    let dialled = dialer.dial(&destination).await;
    let outcome = dialled.as_ref().map(|_| ()).map_err(|error| *error);
    if let Err(error) = outcome {
        tracing::info!(%error, ?destination, "no connection");
    }
    match speaks {
        Speaks::Socks => socks::answer(&mut stream, outcome).await?,
        Speaks::Http => http::answer(&mut stream, outcome).await?,
    }
    stream.flush().await?;
    match dialled {
        Ok(connection) => relay(stream, &connection).await,
        Err(_) => Ok(()),
    }
}

/// Both ways until both have ended, or one is broken.
async fn relay(stream: BufStream<TcpStream>, connection: &Connection) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let up = async {
        let mut chunk = vec![0; CHUNK];
        while let read @ 1.. = from.read(&mut chunk).await? {
            connection.write_all(&chunk[..read]).await?;
        }
        connection.end();
        io::Result::Ok(())
    };
    let down = async {
        let mut chunk = vec![0; CHUNK];
        while let read @ 1.. = connection.read(&mut chunk).await? {
            to.write_all(&chunk[..read]).await?;
            to.flush().await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}
