//! One end of a TCP connection that carries so many bytes as fast as it can.

use super::{serve, unknown};
use serde_json::json;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a connection, or for the other end to take anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes per write and read.
const PIECE: usize = 128 * 1024;

/// Takes connections; tells each, when it ends, how many bytes came.
pub(super) fn sink(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        for connection in listener.incoming().flatten() {
            if let Err(error) = swallow(connection) {
                eprintln!("host: bulk: {error}");
            }
        }
    })?;
    serve(|command, _| Err(unknown(command)))
}

fn swallow(mut connection: TcpStream) -> io::Result<()> {
    let (mut buffer, mut arrived) = (vec![0; PIECE], 0u64);
    loop {
        match connection.read(&mut buffer)? {
            0 => return connection.write_all(&arrived.to_be_bytes()),
            count => arrived += count as u64,
        }
    }
}

/// Takes the command `send BYTES`: a new connection to `address`; answers how many bytes arrived there, and when all
/// had.
pub(super) fn source(address: SocketAddr) -> io::Result<()> {
    serve(|command, argument| {
        let Some(bytes) = argument.parse().ok().filter(|_| command == "send") else { return Err(unknown(command)) };
        let began = Instant::now();
        let arrived = send(address, bytes)?;
        Ok(json!({ "arrived": arrived, "seconds": began.elapsed().as_secs_f64() }))
    })
}

fn send(address: SocketAddr, bytes: u64) -> io::Result<u64> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let (piece, mut left) = (vec![0x5a; PIECE], bytes);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        left -= connection.write(&piece[..wanted])? as u64;
    }
    connection.shutdown(Shutdown::Write)?;
    let mut arrived = [0; 8];
    connection.read_exact(&mut arrived)?;
    Ok(u64::from_be_bytes(arrived))
}
