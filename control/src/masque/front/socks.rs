//! SOCKS5 (RFC 1928): CONNECT, without authentication.

use super::{Destination, DialError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;

/// What the client wants; `None`: something else than a connection, which it was told.
pub(super) async fn request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Option<Destination>> {
    let [version, methods] = read(stream).await?;
    if version != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected SOCKS version 5, got {version}")));
    }
    let mut offered = vec![0; methods.into()];
    stream.read_exact(&mut offered).await?;
    if !offered.contains(&0) {
        stream.write_all(&[VERSION, 0xff]).await?;
        stream.flush().await?;
        return Ok(None);
    }
    // The client waits for this one, whatever buffers are in between.
    stream.write_all(&[VERSION, 0]).await?;
    stream.flush().await?;
    let [version, command, _, kind] = read(stream).await?;
    let host = match (version, kind) {
        (VERSION, 1) => Ipv4Addr::from(read::<4>(stream).await?).to_string(),
        (VERSION, 4) => Ipv6Addr::from(read::<16>(stream).await?).to_string(),
        (VERSION, 3) => {
            let [len] = read(stream).await?;
            let mut name = vec![0; len.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?
        }
        _ => {
            reply(stream, 8).await?;
            return Ok(None);
        }
    };
    let port = u16::from_be_bytes(read(stream).await?);
    if command != 1 {
        reply(stream, 7).await?;
        return Ok(None);
    }
    Ok(Some(Destination::new(&host, port)))
}

/// Tells how the connection went.
pub(super) async fn answer(stream: &mut (impl AsyncWrite + Unpin), outcome: Result<(), DialError>) -> io::Result<()> {
    let code = match outcome {
        Ok(()) => 0,
        Err(DialError::Refused) => 5,
        Err(DialError::Timeout | DialError::Name | DialError::NoResolver) => 4,
        Err(DialError::NoAddress) => 3,
        Err(DialError::Full | DialError::Ended) => 1,
    };
    reply(stream, code).await
}

async fn reply(stream: &mut (impl AsyncWrite + Unpin), code: u8) -> io::Result<()> {
    // Bound to nothing anybody could use: the address is the tunnel's.
    stream.write_all(&[VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(text: &str) -> Destination {
        Destination::Address(text.parse().unwrap())
    }

    /// What comes of these bytes, and what is said to them.
    async fn ask(bytes: &[u8]) -> (io::Result<Option<Destination>>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let asked = request(&mut server).await;
        drop(server);
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        (asked, said)
    }

    #[tokio::test]
    async fn destinations_of_all_kinds() {
        let (asked, said) = ask(&[5, 2, 2, 0, 5, 1, 0, 1, 192, 0, 2, 7, 1, 187]).await;
        assert_eq!((asked.unwrap(), said), (Some(address("192.0.2.7:443")), vec![5, 0]));
        let (asked, _) = ask(b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x00\x50").await;
        assert_eq!(asked.unwrap(), Some(Destination::Name("a.example".into(), 80)));
        let (asked, _) = ask(b"\x05\x01\x00\x05\x01\x00\x03\x09192.0.2.7\x00\x50").await;
        assert_eq!(asked.unwrap(), Some(address("192.0.2.7:80")), "a literal in words");
        let v6 = [&[5, 1, 0, 5, 1, 0, 4][..], &Ipv6Addr::LOCALHOST.octets(), &[0, 22]].concat();
        assert_eq!(ask(&v6).await.0.unwrap(), Some(address("[::1]:22")));
    }

    #[tokio::test]
    async fn a_client_that_waits_for_each_answer_gets_it() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = tokio::io::BufStream::new(server);
        let asking = async {
            client.write_all(&[5, 1, 0]).await.unwrap();
            assert_eq!(read::<2>(&mut client).await.unwrap(), [5, 0]);
            client.write_all(&[5, 1, 0, 1, 192, 0, 2, 7, 0, 22]).await.unwrap();
        };
        let (asked, ()) = tokio::join!(request(&mut server), asking);
        assert_eq!(asked.unwrap(), Some(address("192.0.2.7:22")));
    }

    #[tokio::test]
    async fn what_is_not_served_is_told() {
        let (asked, said) = ask(&[5, 1, 2]).await;
        assert_eq!((asked.unwrap(), said), (None, vec![5, 0xff]), "no passwords");
        let (asked, said) = ask(&[5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        assert_eq!((asked.unwrap(), &said[..4]), (None, &[5, 0, 5, 7][..]), "no UDP");
        let (asked, said) = ask(&[5, 1, 0, 5, 1, 0, 9]).await;
        assert_eq!((asked.unwrap(), &said[..4]), (None, &[5, 0, 5, 8][..]), "no such address");
        for broken in [&b"GET / HTTP/1.1\r\n"[..], &[4, 1, 0], &[5, 1, 0, 5, 1]] {
            assert!(ask(broken).await.0.is_err(), "{broken:?}");
        }
    }
}
