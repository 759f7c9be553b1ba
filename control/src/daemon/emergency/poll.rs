//! Asking the address of the emergency signal.

use super::{MAX_SIGNAL, Remote, signal};
use crate::{
    api::pin::{ClientError, http_client},
    causes::chain,
};
use std::time::Duration;

/// How long an answer may take.
const CALL: Duration = Duration::from_secs(15);

/// Why an answer says nothing.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error("the emergency signal's address is out of reach")]
    Unreachable(#[source] reqwest::Error),
    #[error("the emergency signal's address answered with status {0}: expected 200")]
    Status(u16),
    #[error("the emergency signal has more than {MAX_SIGNAL} bytes")]
    TooLong,
    #[error("the emergency signal is not understood: expected {{\"emergency_disconnect\": true|false}}")]
    NotSignal(#[source] serde_json::Error),
}

/// Asks until `tell` says that nobody listens. Only answers from the certificate of the fingerprint are told.
pub(in crate::daemon) async fn poll(remote: Remote, tell: impl Fn(bool) -> bool) {
    let client: Result<_, ClientError> = http_client(remote.pin, CALL);
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::warn!("the emergency signal is not asked for: {}", chain(&error)),
    };
    let mut failing = false;
    loop {
        match ask(&client, &remote.url).await {
            Ok(engaged) => {
                failing = false;
                if !tell(engaged) {
                    return;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("{}; what held holds", chain(&error));
                }
            }
        }
        tokio::time::sleep(remote.interval).await;
    }
}

async fn ask(client: &reqwest::Client, url: &str) -> Result<bool, SignalError> {
    let unreachable = |error: reqwest::Error| SignalError::Unreachable(error.without_url());
    let mut answer = client.get(url).send().await.map_err(unreachable)?;
    if !answer.status().is_success() {
        return Err(SignalError::Status(answer.status().as_u16()));
    }
    let mut content = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        content.extend_from_slice(&chunk);
        if content.len() > MAX_SIGNAL {
            return Err(SignalError::TooLong);
        }
    }
    signal(&content).map_err(SignalError::NotSignal)
}
