//! The selectors, by scope; what is refused by name, and why.

use super::tree::Field;

/// What an expression is for, which decides the selectors that it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `traffic` of a network rule: which flows.
    Traffic,
    /// `identity` of a network rule: whose.
    Identity,
    /// `device_posture` of a network rule: from devices in which state.
    DevicePosture,
    /// `match` of a device profile.
    Profile,
}

impl Scope {
    /// Where it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traffic => "`traffic`",
            Self::Identity => "`identity`",
            Self::DevicePosture => "`device_posture`",
            Self::Profile => "a device profile's `match`",
        }
    }
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    One,
    /// `[*]`, `any(...)` and `all(...)` are about these.
    Many,
}

/// A selector.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Selector {
    /// As it is written, without `[*]`.
    pub(in crate::rules) name: &'static str,
    pub(super) field: Field,
    pub(super) values: Values,
    pub(super) scopes: &'static [Scope],
}

const fn selector(name: &'static str, field: Field, values: Values, scopes: &'static [Scope]) -> Selector {
    Selector { name, field, values, scopes }
}

const TRAFFIC: &[Scope] = &[Scope::Traffic];
const WHO: &[Scope] = &[Scope::Identity, Scope::Profile];
const POSTURE: &[Scope] = &[Scope::DevicePosture];
const PROFILE: &[Scope] = &[Scope::Profile];

/// Every selector that is judged here. `[*]` may stand behind any part of a name that has many values.
pub(in crate::rules) const SELECTORS: &[Selector] = &[
    selector("net.dst.ip", Field::Destination, Values::One, TRAFFIC),
    selector("net.dst.port", Field::DestinationPort, Values::One, TRAFFIC),
    selector("net.src.ip", Field::Source, Values::One, TRAFFIC),
    selector("net.src.port", Field::SourcePort, Values::One, TRAFFIC),
    selector("net.src.internal_src_ip", Field::Source, Values::One, TRAFFIC),
    selector("net.protocol", Field::Protocol, Values::One, TRAFFIC),
    selector("net.sni.host", Field::SniHost, Values::One, TRAFFIC),
    selector("net.sni.domains", Field::SniDomains, Values::Many, TRAFFIC),
    selector("net.protocol.detection", Field::Detected, Values::One, TRAFFIC),
    selector("net.detected_protocol", Field::Detected, Values::One, TRAFFIC),
    selector("net.vnet_id", Field::VirtualNetwork, Values::One, TRAFFIC),
    selector("net.onramp.type", Field::Onramp, Values::One, TRAFFIC),
    selector("identity.email", Field::Email, Values::One, WHO),
    selector("identity.name", Field::Name, Values::One, WHO),
    selector("identity.groups.id", Field::GroupId, Values::Many, WHO),
    selector("identity.groups.name", Field::GroupName, Values::Many, WHO),
    selector("identity.groups.email", Field::GroupEmail, Values::Many, WHO),
    selector("identity.saml_attributes", Field::Attribute(None), Values::Many, WHO),
    selector("identity.service_token_uuid", Field::ServiceToken, Values::One, PROFILE),
    selector("device_posture.checks.passed", Field::Passed, Values::Many, POSTURE),
    selector("device_posture.checks.failed", Field::Failed, Values::Many, POSTURE),
    selector("os.name", Field::OsName, Values::One, PROFILE),
    selector("os.version", Field::OsVersion, Values::One, PROFILE),
    selector("network", Field::Network, Values::One, PROFILE),
];

const GEOGRAPHY: &str =
    "the gateway has no map of addresses to countries; compare `net.dst.ip` or `net.src.ip` with a list";
const CATEGORIES: &str = "the gateway has no catalogue of domains; compare `net.sni.domains` with a list";
const APPLICATIONS: &str =
    "the gateway has no catalogue of applications; compare `net.dst.ip` or `net.sni.domains` with a list";
const ACCESS: &str = "there are no Access applications behind this gateway; compare `net.dst.ip` with a list";

/// The vendor's selectors that cannot be judged here, and why.
pub(in crate::rules) const REFUSED: &[(&str, &str)] = &[
    ("net.dst.geo.continent", GEOGRAPHY),
    ("net.dst.geo.country", GEOGRAPHY),
    ("net.src.geo.continent", GEOGRAPHY),
    ("net.src.geo.country", GEOGRAPHY),
    ("net.fqdn.content_category", CATEGORIES),
    ("net.fqdn.security_category", CATEGORIES),
    ("app.ids", APPLICATIONS),
    ("app.type.ids", APPLICATIONS),
    ("access.target", ACCESS),
    ("access.private_app", ACCESS),
    ("net.proxy_endpoint.ids", "there are no proxy endpoints: all traffic comes from enrolled devices"),
    ("net.offramp.type", "the gateway does not know what lies behind its host; compare `net.dst.ip`"),
];

/// Every operator and construct, as `docs/compatibility.md` names them.
#[cfg(test)]
pub(in crate::rules) const OPERATORS: &[&str] = &[
    "==",
    "!=",
    "in",
    "not in",
    "matches",
    "contains",
    ">",
    ">=",
    "<",
    "<=",
    "eq ne gt ge lt le",
    "~",
    "and",
    "or",
    "not",
    "xor",
    "( )",
    "any(field[*] ...)",
    "all(field[*] ...)",
    "{ } sets",
    "a..b ranges",
    "prefixes in sets",
    "$list",
    "quoted strings",
    "raw strings",
];

/// What a rule does, and what goes with it, as `docs/compatibility.md` names it.
#[cfg(test)]
pub(in crate::rules) const ACTIONS: &[&str] = &[
    "three expressions joined by and",
    "allow",
    "block",
    "l4_override",
    "audit_ssh",
    "check_session",
    "notification_settings",
    "schedule",
    "expiration",
];

/// The selector of a name, if it is judged here.
pub(super) fn find(name: &str) -> Option<&'static Selector> {
    SELECTORS.iter().find(|selector| selector.name == name)
}

/// Why the vendor's selector of a name is refused.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}

/// What an expression of this scope may ask about, for messages.
pub(super) fn offered(scope: Scope) -> String {
    let mut out = String::from("a selector of ");
    out.push_str(scope.name());
    let names = SELECTORS.iter().filter(|selector| selector.scopes.contains(&scope)).map(|selector| selector.name);
    for (position, name) in names.enumerate() {
        out.push_str(if position == 0 { " (`" } else { ", `" });
        out.push_str(name);
        out.push('`');
    }
    out.push(')');
    out
}
