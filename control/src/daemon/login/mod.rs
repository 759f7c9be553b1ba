//! A user signs in with the system browser (RFC 8252): a loopback listener waits for the browser to come back.
//!
//! One prompt may see several attempts: a cancelled or refused one shows a page with a link that begins the next, with
//! fresh PKCE and state. The prompt ends with a registration, after [`MAX_ATTEMPTS`], or when its time is over.

mod listener;
mod page;
mod pkce;

use super::{
    enrol::{Device, EnrolError, Enrolled},
    remote::{Gateway, Proof, RemoteError, Secret},
};
use crate::{api::device::TokenRequest, causes::chain, crypto::RandomError};
use listener::{Callback, Listener};
use pkce::Attempt;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long a prompt waits for its user.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Refused attempts after which a prompt gives up.
pub const MAX_ATTEMPTS: usize = 5;

/// One prompt.
#[derive(Debug)]
pub struct Login<G> {
    /// Whom to sign in at.
    pub gateway: Arc<G>,
    /// What to enrol.
    pub device: Arc<Device>,
    /// Team name.
    pub organization: String,
    /// How long to wait.
    pub patience: Duration,
}

/// Why a prompt ended without a registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The machine took it away.
    #[error("the prompt was dismissed")]
    Dismissed,
    /// Nobody came.
    #[error("nobody signed in within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The user cancelled at the gateway.
    #[error("the sign-in was cancelled: {0}")]
    Cancelled(String),
    /// Too many refusals.
    #[error("{MAX_ATTEMPTS} sign-ins were refused, the last one: {0}")]
    TooManyAttempts(String),
    /// No loopback port.
    #[error("cannot listen on 127.0.0.1 for the browser's return")]
    Listen(#[source] io::Error),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl<G: Gateway> Login<G> {
    /// Runs the prompt to its end. `shown` gets the address to sign in at, again for each further attempt. When
    /// `dismissed` turns true, waiting ends; a login that is being traded just then is still finished.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn run(
        self,
        mut shown: impl FnMut(&str),
        mut dismissed: watch::Receiver<bool>,
    ) -> Result<Enrolled, LoginError> {
        let mut listener = Listener::open().await.map_err(LoginError::Listen)?;
        let result = self.attempts(&mut listener, &mut shown, &mut dismissed).await;
        listener.close().await;
        result
    }

    async fn attempts(
        &self,
        listener: &mut Listener,
        shown: &mut impl FnMut(&str),
        dismissed: &mut watch::Receiver<bool>,
    ) -> Result<Enrolled, LoginError> {
        let over = tokio::time::sleep(self.patience);
        tokio::pin!(over);
        let mut refusals = 0;
        let mut attempt = self.begin(listener, shown, false)?;
        loop {
            let callback = tokio::select! {
                // A browser that is back already wins over a dismissal: what it brings is still welcome.
                biased;
                Some(callback) = listener.next() => callback,
                () = dismissal(dismissed) => return Err(LoginError::Dismissed),
                () = &mut over => return Err(LoginError::TimedOut(self.patience)),
            };
            if callback.state.as_deref() != Some(attempt.state()) {
                callback.answer(page::foreign());
                continue;
            }
            let failure = match self.finish(&attempt, listener, &callback).await {
                Ok(enrolled) => {
                    callback.answer(page::done(&enrolled.registration.email));
                    return Ok(enrolled);
                }
                Err(Failed::Cancelled(reason)) => {
                    callback.answer(page::cancelled(&reason));
                    return Err(LoginError::Cancelled(reason));
                }
                Err(Failed::Refused(reason)) => reason,
            };
            refusals += 1;
            if refusals >= MAX_ATTEMPTS {
                callback.answer(page::failed(&failure, false));
                return Err(LoginError::TooManyAttempts(failure));
            }
            tracing::warn!(reason = %failure, "a sign-in was refused");
            attempt = self.begin(listener, shown, true)?;
            callback.answer(page::failed(&failure, true));
        }
    }

    fn begin(&self, listener: &Listener, shown: &mut impl FnMut(&str), again: bool) -> Result<Attempt, LoginError> {
        let attempt = Attempt::new()?;
        let url = self.gateway.login_address(
            &self.organization,
            &listener.redirect_uri(),
            attempt.state(),
            &attempt.challenge(),
            again,
        );
        listener.offer(&url);
        shown(&url);
        Ok(attempt)
    }

    async fn finish(&self, attempt: &Attempt, listener: &Listener, callback: &Callback) -> Result<Enrolled, Failed> {
        if let Some(error) = &callback.error {
            return Err(Failed::Cancelled(error.clone()));
        }
        let Some(code) = callback.code.clone() else {
            return Err(Failed::Refused("the browser came back without a code".into()));
        };
        let request =
            TokenRequest { code, code_verifier: attempt.verifier().to_owned(), redirect_uri: listener.redirect_uri() };
        let response = self.gateway.trade(&request).await?;
        let proof = Proof::Assertion(Secret::new(response.assertion));
        Ok(self.device.enrol(&*self.gateway, &self.organization, &proof).await?)
    }
}

/// Why one attempt failed.
enum Failed {
    Cancelled(String),
    Refused(String),
}

impl From<RemoteError> for Failed {
    fn from(error: RemoteError) -> Self {
        Self::Refused(chain(&error))
    }
}

impl From<EnrolError> for Failed {
    fn from(error: EnrolError) -> Self {
        Self::Refused(chain(&error))
    }
}

async fn dismissal(dismissed: &mut watch::Receiver<bool>) {
    // An error means that whoever could dismiss is gone: that is a dismissal, too.
    let _ = dismissed.wait_for(|dismissed| *dismissed).await;
}

#[cfg(test)]
mod tests;
