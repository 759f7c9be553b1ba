use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM ends this process without tidying up");
            std::future::pending().await
        }
    }
}
