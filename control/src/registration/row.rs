//! The rows of the specification, by name.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! rows {
    ($($name:ident: $text:literal,)*) => {
        /// A row that decided something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Row {
            $(#[doc = $text] $name,)*
        }

        impl Row {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `S1`, `M6`, `D9`, ...
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it says.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

rows! {
    S1: "nobody is logged on and no user has registered: the service token connects the device",
    S2: "nobody is logged on, no user has registered, no pre-login is configured: not connected",
    S3: "a user is logged on and no user has registered: the user is asked to sign in",
    S4: "the user signed in: connected as the user",
    S5: "the user's registration is used, also at the login screen",
    S6: "the user's registration is gone: pre-login again when the user logs off, not before",
    S7: "another user is logged on: still the first user's registration",
    M1: "multi-user was turned on: the user at the desktop signs in anew",
    M2: "a user who was asked to sign in logged off: login screen",
    M3: "a user who was asked to sign in switched away: the next user's turn",
    M4: "login screen: the pre-login registration is used",
    M5: "login screen without a pre-login registration: the previous user's registration stays",
    M6: "the user at the desktop has a registration: it is used",
    M7: "the user at the desktop has no registration: the user is asked to sign in",
    D1: "from login until the user has signed in, the pre-login registration stays in force",
    D2: "the device's inner addresses stay: they belong to it, not to a registration",
    D3: "open connections are judged again under the new identity",
    D4: "a user left the desktop: the login screen's or the next user's turn",
    D5: "lock and unlock change nothing",
    D6: "after a system start the login screen's rules apply",
    D7: "sleep changes nothing; after it the keys are renewed at once",
    D8: "the session that was activated last owns the traffic",
    D9: "a registration in use was deleted or revoked",
    D10: "the service token was refused: what is registered stays registered",
    D11: "enrolment or connection failed: tried again after a pause that doubles, at once when the network or the configuration changes",
    D12: "pre-login and the user belong to different organisations: make before break",
    D13: "login screen without pre-login: by configuration, nobody's registration is used",
    D14: "the configuration file cannot be used: the last good one stays in force",
    D15: "an answer that nobody waits for any longer is kept but not acted on",
    D16: "time decides only by the time since boot",
    D17: "a switch to a user without a registration: never under the previous user's",
    D18: "the service started in the middle of a session: derived again from who is logged on",
    D19: "multi-user was turned on or off: registrations are kept",
    D20: "login screen, pre-login configured but not registered: enrol by the service token",
    D21: "emergency disconnect: down, above every other rule",
    Swap: "a step of bringing a registration up beside the active one",
    Switch: "the user's switch",
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
