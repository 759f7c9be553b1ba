//! Names and where they are.

use super::options::MasqueError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a client may wait for the name it asks for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most addresses of one name that are taken.
const MOST: usize = 64;

/// An authority's host, and its port if it names one.
pub(super) fn split(authority: &str) -> (&str, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    (host.trim_matches(['[', ']']), port)
}

/// Where an authority is; at least one place.
pub(super) async fn find(authority: &str, default_port: u16) -> Result<Vec<SocketAddr>, MasqueError> {
    let (host, port) = split(authority);
    let unknown = |cause| MasqueError::Resolve { host: host.to_owned(), cause };
    let found = tokio::net::lookup_host((host, port.unwrap_or(default_port))).await.map_err(unknown)?;
    let places: Vec<_> = found.collect();
    if places.is_empty() {
        return Err(unknown(io::Error::new(io::ErrorKind::NotFound, "it has no addresses")));
    }
    Ok(places)
}

/// The addresses of a name that a client asks for; none when it stands for nothing, or nobody knows in time.
pub(super) async fn resolve(name: &str) -> Vec<IpAddr> {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|place| place.ip().to_canonical()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(MOST);
            addresses
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a name that a client asked for");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_split() {
        assert_eq!(split("proxy.example"), ("proxy.example", None));
        assert_eq!(split("proxy.example:8443"), ("proxy.example", Some(8443)));
        assert_eq!(split("[2001:db8::1]:8443"), ("2001:db8::1", Some(8443)));
        assert_eq!(split("[2001:db8::1]"), ("2001:db8::1", None));
    }

    #[tokio::test]
    async fn addresses_are_their_own_names_and_nothing_is_none() {
        assert_eq!(resolve("192.0.2.1").await, [IpAddr::from([192, 0, 2, 1])]);
        assert!(resolve("no such name").await.is_empty());
    }
}
