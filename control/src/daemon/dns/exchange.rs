//! One question to the servers of its domain, over UDP or TCP as it was asked.

use super::{
    message::{self, Question},
    routes::Servers,
};
use crate::crypto::random;
use hickory_server::proto::op::ResponseCode;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long one server may take before the next one is asked. A tunnel around the world answers in a third of it.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How often all servers are asked over UDP, where a datagram may get lost.
const ROUNDS: usize = 2;
/// How long everything may take: clients (resolv.conf(5)) ask again after five seconds.
const LIMIT: Duration = Duration::from_millis(4800);
/// Largest message.
const LARGEST: usize = 65_535;

/// How a question came, and so how it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Asks the servers in turn until one answers. What it says is passed on as it is: also that there is no such name, or
/// that it did not fit (the client then asks over TCP). One that fails or refuses leaves it to the next.
pub(super) async fn ask(query: &[u8], question: &Question, servers: &Servers, transport: Transport) -> Vec<u8> {
    let mut last = None;
    let asked = timeout(LIMIT, async {
        let rounds = if transport == Transport::Udp { ROUNDS } else { 1 };
        for (number, server) in (0..rounds).flat_map(|_| servers.in_turn()) {
            match timeout(PATIENCE, once(query, question, server, transport)).await {
                Ok(Ok((answer, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp))) => {
                    last = Some(answer);
                }
                Ok(Ok((answer, _))) => {
                    servers.prefer(number);
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver did not answer"),
                Err(_) => tracing::debug!(%server, "a resolver did not answer in time"),
            }
        }
        None
    });
    let answer = asked.await.ok().flatten().or(last);
    // Nobody to ask: the domain has no servers, and guessing is switched off.
    let code = if servers.in_turn().next().is_none() { ResponseCode::Refused } else { ResponseCode::ServFail };
    answer.unwrap_or_else(|| message::refusal(query, code))
}

/// Asks one server once, under an id of our own and from a port of its own.
async fn once(
    query: &[u8],
    question: &Question,
    server: SocketAddr,
    transport: Transport,
) -> io::Result<(Vec<u8>, ResponseCode)> {
    let id = u16::from_be_bytes(random().map_err(io::Error::other)?);
    let mut sent = query.to_vec();
    message::set_id(&mut sent, id);
    let (mut answer, code) = match transport {
        Transport::Udp => udp(&sent, question, id, server).await?,
        Transport::Tcp => tcp(&sent, question, id, server).await?,
    };
    message::set_id(&mut answer, message::id(query));
    Ok((answer, code))
}

async fn udp(sent: &[u8], question: &Question, id: u16, server: SocketAddr) -> io::Result<(Vec<u8>, ResponseCode)> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    // The kernel draws the port at random, and drops what comes from anybody else once the socket is connected.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(sent).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(code) = question.answered(&buffer[..length], id) {
            buffer.truncate(length);
            return Ok((buffer, code));
        }
        tracing::debug!(%server, "an answer to another question is left out");
    }
}

async fn tcp(sent: &[u8], question: &Question, id: u16, server: SocketAddr) -> io::Result<(Vec<u8>, ResponseCode)> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, sent).await?;
    let answer = read_framed(&mut stream).await?;
    let code = question.answered(&answer, id).ok_or_else(|| io::Error::other("the answer is to another question"))?;
    Ok((answer, code))
}

/// A message on a TCP connection: its length, then itself (RFC 1035, 4.2.2).
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// See [`read_framed`]. Length and message go out together.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}
