//! The long poll: what the gateway pushes about the registration in use.

use super::{
    remote::{Gateway, Meaning, Secret},
    retry::Retry,
};
use crate::{
    api::device::{Changes, Held, RegistrationStatus},
    causes::chain,
};
use std::{sync::Arc, time::Duration};

/// Shortest time between two polls that brought something: a gateway that always has news costs no more than this.
const PACE: Duration = Duration::from_millis(20);

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Other rules, another profile, another schedule: what the answer has is new.
    Changed(Box<Changes>),
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
pub(crate) async fn poll(
    gateway: Arc<impl Gateway>,
    bearer: Secret,
    mut held: Held,
    mut tell: impl FnMut(News) -> bool,
) {
    let mut retry = Retry::default();
    loop {
        // After a failure the answer must come at once: a gateway that is back is no news by itself.
        let asked = if retry.failures() == 0 { held.clone() } else { Held { since: 0, ..held.clone() } };
        match gateway.changes(&bearer, &asked).await {
            Ok(changes) => {
                if retry.succeeded() && !tell(News::Back) {
                    return;
                }
                let before = held.clone();
                note(&mut held, &changes);
                let progress = held != before;
                let news = match changes.registration {
                    RegistrationStatus::Active => progress.then(|| News::Changed(Box::new(changes))),
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

/// What is held after an answer.
fn note(held: &mut Held, answer: &Changes) {
    held.since = answer.version;
    held.posture = Some(answer.posture.every.unwrap_or(0));
    for (held, new) in [(&mut held.policy, &answer.policy_digest), (&mut held.profile, &answer.profile_digest)] {
        if new.is_some() {
            held.clone_from(new);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        api::device::{DeviceFacts, RegistrationStatus},
        daemon::{
            device_key::DeviceKey,
            enrol::Device,
            remote::Proof,
            twin::{CLIENT_ID, TwinGateway},
        },
    };
    use tokio::{sync::mpsc, time::timeout};
    use vestibule_platform::socket::memory::Hub;

    const SOON: Duration = Duration::from_secs(5);

    async fn start() -> (Arc<TwinGateway>, mpsc::UnboundedReceiver<News>) {
        let gateway = TwinGateway::start(&Hub::new());
        let device = Device { key: DeviceKey::generate().unwrap().0, facts: DeviceFacts::default() };
        let proof = Proof::ServiceToken { client_id: CLIENT_ID.into(), client_secret: Secret::new("secret") };
        let enrolled = device.enrol(&*gateway, "mycompany", &proof).await.unwrap();
        let (news, received) = mpsc::unbounded_channel();
        tokio::spawn(poll(gateway.clone(), enrolled.bearer, gateway.held(), move |item| news.send(item).is_ok()));
        (gateway, received)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rules_come_once_and_the_end_is_the_last_news() {
        let (gateway, mut news) = start().await;
        gateway.publish(false);
        let Some(News::Changed(changes)) = timeout(SOON, news.recv()).await.unwrap() else { panic!("no rules") };
        assert!(!changes.policy.unwrap().default_allow);
        gateway.end("non_identity@mycompany.cloudflareaccess.com", RegistrationStatus::Revoked);
        assert_eq!(timeout(SOON, news.recv()).await.unwrap(), Some(News::Revoked));
        assert_eq!(timeout(SOON, news.recv()).await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_that_comes_back_is_noticed_without_waiting_for_news() {
        let (gateway, mut news) = start().await;
        gateway.set_reachable(false);
        assert!(matches!(timeout(SOON, news.recv()).await.unwrap(), Some(News::Lost(_))));
        gateway.come_back();
        assert_eq!(timeout(SOON, news.recv()).await.unwrap(), Some(News::Back));
    }
}
