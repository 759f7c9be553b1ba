//! Emergency disconnect (D21): a file beside the MDM file, and an address that is asked again and again. Any one of them
//! disconnects; all must be clear to connect again. What cannot be read or reached changes nothing.

mod poll;
#[cfg(test)]
mod tests;

pub(super) use poll::poll;

use crate::{
    api::{device::EmergencySignal, pin::Pin, profile::OrganizationSettings},
    gateway::duration,
    mdm::{OrganizationConfig, literal_host},
};
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinHandle;
use vestibule_platform::files;

/// The file's name; the vendor's, in the same directory.
const FILE: &str = "emergency_disconnect.json";
/// Longest signal in bytes. A real one has some 30.
const MAX_SIGNAL: usize = 64 << 10;
/// The vendor's, where the MDM file says nothing.
const INTERVAL: Duration = Duration::from_secs(300);

/// A gateway's word goes no lower.
const SHORTEST: Duration = Duration::from_secs(30);

/// Where signals come from, as the MDM file and the organisation say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The file counts.
    pub(super) file: bool,
    /// The address counts.
    pub(super) remote: Option<Remote>,
}

/// An address that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) pin: Pin,
    pub(super) interval: Duration,
}

impl Sources {
    /// Those of the entry that a user signs in to first. An address in the MDM file goes before the organisation's.
    pub(super) fn of(entry: Option<&OrganizationConfig>, organization: Option<&OrganizationSettings>) -> Self {
        let default = OrganizationConfig::default();
        let entry = entry.unwrap_or(&default);
        let pin = entry.external_emergency_signal_fingerprint.as_ref().and_then(|pin| pin.parse().ok());
        let remote = entry.external_emergency_signal_url.clone().zip(pin).map(|(url, pin)| Remote {
            url,
            pin,
            interval: entry
                .external_emergency_signal_interval
                .map_or(INTERVAL, |seconds| Duration::from_secs(seconds.into())),
        });
        let remote = match &entry.external_emergency_signal_url {
            Some(_) => remote,
            None => organization.and_then(Remote::of_organization),
        };
        Self { file: entry.local_emergency_signal_enabled.unwrap_or(false), remote }
    }
}

impl Remote {
    /// What the administrator has set at the gateway. Without a fingerprint it is not asked, as in the MDM file.
    fn of_organization(settings: &OrganizationSettings) -> Option<Self> {
        let url = &settings.external_emergency_signal_url;
        if !settings.external_emergency_signal_enabled || !literal_host(url) {
            return None;
        }
        let pin = settings.external_emergency_signal_fingerprint.parse().ok()?;
        let interval = duration::parse(&settings.external_emergency_signal_interval).ok();
        let interval = interval.map_or(INTERVAL, |millis| Duration::from_millis(millis.unsigned_abs()));
        Some(Self { url: url.clone(), pin, interval: interval.max(SHORTEST) })
    }
}

/// What a signal says.
fn signal(content: &[u8]) -> Result<bool, serde_json::Error> {
    serde_json::from_slice::<EmergencySignal>(content).map(|signal| signal.emergency_disconnect)
}

/// What the sources say.
#[derive(Debug)]
pub(super) struct Emergency {
    path: PathBuf,
    sources: Sources,
    file: bool,
    remote: bool,
    /// What the machine knows.
    told: bool,
    /// What is wrong with the file was told.
    fault: Option<String>,
    poller: Option<Poller>,
}

/// A task that asks; it ends with this.
#[derive(Debug)]
struct Poller(JoinHandle<()>);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the file is for an MDM file.
pub(super) fn file_beside(mdm: &Path) -> PathBuf {
    mdm.with_file_name(FILE)
}

impl Emergency {
    /// `engaged` is what held when the earlier process ended; it holds until the address answers, or none is configured.
    pub(super) fn new(mdm: &Path, engaged: bool) -> Self {
        Self {
            path: file_beside(mdm),
            sources: Sources::default(),
            file: false,
            remote: engaged,
            told: engaged,
            fault: None,
            poller: None,
        }
    }

    /// Takes the MDM file's word. `ask` starts the task that asks an address.
    pub(super) fn configure(&mut self, sources: Sources, ask: impl FnOnce(Remote) -> JoinHandle<()>) {
        match &sources.remote {
            None => {
                self.poller = None;
                self.remote = false;
            }
            // A new address says for itself whether it is clear; until then what held holds.
            Some(remote) if self.sources.remote.as_ref() != Some(remote) => {
                self.poller = Some(Poller(ask(remote.clone())))
            }
            Some(_) => {}
        }
        self.sources = sources;
        self.look();
    }

    /// Reads the file. None is a clear one; one that cannot be understood changes nothing.
    pub(super) fn look(&mut self) {
        if !self.sources.file {
            self.file = false;
            return;
        }
        let said = match files::read_trusted(&self.path, MAX_SIGNAL) {
            Ok(content) => signal(&content).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        };
        match said {
            Ok(engaged) => {
                self.file = engaged;
                self.fault = None;
            }
            Err(fault) if self.fault.as_ref() != Some(&fault) => {
                let path = self.path.display();
                tracing::warn!("{path}: {fault}: expected {{\"emergency_disconnect\": true|false}}; nothing changes");
                self.fault = Some(fault);
            }
            Err(_) => {}
        }
    }

    /// The address has answered.
    pub(super) fn answered(&mut self, engaged: bool) {
        // An answer that was under way when the address was taken out of the MDM file counts for nothing.
        self.remote = engaged && self.sources.remote.is_some();
    }

    /// Where the address that is asked is.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let url = reqwest::Url::parse(&self.sources.remote.as_ref()?.url).ok()?;
        let host = url.host_str()?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// What to tell the machine, when that is news to it.
    pub(super) fn news(&mut self) -> Option<bool> {
        let engaged = self.file || self.remote;
        (std::mem::replace(&mut self.told, engaged) != engaged).then_some(engaged)
    }
}
