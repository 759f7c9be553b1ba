//! The device API: what a device's daemon and a gateway say to each other over HTTPS (JSON, under `/vestibule/v1`).
//!
//! | call | authentication | body -> answer |
//! |---|---|---|
//! | `POST /nonce` | none | `{}` -> [`Nonce`] |
//! | `POST /registrations` | service token headers, or `CF-Access-Jwt-Assertion` | [`EnrolRequest`] -> [`EnrolResponse`] |
//! | `DELETE /registrations/{id}` | bearer of the registration | -> `{}` |
//! | `POST /swap` | bearer of the registration | [`SwapRequest`] -> [`SwapResponse`] |
//! | `POST /posture` | bearer of the registration | [`PostureReport`] -> [`PostureSchedule`] |
//! | `GET /changes?since=V&policy=D&profile=D&posture=S` ([`Held`]) | bearer of the registration | long poll, at most 25 s -> [`Changes`] |
//! | `POST /auth/token` | PKCE verifier | [`TokenRequest`] -> [`TokenResponse`] |
//! | `GET /emergency` | none | -> [`EmergencySignal`] |
//!
//! Errors are [`ErrorBody`] with a 4xx/5xx status. Binary values are base64 (standard, padded).
//!
//! A user signs in with the system browser (RFC 8252): it opens
//! `GET /warp?organization=&redirect_uri=http://127.0.0.1:PORT/callback&state=&code_challenge=&code_challenge_method=S256`,
//! logs in, and is sent to `redirect_uri?code=&state=`; the daemon trades the code at `/auth/token`.

use super::posture::{PostureReport, PostureSchedule};
use super::profile::{ProfileDocument, TunnelProtocol};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use uuid::Uuid;

/// Header with a service token's id.
pub const CLIENT_ID_HEADER: &str = "CF-Access-Client-Id";
/// Header with a service token's secret.
pub const CLIENT_SECRET_HEADER: &str = "CF-Access-Client-Secret";
/// Header with the assertion that a user's login gave.
pub const ASSERTION_HEADER: &str = "CF-Access-Jwt-Assertion";

/// A single-use value that an enrolment signs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nonce {
    /// 32 random bytes, base64; valid for two minutes, once.
    pub nonce: String,
}

/// Asks for a registration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// Team name.
    pub organization: String,
    /// From `POST /nonce`.
    pub nonce: String,
    /// The device's P-256 public key, uncompressed point, base64. Its SHA-256 is the device id.
    pub device_public_key: String,
    /// X25519 public key, base64.
    pub tunnel_public_key: String,
    /// ECDSA P-256 SHA-256 (fixed 64 bytes, base64) by the device key over [`enrol_message`].
    pub signature: String,
    /// What the device says of itself.
    pub device: DeviceFacts,
}

/// What a device says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Host name.
    pub name: String,
    /// `linux`, `windows`, ...
    pub os: String,
    /// Semantic version of the system.
    pub os_version: String,
    /// Version of this client.
    pub client_version: String,
}

/// What a registration is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationInfo {
    /// Its id.
    pub id: Uuid,
    /// Team name.
    pub organization: String,
    /// SHA-256 of the device key, hex.
    pub device_id: String,
    /// `non_identity@<team>.cloudflareaccess.com` or the user's mail.
    pub email: String,
    /// True for a registration made with a service token.
    pub service_token: bool,
}

/// A new registration.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolResponse {
    /// The registration.
    pub registration: RegistrationInfo,
    /// Bearer secret of this registration; given once.
    pub token: String,
    /// The device's inner addresses.
    pub addresses: Vec<IpNet>,
}

/// Orders a swap to fresh tunnel keys under a registration (also used for the first connection).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwapRequest {
    /// Above every one that this device sent before.
    pub swap_seq: u64,
    /// The registration to swap to.
    pub registration: Uuid,
    /// Fresh X25519 public key, base64; over MASQUE the SHA-256 of the SubjectPublicKeyInfo (DER) of the certificate that
    /// the device will show.
    pub tunnel_public_key: String,
    /// What the tunnel travels over.
    #[serde(default)]
    pub tunnel_protocol: TunnelProtocol,
    /// By the device key over [`swap_message`].
    pub signature: String,
    /// [`SwapResponse::policy_digest`] of the rules that the device holds for this registration, if it holds any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_held: Option<String>,
    /// [`SwapResponse::profile_digest`] of the profile that the device holds for this registration, if it holds any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_held: Option<String>,
    /// What the device's system says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<PostureReport>,
}

/// The gateway has stored the order; the handshake may begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwapResponse {
    /// The gateway's X25519 public key, base64.
    pub gateway_public_key: String,
    /// Where to send datagrams, of either protocol.
    pub endpoint: SocketAddr,
    /// Where tunnels over MASQUE are asked for, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masque: Option<MasqueOffer>,
    /// The device's inner addresses.
    pub addresses: Vec<IpNet>,
    /// What is routed into the tunnel.
    pub routes: Vec<IpNet>,
    /// Inner MTU in bytes.
    pub mtu: u16,
    /// Rules of this identity; none when the device holds them already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyDocument>,
    /// Names these rules: SHA-256 of the document without its version, base64.
    pub policy_digest: String,
    /// Their version; it may be above that of the rules held, when a change left them alone.
    #[serde(default)]
    pub policy_version: u64,
    /// The profile of this registration; none when the device holds it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileDocument>,
    /// Names this profile: SHA-256 of the document, base64.
    #[serde(default)]
    pub profile_digest: String,
    /// When to report posture.
    #[serde(default)]
    pub posture: PostureSchedule,
}

