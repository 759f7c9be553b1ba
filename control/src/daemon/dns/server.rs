//! The local resolver: takes questions over UDP and TCP and passes each to the servers of its domain.

use super::{
    exchange::{Transport, ask, read_framed, write_framed},
    message::{self, Question},
    routes::Routes,
};
use hickory_server::proto::op::ResponseCode;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// Questions over UDP that may be open at a time; each holds a socket for some seconds at most. Others are refused.
const OPEN: usize = 256;
/// Connections that may be open at a time; others wait to be taken.
const CONNECTIONS: usize = 64;
/// How long a connection may be idle (RFC 7766 leaves it to the server; glibc uses each for one question).
const IDLE: Duration = Duration::from_secs(10);
/// Longest query that is taken over UDP.
const LONGEST: usize = 4096;
/// Pause after an error of the listening socket itself, such as no file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A resolver that serves until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    routes: watch::Sender<Arc<Routes>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Takes questions at `address`, both ways.
    pub(super) async fn start(address: SocketAddr, routes: Routes) -> io::Result<Self> {
        Self::holding(OPEN, address, routes).await
    }

    /// As [`Self::start`], with so many questions over UDP open at a time.
    async fn holding(open: usize, address: SocketAddr, routes: Routes) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        // With port 0 both get the same.
        let address = listener.local_addr()?;
        let socket = UdpSocket::bind(address).await?;
        let (routes, followed) = watch::channel(Arc::new(routes));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(socket, open, followed.clone()));
        tasks.spawn(serve_tcp(listener, followed));
        Ok(Self { address, routes, _tasks: tasks })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Later questions go by `routes`; those under way go on as they are.
    pub(super) fn route(&self, routes: Routes) {
        self.routes.send_replace(Arc::new(routes));
    }
}

async fn serve_udp(socket: UdpSocket, open: usize, routes: watch::Receiver<Arc<Routes>>) {
    let (socket, open) = (Arc::new(socket), Arc::new(Semaphore::new(open)));
    // Ends with this task: nothing is sent after the server was dropped.
    let mut questions = JoinSet::new();
    let mut buffer = [0; LONGEST];
    loop {
        while questions.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // A client that is gone already is told here too.
                tracing::debug!(%error, "the resolver's socket");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let query = buffer[..length].to_vec();
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            let _ = socket.send_to(&message::refusal(&query, ResponseCode::ServFail), client).await;
            continue;
        };
        let (socket, routes) = (Arc::clone(&socket), routes.borrow().clone());
        questions.spawn(async move {
            if let Some(answer) = answer(&query, &routes, Transport::Udp).await {
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, routes: watch::Receiver<Arc<Routes>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(converse(stream, routes.clone()))),
            Err(error) => {
                tracing::debug!(%error, "the resolver's listener");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One connection: question by question.
async fn converse(mut stream: TcpStream, routes: watch::Receiver<Arc<Routes>>) {
    while let Ok(Ok(query)) = timeout(IDLE, read_framed(&mut stream)).await {
        let now = routes.borrow().clone();
        let Some(answer) = answer(&query, &now, Transport::Tcp).await else { return };
        if !matches!(timeout(IDLE, write_framed(&mut stream, &answer)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(query: &[u8], routes: &Routes, transport: Transport) -> Option<Vec<u8>> {
    Some(match Question::read(query)? {
        Ok(question) => ask(query, &question, &routes.servers(question.name()), transport).await,
        Err(code) => message::refusal(query, code),
    })
}

#[cfg(test)]
mod tests;
