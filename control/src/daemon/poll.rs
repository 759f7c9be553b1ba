//! The long poll: what the gateway pushes about the registration in use.

use super::{
    remote::{Gateway, Meaning, Secret},
    retry::Retry,
};
use crate::{
    api::device::{PolicyDocument, RegistrationStatus},
    causes::chain,
};
use std::{sync::Arc, time::Duration};

/// Shortest time between two polls that brought something: a gateway that always has news costs no more than this.
const PACE: Duration = Duration::from_millis(20);

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Other rules.
    Policy(PolicyDocument),
    /// The registration's key was invalidated.
    Revoked,
    /// The registration is gone.
    Deleted,
    /// The gateway is out of reach, for the first time in a row.
    Lost(String),
    /// The gateway is back.
    Back,
}

/// Polls until the registration is gone, or `tell` says that nobody listens.
pub(crate) async fn poll(gateway: Arc<impl Gateway>, bearer: Secret, since: u64, mut tell: impl FnMut(News) -> bool) {
    let (mut since, mut retry) = (since, Retry::default());
    loop {
        match gateway.changes(&bearer, since).await {
            Ok(changes) => {
                if retry.succeeded() && !tell(News::Back) {
                    return;
                }
                let progress = changes.version != since;
                since = changes.version;
                let news = match changes.registration {
                    RegistrationStatus::Active => changes.policy.map(News::Policy),
                    RegistrationStatus::Revoked => Some(News::Revoked),
                    RegistrationStatus::Deleted => Some(News::Deleted),
                };
                let over = matches!(news, Some(News::Revoked | News::Deleted));
                if news.is_some_and(|news| !tell(news)) || over {
                    return;
                }
                // An answer at once without news would be a tight loop.
                tokio::time::sleep(if progress { PACE } else { Duration::from_millis(200) }).await;
            }
            Err(error) => {
                let end = match error.meaning() {
                    Meaning::RegistrationRevoked => Some(News::Revoked),
                    Meaning::RegistrationDeleted => Some(News::Deleted),
                    _ => None,
                };
                if let Some(end) = end {
                    tell(end);
                    return;
                }
                if retry.failures() == 0 && !tell(News::Lost(chain(&error))) {
                    return;
                }
                tokio::time::sleep(retry.next()).await;
            }
        }
    }
}
