//! The vendor's `mdm.xml`, read unchanged: a bare plist-style `<dict>`, or the same inside `<plist>`.
//!
//! A file is used whole or not at all. Whatever is unknown but harmless becomes a [warning](MdmWarning); whatever might
//! be meant otherwise than read becomes an [error](MdmError) that names file, line, key, what was expected and what to
//! do. Pure: the caller reads the file.
//!
//! Beyond the vendor's keys, two of ours stand at the top level: `pre_login_hold` (seconds; -1 until authenticated,
//! 0 cut at login, 1 to 7200) and `multi_user_keep_previous`.

mod config;
mod dict;
mod error;
pub mod installer;
pub mod keys;
mod organization;

pub(crate) use organization::literal_host;
mod path;
mod plist;
mod read;
mod suggest;
#[cfg(test)]
mod tests;
mod token;

pub use crate::secret::Secret;
pub use config::{
    Environment, MdmConfig, OrganizationConfig, OrganizationOverride, PreLogin, ServiceMode, ServiceToken,
    TunnelProtocol,
};
pub use error::{MdmError, MdmWarning, Problem};
pub use path::{DEFAULT_PATHS, default_path};
pub use read::{MAX_CONFIGS, parse};

/// Larger files are refused. 25 organisations with every key are under 100 KiB.
pub const MAX_BYTES: usize = 1 << 20;
