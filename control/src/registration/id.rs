//! Names: of users and sessions, of orders, of the places where registrations are kept.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A user of the operating system, in the one form the system compares users by: the SID on Windows, the login name on
/// Linux.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub String);

/// A session of the operating system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub String);

/// Names one enrolment or one prompt. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// Names one attempt to bring a registration up. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivationId(pub u64);

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
display_inner!(UserId, SessionId, RequestId, ActivationId);

impl From<&str> for UserId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<&str> for SessionId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Where a registration is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Slot {
    /// The service token's registration, in both modes.
    PreLogin,
    /// Single-user mode: the one user registration of the machine.
    Machine,
    /// Multi-user mode: one per user of the operating system.
    User(UserId),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreLogin => f.write_str("pre-login"),
            Self::Machine => f.write_str("machine"),
            Self::User(user) => write!(f, "user:{user}"),
        }
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.to_string()
    }
}

impl TryFrom<String> for Slot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "pre-login" => Ok(Self::PreLogin),
            "machine" => Ok(Self::Machine),
            other => match other.strip_prefix("user:") {
                Some(user) => Ok(Self::User(user.into())),
                None => Err(format!("slot `{other}`: expected `pre-login`, `machine` or `user:NAME`")),
            },
        }
    }
}
