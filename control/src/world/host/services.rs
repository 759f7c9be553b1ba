//! The intranet's servers: a directory that answers a question, a web server, and an echo.

use super::{serve, unknown};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// What the directory server answers to any line.
pub(crate) const DIRECTORY_ANSWER: &str = "directory: dc1.mycompany.example is here";
/// What the web server's page says.
pub(crate) const WEB_ANSWER: &str = "Welcome to the intranet";

pub(super) fn run(directory: SocketAddr, web: SocketAddr, echo: SocketAddr) -> io::Result<()> {
    listen(directory, answer_directory)?;
    listen(web, answer_web)?;
    listen(echo, answer_echo)?;
    serve(|command, _| Err(unknown(command)))
}

/// Serves each connection on a thread of its own; a connection that breaks ends its thread alone.
fn listen(address: SocketAddr, answer: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::Builder::new().name(format!("listen {address}")).spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = thread::Builder::new().spawn(move || answer(connection));
        }
    })?;
    Ok(())
}

/// The directory server's side of a connection.
pub(crate) fn answer_directory(connection: impl Read + Write) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    while connection.read_line(&mut line)? > 0 {
        line.clear();
        writeln!(connection.get_mut(), "{DIRECTORY_ANSWER}")?;
    }
    Ok(())
}

/// The web server's.
pub(crate) fn answer_web(connection: impl Read + Write) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    while connection.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    let page = format!("{head}\r\nContent-Length: {}\r\n\r\n{WEB_ANSWER}", WEB_ANSWER.len());
    connection.get_mut().write_all(page.as_bytes())
}

/// The echo server's.
pub(crate) fn answer_echo(mut connection: impl Read + Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}
