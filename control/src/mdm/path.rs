//! Where the vendor's client looks for its file.

/// Operating system (as [`std::env::consts::OS`] names it) and path.
pub const DEFAULT_PATHS: [(&str, &str); 3] = [
    ("windows", r"C:\ProgramData\Cloudflare\mdm.xml"),
    ("macos", "/Library/Application Support/Cloudflare/mdm.xml"),
    ("linux", "/var/lib/cloudflare-warp/mdm.xml"),
];

/// The path on an operating system; unknown ones get Linux's.
#[must_use]
pub fn default_path(os: &str) -> &'static str {
    DEFAULT_PATHS.iter().find(|(name, _)| *name == os).map_or(DEFAULT_PATHS[2].1, |(_, path)| path)
}
