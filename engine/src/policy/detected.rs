//! Protocols that a flow's first bytes give away.

/// A protocol above TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Detected {
    Http,
    Http2,
    Ssh,
    Tls,
    Dcerpc,
    Mqtt,
    /// Transport of ISO protocols over TCP: RDP as a rule.
    Tpkt,
    Imap,
    Pop3,
    Smtp,
    Mysql,
    RsyncDaemon,
    Ldap,
    Ntp,
}

impl Detected {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Http,
        Self::Http2,
        Self::Ssh,
        Self::Tls,
        Self::Dcerpc,
        Self::Mqtt,
        Self::Tpkt,
        Self::Imap,
        Self::Pop3,
        Self::Smtp,
        Self::Mysql,
        Self::RsyncDaemon,
        Self::Ldap,
        Self::Ntp,
    ];

    /// The name in expressions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Ssh => "ssh",
            Self::Tls => "tls",
            Self::Dcerpc => "dcerpc",
            Self::Mqtt => "mqtt",
            Self::Tpkt => "tpkt",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
            Self::Mysql => "mysql",
            Self::RsyncDaemon => "rsync-daemon",
            Self::Ldap => "ldap",
            Self::Ntp => "ntp",
        }
    }

    /// The protocol of a name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detected| detected.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_names_its_protocol_alone() {
        for detected in Detected::ALL {
            assert_eq!(Detected::from_name(detected.name()), Some(detected));
            assert_eq!(Detected::from_name(&detected.name().to_uppercase()), Some(detected));
        }
        assert_eq!(Detected::from_name("gopher"), None);
    }
}
