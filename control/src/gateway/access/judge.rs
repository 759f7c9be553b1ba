//! Rules against who asks.
//!
//! A rule's answer may be "cannot be judged" (a list that is gone, a group that does not read): `None`. It behaves as in
//! three-valued logic, and the policies take it for whatever lets nobody in.

use super::certificate::ClientCertificate;
use super::references::References;
use super::selector::{LOCAL_ACCOUNTS, Selector};
use crate::rules::{Person, destination};
use serde_json::Value;
use std::net::IpAddr;

/// Groups within groups; there are no circles, so this is never reached.
const DEEPEST: usize = 32;

/// One of `include`, all of `require`, none of `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct RuleSet {
    pub(in super::super) include: Vec<Selector>,
    pub(in super::super) require: Vec<Selector>,
    pub(in super::super) exclude: Vec<Selector>,
}

/// Who asks, and what is known of the call.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Applicant<'a> {
    pub(in super::super) who: Who<'a>,
    /// Where the call comes from.
    pub(in super::super) from: IpAddr,
    /// The valid client certificates that came with the login and with the call.
    pub(in super::super) certificates: &'a [ClientCertificate],
}

/// Who has authenticated.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Who<'a> {
    /// A valid service token.
    Token {
        /// Its id.
        id: &'a str,
    },
    /// A user who has logged in.
    User {
        /// Who, as the login said it.
        person: &'a Person,
        /// At which identity provider; `None` for a local account.
        provider: Option<&'a str>,
    },
}

impl<'a> Applicant<'a> {
    fn email(&self) -> Option<&'a str> {
        match self.who {
            Who::User { person, .. } => Some(&person.email),
            Who::Token { .. } => None,
        }
    }
}

impl RuleSet {
    /// Reads stored rules; `None` when one does not read.
    pub(super) fn read(include: &str, require: &str, exclude: &str) -> Option<Self> {
        let list = |text: &str| {
            let values: Vec<Value> = serde_json::from_str(text).ok()?;
            values.iter().map(|value| Selector::parse(value).ok()).collect::<Option<Vec<_>>>()
        };
        Some(Self { include: list(include)?, require: list(require)?, exclude: list(exclude)? })
    }

    pub(super) fn everyone() -> Self {
        Self { include: vec![Selector::Everyone {}], ..Self::default() }
    }

    /// All rules, in whichever list.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        [&self.include, &self.require, &self.exclude].into_iter().flatten()
    }

    /// Whether the applicant matches; `None` when that cannot be judged.
    pub(super) fn judge(&self, references: &References, applicant: &Applicant<'_>) -> Option<bool> {
        self.judge_within(references, applicant, DEEPEST)
    }

    fn judge_within(&self, references: &References, applicant: &Applicant<'_>, depth: usize) -> Option<bool> {
        let judged = |selector: &Selector| selector.judge(references, applicant, depth);
        let included = any(self.include.iter().map(judged));
        // "All of" is "not one that does not".
        let required =
            any(self.require.iter().map(|selector| judged(selector).map(|matches| !matches))).map(|any| !any);
        let excluded = any(self.exclude.iter().map(judged));
        any([included.map(|yes| !yes), required.map(|yes| !yes), excluded].into_iter()).map(|any| !any)
    }
}

/// One yes is a yes; without, one that cannot be judged leaves all open.
fn any(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut open = false;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => open = true,
        }
    }
    (!open).then_some(false)
}

impl Selector {
    fn judge(&self, references: &References, applicant: &Applicant<'_>, depth: usize) -> Option<bool> {
        let mine = applicant.email();
        Some(match self {
            Self::Everyone {} => true,
            Self::Email { email } => mine.is_some_and(|mine| mine.eq_ignore_ascii_case(email)),
            Self::EmailDomain { domain } => mine
                .and_then(|mine| mine.rsplit_once('@'))
                .is_some_and(|(_, mine)| mine.eq_ignore_ascii_case(domain.trim_start_matches('@'))),
            Self::EmailList { id } => {
                let list = references.list(id)?;
                mine.is_some_and(|mine| list.iter().any(|email| email.trim().eq_ignore_ascii_case(mine)))
            }
            Self::Ip { ip } => holds(ip, applicant.from)?,
            Self::IpList { id } => any(references.list(id)?.iter().map(|item| holds(item, applicant.from)))?,
            Self::Group { id } => references.group(id)?.judge_within(references, applicant, depth.checked_sub(1)?)?,
            Self::ServiceToken { token_id } => matches!(applicant.who, Who::Token { id } if id == token_id),
            Self::AnyValidServiceToken {} => matches!(applicant.who, Who::Token { .. }),
            Self::LoginMethod { id } => match applicant.who {
                Who::User { provider, .. } => provider.unwrap_or(LOCAL_ACCOUNTS) == id,
                Who::Token { .. } => false,
            },
            Self::Oidc { identity_provider_id, claim_name, claim_value } => match applicant.who {
                Who::User { person, provider: Some(provider) } => {
                    let values = person.attributes.get(claim_name);
                    provider == identity_provider_id && values.is_some_and(|values| values.contains(claim_value))
                }
                _ => false,
            },
            Self::Certificate {} => !applicant.certificates.is_empty(),
            Self::CommonName { common_name } => {
                applicant.certificates.iter().any(|certificate| certificate.common_name.as_ref() == Some(common_name))
            }
        })
    }
}

/// Whether an address, prefix or range holds an address.
fn holds(text: &str, address: IpAddr) -> Option<bool> {
    let address = address.to_canonical();
    Some(destination(text)?.iter().any(|prefix| prefix.contains(&address)))
}
