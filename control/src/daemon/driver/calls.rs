//! Answering the control socket.

use super::{Driver, Input};
use crate::{
    daemon::{
        ipc::{Answer, Failure, RegistrationView, RegistrationsView, Request, WhyEntry, WhyView, server::Call},
        remote::Gateway,
        wall,
    },
    registration::Event,
};
use serde::Serialize;
use uuid::Uuid;
use vestibule_platform::local::Peer;

/// Events that `why` shows when nobody says how many.
const WHY: usize = 50;

impl<G: Gateway> Driver<G> {
    /// Why the user cannot be asked to sign in now.
    fn refuses_prompt(&self) -> Option<Failure> {
        let status = self.status();
        let Some(user) = status.desktop else {
            let message = "nobody is logged on: a user must be at the desktop to sign in";
            return Some(Failure::new("nobody_logged_on", message));
        };
        let registered = self.registration_views().into_iter().find(|view| view.active && !view.service_token)?;
        let message = format!(
            "{user} is registered as {}: `vestibule registration delete` first, to register as somebody else",
            registered.identity
        );
        Some(Failure::new("registered", message))
    }

    /// Why somebody may not steer the connection: they are neither an administrator nor at the desktop. Where the control
    /// socket lets in only whom an administrator has chosen, all of them may.
    fn refuses(&self, request: &Request, peer: Option<&Peer>) -> Option<Failure> {
        if !request.steers() || peer.is_some_and(|peer| peer.administrator) {
            return None;
        }
        let desktop = self.machine.state().desktop().map(|session| session.user.to_string());
        if desktop.is_some() && desktop.as_deref() == peer.map(|peer| peer.user.as_str()) {
            return None;
        }
        let desktop = desktop.map_or_else(|| "nobody".to_owned(), |user| format!("`{user}`"));
        let message =
            format!("only administrators and who is at the desktop may steer the connection, and {desktop} is");
        Some(Failure::new("not_allowed", message))
    }

    pub(super) fn call(&mut self, Call { request, peer, answer }: Call) {
        if request.steers() {
            let by = peer.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
            tracing::info!(%by, ?request, "asked over the control socket");
        }
        if let Some(failure) = self.refuses(&request, peer.as_ref()) {
            let _ = answer.send(Answer::Error(failure));
            return;
        }
        let reply = match request {
            Request::Status => Self::answer_with(&self.status()),
            Request::RegistrationShow => Self::answer_with(&RegistrationsView {
                device_id: self.device.key.device_id(),
                registrations: self.registration_views(),
            }),
            Request::RegistrationDelete { .. } if !self.effective.allowed_to_leave => {
                let message = "the device's profile keeps it in the organisation (`allowed_to_leave` is false): \
                               an administrator may delete the registration";
                Answer::Error(Failure::new("leave_not_allowed", message))
            }
            Request::RegistrationDelete { id } => match self.deletable(id) {
                Ok(view) => return self.delete(view, answer),
                Err(failure) => Answer::Error(failure),
            },
            Request::RegistrationNew => match self.refuses_prompt() {
                Some(failure) => Answer::Error(failure),
                None => {
                    if self.prompt.is_none() {
                        self.events.push_back(Event::Connect);
                        self.settle();
                    }
                    Self::answer_with(&self.status())
                }
            },
            Request::Connect => {
                self.events.push_back(Event::Connect);
                self.settle();
                Self::answer_with(&self.status())
            }
            Request::Disconnect => {
                self.events.push_back(Event::Disconnect);
                self.settle();
                if self.machine.state().switched_off.is_some() {
                    Self::answer_with(&self.status())
                } else {
                    let origin = self.effective.origin("switch_locked");
                    let message = format!("`switch_locked` is set ({origin}): disconnecting is not allowed");
                    Answer::Error(Failure::new("switch_locked", message))
                }
            }
            Request::Settings => Self::answer_with(&self.settings_view()),
            Request::MdmConfigs => Self::answer_with(&self.configuration.view()),
            Request::MdmRefresh => {
                self.read_mdm();
                self.settle();
                match self.configuration.error() {
                    Some(error) => Answer::Error(Failure::new("mdm_broken", error)),
                    None => Self::answer_with(&self.configuration.view()),
                }
            }
            Request::Why { last } => Self::answer_with(&self.why(last.unwrap_or(WHY))),
        };
        let _ = answer.send(reply);
    }

    pub(super) fn answer_with(view: &impl Serialize) -> Answer {
        match serde_json::to_value(view) {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(Failure::new("internal", error.to_string())),
        }
    }

    /// The registration that `id` names; without one, the active one, else the only one there is.
    fn deletable(&self, id: Option<Uuid>) -> Result<RegistrationView, Failure> {
        let mut views = self.registration_views();
        let refuse = |message: String| Err(Failure::new("no_registration", message));
        let chosen = match (id, views.as_slice()) {
            (Some(id), views) => views.iter().position(|view| view.id == id),
            (None, [_]) => Some(0),
            (None, views) => views.iter().position(|view| view.active),
        };
        match (chosen, id) {
            (Some(at), _) => Ok(views.swap_remove(at)),
            (None, Some(id)) => refuse(format!("no registration {id}: `vestibule registration show` lists them")),
            (None, None) if views.is_empty() => refuse("this device has no registration".into()),
            (None, None) => refuse("none is active: say which, as `vestibule registration show` lists them".into()),
        }
    }

    fn delete(&self, view: RegistrationView, answer: tokio::sync::oneshot::Sender<Answer>) {
        let registration = view.id;
        let (gateway, inputs) = (self.gateway.clone(), self.inputs.clone());
        let bearer = self.store.bearer(registration);
        tokio::spawn(async move {
            let result = match bearer {
                Some(bearer) => gateway.delete(registration, &bearer).await,
                // Without its secret it cannot be deleted at the gateway, nor ever be used again.
                None => Ok(()),
            };
            let _ = inputs.send(Input::Deleted { view, result, answer });
        });
    }

    pub(super) fn registration_views(&self) -> Vec<RegistrationView> {
        let active = self.live.as_ref().map(|live| live.target.registration);
        let slots = &self.machine.state().slots;
        slots
            .iter()
            .map(|(slot, registration)| RegistrationView {
                id: registration.id,
                organization: registration.organization.clone(),
                identity: registration.email.clone(),
                service_token: *slot == crate::registration::Slot::PreLogin
                    || registration.email.starts_with("non_identity@"),
                slot: slot.to_string(),
                revoked: registration.revoked,
                active: active == Some(registration.id),
            })
            .collect()
    }

    fn why(&self, last: usize) -> WhyView {
        let log = self.machine.log();
        let skip = log.len().saturating_sub(last);
        let entries = log.skip(skip).map(|entry| WhyEntry {
            at: wall::text(entry.at.wall),
            boot: entry.boot.clone(),
            row: entry.row.name().to_owned(),
            rule: entry.row.text().to_owned(),
            plain: entry.plain.clone(),
            step: serde_json::to_value(entry).unwrap_or_default(),
        });
        WhyView { entries: entries.collect() }
    }
}
