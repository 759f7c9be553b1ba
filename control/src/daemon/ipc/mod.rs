//! The daemon's control protocol: one JSON line asks, one JSON line answers, over the local socket.
//!
//! ```text
//! {"request":"status"}
//! {"ok":{"state":"connected", ...}}
//! {"request":"registration_delete"}
//! {"error":{"code":"no_registration","message":"..."}}
//! ```
//!
//! A line over [`MAX_REQUEST`] bytes, or one that is no request, is answered with an error and the connection closes.

pub mod client;
pub mod server;
mod view;

pub use super::settings::{Origin, SettingView, SettingsView};
pub use view::{
    ConfigView, DnsState, DnsView, DomainView, ErrorView, GenerationView, Keeper, KeyView, MdmState, MdmView,
    RegistrationView, RegistrationsView, State, Status, WhyEntry, WhyView,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest request line in bytes. The longest real one has under 100.
pub const MAX_REQUEST: usize = 4096;
/// Longest answer line in bytes a client takes; `why` is the longest, with at most 1,000 entries of some 300 bytes.
pub const MAX_ANSWER: usize = 4 << 20;

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// [`Status`].
    Status,
    /// [`RegistrationsView`].
    RegistrationShow,
    /// Deletes a registration at the gateway and here: `id`, or the one in use. Answers [`RegistrationView`].
    RegistrationDelete {
        /// Which one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<Uuid>,
    },
    /// Asks the user at the desktop to sign in: at once, again after a cancelled prompt. Answers [`Status`].
    RegistrationNew,
    /// The user's switch: on. Also asks for a login prompt again after a cancelled one. Answers [`Status`].
    Connect,
    /// The user's switch: off. Answers [`Status`].
    Disconnect,
    /// [`SettingsView`]: every setting in force.
    Settings,
    /// [`MdmView`].
    MdmConfigs,
    /// Reads the MDM file again. Answers [`MdmView`].
    MdmRefresh,
    /// [`WhyView`]: the last `last` events of the registration log.
    Why {
        /// How many; 50 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<usize>,
    },
}

impl Request {
    /// Whether it changes whose traffic the device carries. Who may only look may not ask for it.
    #[must_use]
    pub fn steers(&self) -> bool {
        match self {
            Self::RegistrationDelete { .. } | Self::RegistrationNew | Self::Connect | Self::Disconnect => true,
            Self::Status
            | Self::RegistrationShow
            | Self::Settings
            | Self::MdmConfigs
            | Self::MdmRefresh
            | Self::Why { .. } => false,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable word.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

impl Failure {
    /// A failure with a stable `code` and a sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// The answer line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The request's own answer type.
    Ok(serde_json::Value),
    /// It was refused.
    Error(Failure),
}
