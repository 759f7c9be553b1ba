//! The HTTP client that speaks to providers: public certificate authorities, no redirects, bounded in time and size.

use openidconnect::http::Response;
use openidconnect::{HttpRequest, HttpResponse};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Key sets and discovery documents have some 10 KiB.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why a provider's answer was not had.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum HttpError {
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    #[error("the answer has more than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("the answer is not HTTP")]
    Http(#[from] openidconnect::http::Error),
}

/// A client.
pub(super) fn client() -> Result<reqwest::Client, HttpError> {
    crate::crypto::install_provider();
    Ok(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build()?)
}

/// One exchange.
pub(super) async fn exchange(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let mut response = client.execute(request.try_into()?).await?;
    let mut answer = Response::builder().status(response.status());
    for (name, value) in response.headers() {
        answer = answer.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(answer.body(body)?)
}