/// A gateway's CONNECT-IP proxy (RFC 9484).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasqueOffer {
    /// Its URI template.
    pub template: String,
    /// The key of its certificate: DER of SubjectPublicKeyInfo, base64.
    pub public_key: String,
    /// It takes tunnels over HTTP/2 where it takes these calls, from clients that ask TLS for nothing else (ALPN `h2`).
    #[serde(default)]
    pub http2: bool,
}

/// The shape of [`PolicyDocument`] that this version writes and reads.
pub const POLICY_FORMAT: u32 = 2;

/// The rules of one identity, in order.
///
/// Later formats only add fields. A device that does not know a document's format lets all traffic into the tunnel: its
/// rules only answer earlier than the gateway, which judges in any case. The same is sent to it in place of a document
/// of more than [`MAX_POLICY_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDocument {
    /// [`POLICY_FORMAT`].
    pub format: u32,
    /// Grows with every change.
    pub version: u64,
    /// Answer when no rule matches: true allows.
    pub default_allow: bool,
    /// Lists that places name by their position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<PolicyList>,
    /// First match wins.
    #[serde(default)]
    pub rules: Vec<PolicyRule>,
}

/// Largest document that is sent, as JSON.
pub const MAX_POLICY_BYTES: usize = 8 * 1024 * 1024;

/// Addresses or names that several rules name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyList {
    /// Its prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
    /// Its names of servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// One rule of a [`PolicyDocument`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Position in the document.
    pub id: u32,
    /// The administrator's name for it.
    pub name: String,
    /// True allows, false blocks. Flows that the gateway sends elsewhere are allowed.
    pub allow: bool,
    /// It matches when one of these does.
    #[serde(default)]
    pub clauses: Vec<PolicyClause>,
}

/// Conditions of which all must hold; what is not there asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyClause {
    /// Where the flow is opened towards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<PolicyPlace>,
    /// Who opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<PolicyPlace>,
    /// Inclusive port ranges, of TCP and UDP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_ports: Vec<(u16, u16)>,
    /// Inclusive port ranges, of TCP and UDP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ports: Vec<(u16, u16)>,
    /// IP protocol numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<u8>,
    /// What the flow's first bytes must tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payload: Vec<PolicyTest>,
}

/// A set of addresses: a list, all that is not in a list, or prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyPlace {
    /// Position in [`PolicyDocument::lists`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<u32>,
    /// All that is not in the list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Prefixes, when there is no list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
}

/// A look at a flow's first bytes. One of the six is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyTest {
    /// The look must fail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
    /// The server's name is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni_hosts: Vec<String>,
    /// The server's name is one of these, or below one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni_domains: Vec<String>,
    /// As `sni_hosts`, by the list at this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni_host_list: Option<u32>,
    /// As `sni_domains`, by the list at this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni_domain_list: Option<u32>,
    /// The server's name matches this regular expression, without regard to case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni_matches: Option<String>,
    /// The flow's protocol is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detected: Vec<String>,
}

/// Answer of the long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Pass it as `since` next time.
    pub version: u64,
    /// Whether the registration still stands.
    pub registration: RegistrationStatus,
    /// The rules, unless the caller holds them.
    pub policy: Option<PolicyDocument>,
    /// Names the rules in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The profile, unless the caller holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileDocument>,
    /// Names the profile in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_digest: Option<String>,
    /// When to report posture.
    #[serde(default)]
    pub posture: PostureSchedule,
}

/// What the caller of the long poll has. It is answered when the gateway has something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// [`Changes::version`] of the last answer; 0 for none.
    pub since: u64,
    /// [`Changes::policy_digest`] of the rules held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// [`Changes::profile_digest`] of the profile held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// [`PostureSchedule::every`] as known; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posture: Option<u32>,
}

/// Whether a registration still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationStatus {
    /// In force.
    Active,
    /// Key invalidated, record kept.
    Revoked,
    /// Gone.
    Deleted,
}

/// Trades a login code for an assertion.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenRequest {
    /// From the redirect.
    pub code: String,
    /// PKCE (RFC 7636).
    pub code_verifier: String,
    /// The same as in the login's address.
    pub redirect_uri: String,
}

/// A user's proof of login, to enrol with.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// For [`ASSERTION_HEADER`]; single use, five minutes.
    pub assertion: String,
    /// The user's mail.
    pub email: String,
}

/// Whether devices shall disconnect whatever their state: the vendor's form of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencySignal {
    /// True disconnects.
    pub emergency_disconnect: bool,
}

/// Body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable word, e.g. `token_expired`, `token_disabled`, `token_unknown`, `enrolment_denied`, `nonce_used`,
    /// `signature_invalid`, `registration_revoked`, `registration_deleted`, `swap_seq_stale`, `organization_unknown`.
    pub code: String,
    /// One sentence: what was expected, what was got, what to do.
    pub message: String,
    /// With `swap_seq_stale`: the greatest one seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_seq: Option<u64>,
}

/// The bytes that [`EnrolRequest::signature`] covers.
#[must_use]
pub fn enrol_message(nonce: &[u8], tunnel_public_key: &[u8; 32]) -> Vec<u8> {
    [b"vestibule enrol v1\0".as_slice(), nonce, tunnel_public_key].concat()
}

/// The bytes that [`SwapRequest::signature`] covers.
#[must_use]
pub fn swap_message(
    swap_seq: u64,
    registration: &Uuid,
    tunnel_public_key: &[u8; 32],
    protocol: TunnelProtocol,
) -> Vec<u8> {
    let purpose: &[u8] = match protocol {
        TunnelProtocol::Wireguard => b"vestibule swap v1\0",
        TunnelProtocol::Masque => b"vestibule swap masque v1\0",
    };
    [purpose, &swap_seq.to_be_bytes(), registration.as_bytes(), tunnel_public_key].concat()
}
