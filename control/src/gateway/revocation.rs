//! `revoke_with_token`: registrations made with a service token end with it, where the organisation says so.
//!
//! Without it they outlive it, as the vendor's do. A rotation ends none: the token is the same, its secret another.

use super::app::{App, Standing, StepError};
use super::clock;
use crate::api::device::RegistrationStatus;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Until a registration ends whose token has expired.
const GLANCE: Duration = Duration::from_secs(60);

impl App {
    /// Revokes what was made with a service token that is disabled, expired or gone; how many.
    pub(super) async fn revoke_with_tokens(&self) -> Result<usize, StepError> {
        if !self.store.service_token_rules().await?.revoke {
            return Ok(0);
        }
        let now = clock::now();
        let tokens = self.store.tokens().await?.into_iter();
        let good: HashSet<String> =
            tokens.filter(|token| token.enabled && now < token.expires_at).map(|token| token.id).collect();
        let mut revoked = 0;
        for registration in self.store.registrations(false).await? {
            let lost = registration.token_id.as_ref().is_some_and(|token| !good.contains(token));
            if lost && registration.status() == RegistrationStatus::Active {
                self.set_standing(&registration, Standing::Revoked, "revoke_with_token").await?;
                revoked += 1;
            }
        }
        Ok(revoked)
    }
}

/// Looks for tokens that have expired.
pub(super) async fn follow(app: Arc<App>) {
    loop {
        tokio::time::sleep(GLANCE).await;
        if let Err(error) = app.revoke_with_tokens().await {
            tracing::warn!(error = crate::causes::chain(&error), "registrations outlive their tokens a little");
        }
    }
}
