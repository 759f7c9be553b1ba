//! What tasks bring back from gateway and browser.

use super::Driver;
use crate::{
    causes::chain,
    daemon::{
        enrol::{EnrolError, Enrolled},
        ipc::{Answer, Failure, RegistrationView},
        login::LoginError,
        remote::{Gateway, Meaning, RemoteError},
    },
    registration::{Event, Registration, RequestId, Slot, UserId},
};
use tokio::sync::oneshot;

impl<G: Gateway> Driver<G> {
    pub(super) fn enrolled(&mut self, request: RequestId, slot: Slot, result: Result<Enrolled, EnrolError>) {
        let event = match result {
            Ok(enrolled) => match self.keep(&enrolled) {
                Ok(registration) => {
                    self.errors.clear("enrol");
                    Event::EnrolSucceeded { request, slot, registration }
                }
                Err(reason) => Event::EnrolFailed { request, slot, reason },
            },
            Err(error) => {
                self.failed("enrol", &error);
                let reason = chain(&error);
                match error.meaning() {
                    Meaning::TokenRejected => Event::TokenRejected { request: Some(request), reason },
                    _ => Event::EnrolFailed { request, slot, reason },
                }
            }
        };
        self.events.push_back(event);
    }

    pub(super) fn login_shown(&mut self, request: RequestId, url: String) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.request == request) else { return };
        tracing::info!(%url, "a user is asked to sign in");
        if prompt.url.replace(url.clone()).is_none() {
            self.events.push_back(Event::AuthPrompted { request });
            self.browse(&url);
        }
    }

    pub(super) fn login_ended(&mut self, request: RequestId, user: UserId, result: Result<Enrolled, LoginError>) {
        let current = self.prompt.take_if(|prompt| prompt.request == request).is_some();
        match result {
            Ok(enrolled) => match self.keep(&enrolled) {
                Ok(registration) => {
                    self.errors.clear("sign-in");
                    self.events.push_back(Event::AuthSucceeded { request, user, registration });
                }
                Err(reason) => self.events.push_back(Event::AuthCancelled { request, reason }),
            },
            Err(LoginError::Dismissed) => {}
            Err(error) => {
                if current {
                    self.failed("sign-in", &error);
                }
                self.events.push_back(Event::AuthCancelled { request, reason: chain(&error) });
            }
        }
    }

    /// Stores a registration's secret before the machine learns of it: what the machine knows can be used.
    fn keep(&mut self, enrolled: &Enrolled) -> Result<Registration, String> {
        match self.store.keep_bearer(enrolled.registration.id, &enrolled.bearer) {
            Ok(()) => Ok(Registration::from(&enrolled.registration)),
            Err(error) => {
                self.failed("store", &error);
                Err(chain(&error))
            }
        }
    }

    pub(super) fn deleted(
        &mut self,
        view: RegistrationView,
        result: Result<(), RemoteError>,
        answer: oneshot::Sender<Answer>,
    ) {
        let registration = view.id;
        let reply = match result {
            Err(error) if !matches!(error.meaning(), Meaning::RegistrationDeleted | Meaning::RegistrationRevoked) => {
                Answer::Error(Failure::new("not_deleted", chain(&error)))
            }
            _ => {
                // The gateway's push may have been faster than its answer: then the machine knows already.
                self.events.push_back(Event::RegistrationDeleted { registration });
                // Whoever asked sees the state after it.
                self.settle();
                Self::answer_with(&RegistrationView { active: false, ..view })
            }
        };
        let _ = answer.send(reply);
    }
}
