//! HTTP CONNECT (RFC 9110 section 9.3.6), over HTTP/1.1.

use super::{Destination, DialError};
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head of a request.
const MAX_HEAD: u64 = 16 << 10;

/// What the client wants; `None`: something else than a connection, which it was told.
pub(super) async fn request<S>(stream: &mut S) -> io::Result<Option<Destination>>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let mut head = stream.take(MAX_HEAD);
    let mut first = String::new();
    head.read_line(&mut first).await?;
    let mut line = String::new();
    while head.read_line(&mut line).await? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected the head of an HTTP request"));
    }
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "CONNECT" {
        refuse(stream, "405 Method Not Allowed", "only CONNECT is served here").await?;
        return Ok(None);
    }
    let Some((host, Ok(port))) = target.rsplit_once(':').map(|(host, port)| (host, port.parse())) else {
        refuse(stream, "400 Bad Request", "expected CONNECT host:port").await?;
        return Ok(None);
    };
    Ok(Some(Destination::new(host, port)))
}

/// Tells how the connection went.
pub(super) async fn answer(stream: &mut (impl AsyncWrite + Unpin), outcome: Result<(), DialError>) -> io::Result<()> {
    match outcome {
        Ok(()) => stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        Err(error) => {
            let status = match error {
                DialError::Timeout => "504 Gateway Timeout",
                DialError::Full | DialError::Ended => "503 Service Unavailable",
                _ => "502 Bad Gateway",
            };
            refuse(stream, status, &error.to_string()).await
        }
    }
}

async fn refuse(stream: &mut (impl AsyncWrite + Unpin), status: &str, reason: &str) -> io::Result<()> {
    let len = reason.len() + 1;
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{reason}\n"
    );
    stream.write_all(text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tokio::io::BufStream;

    async fn ask(text: &str) -> (io::Result<Option<Destination>>, String) {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        client.write_all(text.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut server = BufStream::new(server);
        let asked = request(&mut server).await;
        server.flush().await.unwrap();
        drop(server);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        (asked, said)
    }

    #[tokio::test]
    async fn destinations_are_read_and_the_rest_is_told() {
        let (asked, said) = ask("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await;
        assert_eq!((asked.unwrap(), said.as_str()), (Some(Destination::Name("a.example".into(), 443)), ""));
        let (asked, _) = ask("CONNECT [2001:db8::1]:22 HTTP/1.1\r\n\r\n").await;
        assert_eq!(asked.unwrap(), Some(Destination::Address("[2001:db8::1]:22".parse().unwrap())));
        for (text, status) in [("GET http://a/ HTTP/1.1\r\n\r\n", "405"), ("CONNECT a HTTP/1.1\r\n\r\n", "400")] {
            let (asked, said) = ask(text).await;
            assert!(asked.unwrap().is_none() && said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        }
        for broken in ["", "CONNECT a:1 HTTP/1.1\r\n", &"x".repeat(17 << 10)] {
            assert!(ask(broken).await.0.is_err());
        }
    }
}
