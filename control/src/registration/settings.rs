//! What the configuration asks of the registration machine.

use serde::{Deserialize, Serialize};

/// The part of the MDM configuration that decides about registrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// One registration per user of the operating system.
    pub multi_user: bool,
    /// Team whose service token connects before login.
    pub pre_login: Option<String>,
    /// How long the pre-login registration stays in force after a login.
    pub pre_login_hold: Hold,
    /// Multi-user: the login screen without pre-login keeps the previous user's registration (M5, D13).
    pub keep_previous: bool,
    /// Teams a user may sign in to, the one to prompt for first. Empty: nothing to prompt for.
    pub organizations: Vec<String>,
    /// The first of them has a service token of its own: users are enrolled by it instead of being asked.
    #[serde(default)]
    pub by_token: bool,
    /// The user's switch may not be turned off.
    pub switch_locked: bool,
    /// Seconds after which the user's switch turns itself on again; `None` and 0 never do.
    pub auto_connect: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            multi_user: false,
            pre_login: None,
            pre_login_hold: Hold::default(),
            keep_previous: true,
            organizations: Vec::new(),
            by_token: false,
            switch_locked: false,
            auto_connect: None,
        }
    }
}

/// How long the pre-login registration stays in force between a login and the user's authentication (D1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// -1: until the user has authenticated.
    #[default]
    UntilAuthenticated,
    /// 0: cut at login, as the vendor's client does.
    Cut,
    /// 1 to 7200.
    Seconds(u16),
}
