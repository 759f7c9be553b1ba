//! What the verbs' options may hold.

use clap::ValueEnum;
use vestibule_engine::generation::MasqueAsks;
use vestibule_engine::masque::request::{Target, UriTemplate};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Switch {
    Auto,
    Off,
}

/// Whose rules a client keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DialectName {
    /// RFC 9484
    Rfc9484,
    /// Cloudflare WARP's edge; experimental
    Warp,
}

pub(super) fn template(text: &str) -> Result<UriTemplate, String> {
    let authority = text.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).and_then(|_| text.get(8..));
    let bare = authority.map(|authority| authority.strip_suffix('/').unwrap_or(authority));
    let parsed = match bare.filter(|rest| !rest.contains(['/', '?', '#'])) {
        Some(authority) => UriTemplate::well_known(authority),
        None => UriTemplate::parse(text),
    };
    parsed.map_err(|error| error.to_string())
}

/// Only the path counts: by which name it is reached, clients know.
pub(super) fn path(text: &str) -> Result<UriTemplate, String> {
    let template = if text.starts_with('/') { format!("https://proxy.invalid{text}") } else { text.to_owned() };
    let parsed = UriTemplate::parse(&template).map_err(|error| error.to_string())?;
    parsed.check_for_gateway().map_err(|error| error.to_string())?;
    Ok(parsed)
}

pub(super) fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|error| error.to_string())
}

/// A number, or all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol(pub(super) Option<u8>);

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    let number = Target::parse_protocol(text).map_err(|error| error.to_string())?;
    // What cannot be asked for is told now.
    MasqueAsks::new(Target::Any, number).map_err(|error| error.to_string())?;
    Ok(Protocol(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_without_a_path_is_the_well_known_template() {
        let known = UriTemplate::well_known("proxy.example:4433").unwrap();
        for url in ["https://proxy.example:4433", "HTTPS://proxy.example:4433/"] {
            assert_eq!(template(url).unwrap(), known, "{url}");
        }
        let own = template("https://proxy.example/ip?t={target}").unwrap();
        assert_eq!(own, UriTemplate::parse("https://proxy.example/ip?t={target}").unwrap());
        for wrong in ["http://proxy.example", "proxy.example", "https://", "https://a b", "https://proxy.example/{+x}"]
        {
            assert!(template(wrong).is_err(), "{wrong}");
        }
    }
}
