//! `/include`, `/exclude` and `/fallback_domains` of a profile: lists that are replaced as a whole.

use super::super::body::{description, read};
use super::super::envelope::{Answer, ApiError, many};
use super::{Parameters, find, keep};
use crate::api::profile::{Destination, FallbackDomain, SplitTunnel, TunnelEntry};
use crate::gateway::app::App;
use axum::body::Bytes;
use axum::extract::{Path, State};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Entries of one list.
const MAX_ENTRIES: usize = 1000;
/// Servers of one domain.
const MAX_SERVERS: usize = 16;

/// The body of `PUT /include` and `PUT /exclude`.
pub(in super::super) type Entries = Vec<Entry>;
/// The body of `PUT /fallback_domains`.
pub(in super::super) type Domains = Vec<Fallback>;

/// An entry of a split tunnel, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Entry {
    address: Option<String>,
    host: Option<String>,
    description: Option<String>,
}

/// A fallback domain, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Fallback {
    suffix: String,
    description: Option<String>,
    dns_server: Option<Vec<IpAddr>>,
}

pub(in super::super) async fn include(State(app): State<Arc<App>>, Path(path): Parameters) -> Answer {
    match find(&app, &path).await?.settings.split_tunnel {
        SplitTunnel::Include(entries) => many(entries),
        SplitTunnel::Exclude(_) => many(Vec::<TunnelEntry>::new()),
    }
}

pub(in super::super) async fn exclude(State(app): State<Arc<App>>, Path(path): Parameters) -> Answer {
    match find(&app, &path).await?.settings.split_tunnel {
        SplitTunnel::Exclude(entries) => many(entries),
        SplitTunnel::Include(_) => many(Vec::<TunnelEntry>::new()),
    }
}

/// The profile is one that includes from now on; what it excluded is forgotten.
pub(in super::super) async fn set_include(State(app): State<Arc<App>>, Path(path): Parameters, bytes: Bytes) -> Answer {
    let entries = tunnel_entries("include", read(&bytes)?)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    row.settings.split_tunnel = SplitTunnel::Include(entries.clone());
    keep(&app, row).await?;
    many(entries)
}

/// The profile is one that excludes from now on; what it included is forgotten.
pub(in super::super) async fn set_exclude(State(app): State<Arc<App>>, Path(path): Parameters, bytes: Bytes) -> Answer {
    let entries = tunnel_entries("exclude", read(&bytes)?)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    row.settings.split_tunnel = SplitTunnel::Exclude(entries.clone());
    keep(&app, row).await?;
    many(entries)
}

pub(in super::super) async fn fallback_domains(State(app): State<Arc<App>>, Path(path): Parameters) -> Answer {
    many(find(&app, &path).await?.settings.fallback_domains)
}

pub(in super::super) async fn set_fallback_domains(
    State(app): State<Arc<App>>,
    Path(path): Parameters,
    bytes: Bytes,
) -> Answer {
    let domains = fallback(read(&bytes)?)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    row.settings.fallback_domains.clone_from(&domains);
    keep(&app, row).await?;
    many(domains)
}

/// Checks the entries of a split tunnel.
pub(super) fn tunnel_entries(field: &str, given: Vec<Entry>) -> Result<Vec<TunnelEntry>, ApiError> {
    few(field, given.len())?;
    let mut entries: Vec<TunnelEntry> = Vec::with_capacity(given.len());
    for entry in given {
        let destination = match (entry.address, entry.host) {
            (Some(address), None) => Destination::Address(prefix(field, &address)?),
            (None, Some(host)) => Destination::Host(pattern(field, &host)?),
            _ => {
                return Err(ApiError::field(format!("`{field}`: every entry must have `address` or `host`, not both")));
            }
        };
        if entries.iter().any(|known| known.destination == destination) {
            return Err(ApiError::field(format!("`{field}` has an entry twice: {destination:?}")));
        }
        entries.push(TunnelEntry { destination, description: description(entry.description)? });
    }
    Ok(entries)
}

/// Checks fallback domains.
pub(super) fn fallback(given: Vec<Fallback>) -> Result<Vec<FallbackDomain>, ApiError> {
    const FIELD: &str = "fallback_domains";
    few(FIELD, given.len())?;
    let mut domains: Vec<FallbackDomain> = Vec::with_capacity(given.len());
    for entry in given {
        let suffix = domain(FIELD, &entry.suffix)?;
        if domains.iter().any(|known| known.suffix == suffix) {
            return Err(ApiError::field(format!("`{FIELD}` has `{suffix}` twice")));
        }
        let dns_server = entry.dns_server.unwrap_or_default();
        if dns_server.len() > MAX_SERVERS {
            let message = format!("`{FIELD}`: `{suffix}` must have at most {MAX_SERVERS} servers");
            return Err(ApiError::field(message));
        }
        domains.push(FallbackDomain { suffix, description: description(entry.description)?, dns_server });
    }
    Ok(domains)
}

fn few(field: &str, count: usize) -> Result<(), ApiError> {
    if count <= MAX_ENTRIES {
        return Ok(());
    }
    Err(ApiError::field(format!("`{field}` must have at most {MAX_ENTRIES} entries, got {count}")))
}

fn prefix(field: &str, text: &str) -> Result<IpNet, ApiError> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.map(|net| net.trunc()).ok_or_else(|| {
        ApiError::field(format!("`{field}`: `address` must be an address or a prefix like 10.0.0.0/8, got `{text}`"))
    })
}

/// A domain, or `*.` and a domain.
fn pattern(field: &str, text: &str) -> Result<String, ApiError> {
    match text.strip_prefix("*.") {
        Some(rest) => domain(field, rest).map(|rest| format!("*.{rest}")),
        None => domain(field, text),
    }
}

/// A domain's name in lower case, without its last dot.
pub(super) fn domain(field: &str, text: &str) -> Result<String, ApiError> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(name);
    }
    Err(ApiError::field(format!("`{field}`: expected a domain like corp.example.com, got `{text}`")))
}
