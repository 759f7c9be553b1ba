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

fn answer_directory(connection: TcpStream) -> io::Result<()> {
    let mut writer = connection.try_clone()?;
    for line in BufReader::new(connection).lines() {
        line?;
        writeln!(writer, "{DIRECTORY_ANSWER}")?;
    }
    Ok(())
}

fn answer_web(connection: TcpStream) -> io::Result<()> {
    let mut writer = connection.try_clone()?;
    let mut lines = BufReader::new(connection).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = WEB_ANSWER.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    write!(writer, "{head}\r\nContent-Length: {length}\r\n\r\n{WEB_ANSWER}")
}

fn answer_echo(mut connection: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}
