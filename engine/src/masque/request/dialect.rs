//! Whose rules the request for a tunnel keeps to.

use super::Field;

/// How tunnels are asked for, and packets framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// RFC 9484's rules.
    #[default]
    Rfc9484,
    /// Those of Cloudflare WARP's edge, for clients alone and experimental: another protocol name at a fixed place, which
    /// the edge does not offer in its settings; no capsules but datagrams; over HTTP/2 a CONNECT that is not extended,
    /// and packets without a Context ID.
    Warp,
}

/// WARP's name of the protocol.
const PROTOCOL: &str = "cf-connect-ip";
/// The host that every request of WARP's is for, whatever the edge's name.
const AUTHORITY: &str = "cloudflareaccess.com";
/// HTTP/3's setting for datagrams as a draft had it (draft-ietf-masque-h3-datagram-00), which WARP's edge wants to see.
pub(crate) const DRAFT_H3_DATAGRAM: u64 = 0x276;

/// WARP's request over HTTP/3.
pub(super) fn extended_connect() -> Vec<Field> {
    vec![
        Field::new(":method", "CONNECT"),
        Field::new(":protocol", PROTOCOL),
        Field::new(":scheme", "https"),
        Field::new(":authority", AUTHORITY),
        Field::new(":path", "/"),
        Field::new(super::CAPSULE_PROTOCOL, "?1"),
    ]
}

/// WARP's request over HTTP/2: a CONNECT as to any proxy, and the protocol in a field.
pub(super) fn plain_connect() -> Vec<Field> {
    vec![
        Field::new(":method", "CONNECT"),
        Field::new(":authority", format!("{AUTHORITY}:443")),
        Field::new("cf-connect-proto", PROTOCOL),
        Field::new("pq-enabled", "false"),
        Field::new("user-agent", ""),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Credentials, HttpVersion, Outgoing, Target, UriTemplate};
    use super::*;

    fn fields(version: HttpVersion) -> Vec<(String, String)> {
        let template = UriTemplate::well_known("edge.example").unwrap();
        let outgoing = Outgoing::new(&template, &Target::Any, None, Credentials::None).in_dialect(Dialect::Warp);
        outgoing.fields(version).into_iter().map(|field| (field.name.to_string(), field.value.to_string())).collect()
    }

    #[test]
    fn warp_asks_by_its_own_name_wherever_the_edge_is() {
        let fields = fields(HttpVersion::Http3);
        let of = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(of(":protocol"), Some("cf-connect-ip"));
        assert_eq!((of(":authority"), of(":path")), (Some("cloudflareaccess.com"), Some("/")));
    }

    #[test]
    fn over_http2_warp_s_connect_is_not_extended() {
        let fields = fields(HttpVersion::Http2);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [":method", ":authority", "cf-connect-proto", "pq-enabled", "user-agent"]);
        assert!(fields.iter().any(|(name, value)| name == "user-agent" && value.is_empty()));
    }
}
