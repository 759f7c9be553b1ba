//! Which ways to log in the application of type `warp` offers.

use crate::gateway::access::LOCAL_ACCOUNTS;
use crate::gateway::store::{ProviderRow, Store, StoreError};

/// The ways.
pub(super) struct Offered {
    /// By a local account.
    pub(super) local: bool,
    /// At these providers.
    pub(super) providers: Vec<ProviderRow>,
    /// Whether the one provider is gone to at once.
    pub(super) at_once: bool,
}

impl Offered {
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let app = store.apps().await?.into_iter().next();
        let settings = app.map(|app| app.settings).unwrap_or_default();
        let allowed = |id: &str| settings.allowed_idps.is_empty() || settings.allowed_idps.iter().any(|one| one == id);
        let mut providers = store.providers().await?;
        providers.retain(|provider| allowed(&provider.id));
        let local = allowed(LOCAL_ACCOUNTS);
        Ok(Self { at_once: settings.auto_redirect_to_identity && !local && providers.len() == 1, local, providers })
    }
}
