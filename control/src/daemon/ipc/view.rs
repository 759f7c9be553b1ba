//! What the daemon shows of itself. Secrets are never part of it.

pub use crate::daemon::device_key::{Keeper, KeyView};
pub use crate::daemon::dns::{DnsState, DnsView, DomainView};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};
use uuid::Uuid;

/// The daemon's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No MDM file: there is nothing to connect to.
    Unmanaged,
    /// Down, and nothing is under way.
    Disconnected,
    /// Down; a user is asked to sign in.
    Prompting,
    /// Down; an enrolment or a first handshake is under way.
    Connecting,
    /// A generation carries traffic.
    Connected,
    /// A generation carries traffic and the next identity is being prepared.
    Switching,
}

/// `vestibule status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// In one sentence.
    pub summary: String,
    /// Whose traffic it is: `non_identity@<team>.cloudflareaccess.com` or a user's mail.
    pub identity: Option<String>,
    /// Team name.
    pub organization: Option<String>,
    /// The active registration.
    pub registration: Option<Uuid>,
    /// SHA-256 of the device key, hex.
    pub device_id: String,
    /// Where the device key is kept.
    pub device_key: KeyView,
    /// The device's inner addresses.
    pub addresses: Vec<IpNet>,
    /// What is routed into the tunnel.
    pub routes: Vec<IpNet>,
    /// Name of the adapter.
    pub interface: String,
    /// Inner MTU.
    pub mtu: Option<u16>,
    /// The active generation's id.
    pub generation: Option<u64>,
    /// The order it answers.
    pub swap_seq: Option<u64>,
    /// When it was committed (RFC 3339).
    pub since: Option<String>,
    /// Version of the rules in force.
    pub policy_version: Option<u64>,
    /// Generations committed since this daemon started.
    pub swaps: u64,
    /// Where the user signs in, while a login is awaited.
    pub auth_url: Option<String>,
    /// Who owns the desktop; nobody at the login screen.
    pub desktop: Option<String>,
    /// The user's switch.
    pub switched_on: bool,
    /// The last thing that went wrong, until something of its kind works again.
    pub last_error: Option<ErrorView>,
    /// The gateway.
    pub gateway: String,
    /// The MDM file.
    pub mdm: MdmView,
    /// How names are resolved.
    pub dns: DnsView,
    /// All generations that are not retired.
    pub generations: Vec<GenerationView>,
    /// The engine's counters by name, those that are not zero.
    pub counters: BTreeMap<String, u64>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// When (RFC 3339).
    pub at: String,
    /// What, with its chain of causes.
    pub message: String,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationView {
    /// Its id.
    pub generation: u64,
    /// The order it answers.
    pub swap_seq: u64,
    /// Whose traffic.
    pub identity: String,
    /// `preparing`, `ready`, `committing`, `active` or `draining`.
    pub stage: String,
}

/// State of the MDM file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MdmState {
    /// Read, and in force.
    Loaded,
    /// There was none when the daemon started.
    Missing,
    /// The file on disk is broken or gone; the last good configuration stays in force.
    LastGood,
    /// The file on disk is broken, and there never was a good one.
    Broken,
}

/// `vestibule mdm get-configs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdmView {
    /// The file.
    pub path: PathBuf,
    /// Its state.
    pub state: MdmState,
    /// What is wrong with it: file, key, expected and got.
    pub error: Option<String>,
    /// When the configuration in force was read (RFC 3339).
    pub loaded_at: Option<String>,
    /// One registration per OS user.
    pub multi_user: bool,
    /// Team name of the connection before login.
    pub pre_login: Option<String>,
    /// Organisations to choose from, in the file's order.
    pub configs: Vec<ConfigView>,
}

/// One entry of `configs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Team name.
    pub organization: String,
    /// The menu's label.
    pub display_name: Option<String>,
}

/// One stored registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationView {
    /// Its id.
    pub id: Uuid,
    /// Team name.
    pub organization: String,
    /// `non_identity@…` or the user's mail.
    pub identity: String,
    /// True for one made with a service token.
    pub service_token: bool,
    /// Where it is kept: `pre-login`, `machine`, or `user:NAME`.
    pub slot: String,
    /// Its key is no longer accepted.
    pub revoked: bool,
    /// Whether it carries traffic.
    pub active: bool,
}

/// `vestibule registration show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationsView {
    /// SHA-256 of the device key, hex.
    pub device_id: String,
    /// All that are stored.
    pub registrations: Vec<RegistrationView>,
}

/// One step of the registration machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyEntry {
    /// When (RFC 3339).
    pub at: String,
    /// Under which start of the system.
    #[serde(default)]
    pub boot: Option<String>,
    /// The row or decision that answered it: `S1`, `M4`, `D1`, ...
    pub row: String,
    /// What that row says.
    pub rule: String,
    /// What happened and what was done, in plain words.
    pub plain: String,
    /// The machine's own record: event, actions, state before and after.
    pub step: serde_json::Value,
}

/// `vestibule why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyView {
    /// Oldest first.
    pub entries: Vec<WhyEntry>,
}
