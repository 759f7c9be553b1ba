//! The gateway as the world runs it: `vestibule gateway` in a process of its own.

use super::{
    hosts::{HostError, Service},
    stage::{GATEWAY, Stage},
};
use crate::api::pin::Pin;
use serde::Deserialize;
use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a gateway to stand.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where tunnels end.
pub(crate) const TUNNEL_PORT: u16 = 51820;
const HTTPS_PORT: u16 = 8443;

/// What a script may know of the gateway (`gateway.json`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Facts {
    /// Of the admin API's paths.
    pub account_id: String,
    /// Where the API is.
    pub url: String,
    /// SHA-256 of its certificate.
    #[serde(deserialize_with = "pin")]
    pub certificate_sha256: Pin,
    /// File with the admin API's bearer token.
    pub admin_token_file: PathBuf,
    /// Whose facts these are.
    pub pid: u32,
}

fn pin<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Pin, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// A gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its process.
    pub service: Service,
    /// What it says of itself.
    pub facts: Facts,
}

impl Gateway {
    /// Starts it and waits until it stands.
    pub(crate) fn start(stage: &Stage) -> Result<Self, HostError> {
        let data = stage.room.join("gateway");
        let facts_file = data.join("gateway.json");
        let mut arguments: Vec<String> = vec!["gateway".into(), "--data".into(), data.display().to_string()];
        let https = format!("{GATEWAY}:{HTTPS_PORT}");
        let advertise = format!("{GATEWAY}:{TUNNEL_PORT}");
        for (name, value) in [
            ("--organization", "mycompany"),
            ("--https", &https),
            ("--tunnel", &advertise),
            ("--advertise", &advertise),
            ("--route", "10.20.0.0/24"),
            ("--interface", "vestibule0"),
        ] {
            arguments.extend([name.to_owned(), value.to_owned()]);
        }
        let log = stage.room.join("gateway.log");
        let mut service = Service::start(&stage.gateway, "gateway", &arguments, &log)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let facts = fs::read(&facts_file).ok().and_then(|bytes| serde_json::from_slice::<Facts>(&bytes).ok());
            // One that was killed has left its facts behind.
            if let Some(facts) = facts.filter(|facts| facts.pid == service.pid()) {
                return Ok(Self { service, facts });
            }
            if !service.alive() || Instant::now() > until {
                eprintln!("{}", service.tail(20));
                return Err(HostError::Silent { name: "gateway".to_owned(), command: "start".to_owned() });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The administrator's secret.
    pub(crate) fn admin_token(&self) -> Result<String, HostError> {
        fs::read_to_string(&self.facts.admin_token_file)
            .map(|token| token.trim().to_owned())
            .map_err(|cause| HostError::Io { name: "gateway".to_owned(), action: "read its admin token", cause })
    }
}
