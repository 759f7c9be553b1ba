//! Carrying out what the machine orders.

use super::{Browser, Driver, Input, Prompt};
use crate::{
    causes::chain,
    daemon::{
        login::Login,
        remote::{Gateway, Proof},
    },
    registration::{Action, Event, RequestId, Slot, UserId},
};
use std::process::Stdio;
use tokio::sync::watch;
use vestibule_platform::desktop::{open_browser, show_message};

impl<G: Gateway> Driver<G> {
    pub(super) fn carry_out(&mut self, action: Action) {
        match action {
            Action::EnrolByToken { request, slot, organization } => self.enrol_by_token(request, slot, organization),
            Action::Prompt { request, user, organization, .. } => self.prompt(request, user, organization),
            Action::DismissPrompt { request } => {
                // Dropping the prompt ends its login, unless the browser is back already.
                self.prompt.take_if(|prompt| prompt.request == request);
            }
            Action::Activate { activation, registration, organization, .. } => {
                self.activate(activation, registration, organization);
            }
            Action::Commit { activation } => self.commit(activation),
            Action::AbortPreparing { activation } => self.abort_preparing(activation),
            Action::Deactivate => self.deactivate(),
            Action::Rehandshake { activation } => {
                if self.live.as_ref().is_some_and(|live| live.target.activation == activation) {
                    self.tunnel.rekey();
                }
            }
            Action::Forget { registration } => {
                if let Err(error) = self.store.forget_bearers(|id| id != registration) {
                    self.failed("store", &error);
                }
                self.profiles.forget(registration, &self.store);
            }
            Action::SetDeadline { at } => self.deadline = at,
            Action::Notify { message } => tracing::info!("{message}"),
        }
    }

    fn enrol_by_token(&mut self, request: RequestId, slot: Slot, organization: String) {
        let pre_login = slot == Slot::PreLogin;
        let Some((client_id, client_secret)) = self.configuration.service_token(pre_login, &organization) else {
            let reason = format!("the MDM file has no service token for `{organization}`");
            return self.events.push_back(Event::EnrolFailed { request, slot, reason });
        };
        let (gateway, device, inputs) = (self.gateway.clone(), self.device.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let proof = Proof::ServiceToken { client_id, client_secret };
            let result = device.enrol(&*gateway, &organization, &proof).await;
            let _ = inputs.send(Input::Enrolled { request, slot, result });
        });
    }

    fn prompt(&mut self, request: RequestId, user: UserId, organization: String) {
        let (dismiss, dismissed) = watch::channel(false);
        self.prompt = Some(Prompt { request, url: None, _dismiss: dismiss });
        let (gateway, device) = (self.gateway.clone(), self.device.clone());
        let login = Login { gateway, device, organization, patience: self.settings.login_patience };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let shown = |url: &str| {
                let _ = inputs.send(Input::LoginShown { request, url: url.to_owned() });
            };
            let result = login.run(shown, dismissed).await;
            let _ = inputs.send(Input::LoginEnded { request, user, result });
        });
    }

    /// Opens `url` for the user: by the configured command, or in the browser of who is at the desktop.
    pub(super) fn browse(&self, url: &str) {
        match &self.settings.browser {
            Browser::Command(command) => Self::browse_by(command, url),
            Browser::Desktop => self.browse_at_the_desktop(url),
            #[cfg(test)]
            Browser::Nobody => {}
        }
    }

    fn browse_at_the_desktop(&self, url: &str) {
        let Some(user) = self.machine.state().desktop().map(|session| session.user.to_string()) else { return };
        let url = url.to_owned();
        // It reads files and waits for a program.
        tokio::task::spawn_blocking(move || {
            const BY_HAND: &str = "`vestibule status` tells the address to open by hand";
            let outcome = open_browser(&user, &url).map(|opener| opener.wait());
            match outcome {
                Ok(Ok(status)) if status.success() => {
                    tracing::info!(%user, "the user's browser was opened");
                    return;
                }
                Ok(status) => tracing::warn!(%user, ?status, "the user's browser was not opened: {BY_HAND}"),
                Err(error) => tracing::warn!("the user's browser was not opened: {}: {BY_HAND}", chain(&error)),
            }
            // Who has no browser to be seen may see a message; where there are none, the log has said it all.
            let text = format!("Please sign in to connect this device. Open this address in a browser:\n\n{url}");
            if let Err(error) = show_message(&user, "Vestibule", &text) {
                tracing::debug!("the user was shown no message: {}", chain(&error));
            }
        });
    }

    fn browse_by(command: &str, url: &str) {
        let mut words = command.split_whitespace();
        let Some(program) = words.next() else { return };
        let browser = tokio::process::Command::new(program)
            .args(words)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(false)
            .spawn();
        match browser {
            Ok(mut browser) => {
                // Waited for only so that it leaves no zombie.
                tokio::spawn(async move { browser.wait().await });
            }
            Err(error) => tracing::warn!(program, "the browser was not opened: {}", chain(&error)),
        }
    }
}
