//! What an API token may do, by the vendor's names of permission groups.

use super::envelope::ApiError;
use crate::crypto::sha256;
use axum::http::StatusCode;

/// What all permission groups here are about: the account.
pub(super) const SCOPE: &str = "com.cloudflare.api.account";

/// What a permission is about. Reading is one permission of it, writing another that includes reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    AppsAndPolicies,
    ServiceTokens,
    Certificates,
    DevicePosture,
    Organization,
    AuditLogs,
    ZeroTrust,
    ApiTokens,
    /// Open to every token.
    Own,
}

impl Area {
    /// All that have permission groups.
    pub(super) const ALL: [Self; 8] = [
        Self::AppsAndPolicies,
        Self::ServiceTokens,
        Self::Certificates,
        Self::DevicePosture,
        Self::Organization,
        Self::AuditLogs,
        Self::ZeroTrust,
        Self::ApiTokens,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AppsAndPolicies => "Access: Apps and Policies",
            Self::ServiceTokens => "Access: Service Tokens",
            Self::Certificates => "Access: Mutual TLS Certificates",
            Self::DevicePosture => "Access: Device Posture",
            Self::Organization => "Access: Organizations, Identity Providers, and Groups",
            Self::AuditLogs => "Access: Audit Logs",
            Self::ZeroTrust => "Zero Trust",
            Self::ApiTokens => "Account API Tokens",
            Self::Own => "none",
        }
    }
}

/// One permission group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) area: Area,
    pub(super) write: bool,
}

impl Permission {
    /// All there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let both = |area| [false, true].map(|write| Self { area, write });
        Area::ALL.into_iter().flat_map(both).filter(|group| !(group.write && group.area == Area::AuditLogs))
    }

    /// The vendor's name of it.
    pub(super) fn name(self) -> String {
        format!("{} {}", self.area.name(), if self.write { "Write" } else { "Read" })
    }

    /// Its id: the same at every gateway.
    pub(super) fn id(self) -> String {
        hex::encode(&sha256(format!("permission group {}", self.name()).as_bytes())[..16])
    }

    /// Whether who has this has `wanted` as well.
    pub(super) fn covers(self, wanted: Self) -> bool {
        self.area == wanted.area && (self.write || !wanted.write)
    }
}

/// Who calls, and what they may do.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Of the API token, or `admin-token`.
    pub(super) id: String,
    pub(super) name: String,
    /// `None`: everything.
    pub(super) granted: Option<Vec<Permission>>,
}

impl Caller {
    /// Who has the token that was made with the gateway.
    pub(super) fn administrator() -> Self {
        Self { id: "admin-token".to_owned(), name: "administrator".to_owned(), granted: None }
    }

    pub(super) fn may(&self, wanted: Permission) -> bool {
        let granted = |granted: &Vec<Permission>| granted.iter().any(|group| group.covers(wanted));
        wanted.area == Area::Own || self.granted.as_ref().is_none_or(granted)
    }

    /// 403 with the name of what is missing.
    pub(super) fn require(&self, wanted: Permission) -> Result<(), ApiError> {
        if self.may(wanted) {
            return Ok(());
        }
        let message = format!("the API token `{}` lacks the permission `{}`", self.name, wanted.name());
        Err(ApiError::new(StatusCode::FORBIDDEN, 10403, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_includes_reading_and_nothing_else() {
        let group = |area, write| Permission { area, write };
        let caller = Caller {
            id: "1".to_owned(),
            name: "CI".to_owned(),
            granted: Some(vec![group(Area::ServiceTokens, true), group(Area::ZeroTrust, false)]),
        };
        assert!(caller.may(group(Area::ServiceTokens, true)) && caller.may(group(Area::ServiceTokens, false)));
        assert!(caller.may(group(Area::ZeroTrust, false)) && !caller.may(group(Area::ZeroTrust, true)));
        assert!(!caller.may(group(Area::AppsAndPolicies, false)) && caller.may(group(Area::Own, true)));
        assert!(Caller::administrator().may(group(Area::ApiTokens, true)));
    }

    #[test]
    fn every_group_has_its_own_id() {
        let ids: std::collections::BTreeSet<String> = Permission::all().map(Permission::id).collect();
        assert_eq!(ids.len(), Permission::all().count());
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
