//! The administrator: calls the gateway's REST API from the gateway's own host.

use super::gateway::Facts;
use crate::api::pin;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// Longest wait for one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// It did not go through.
    #[error("the gateway's API: {method} {path}: {cause}")]
    Call {
        /// Method.
        method: Method,
        /// Path.
        path: String,
        /// What went wrong, with its causes.
        cause: String,
    },
    /// The answer lacks something.
    #[error("the gateway's API: {method} {path}: the answer has no `{field}`")]
    Lacks {
        /// Method.
        method: Method,
        /// Path.
        path: String,
        /// What was expected.
        field: &'static str,
    },
}

type Answer = Result<Value, String>;

/// One call, and where its answer goes.
#[derive(Debug)]
struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    answer: Sender<Answer>,
}

/// Someone with the admin API's bearer token.
#[derive(Debug)]
pub(crate) struct Admin {
    account: String,
    calls: Sender<Call>,
}

impl Admin {
    /// Takes a seat at the gateway's host: `start` starts a thread there.
    pub(crate) fn seat<E>(
        facts: &Facts,
        token: String,
        start: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (calls, inbox) = unbounded();
        let (url, pin) = (facts.url.clone(), facts.certificate_sha256);
        // Ends when the last `Admin` does.
        start(Box::new(move || work(&inbox, &url, pin, &token)))?;
        Ok(Self { account: facts.account_id.clone(), calls })
    }

    /// Calls `path` below the account's and returns the answer's `result`.
    pub(crate) fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, AdminError> {
        let path = format!("/client/v4/accounts/{}/{path}", self.account);
        let fail = |cause: String| AdminError::Call { method: method.clone(), path: path.clone(), cause };
        let (answer, answered) = bounded(1);
        let call = Call { method: method.clone(), path: path.clone(), body, answer };
        self.calls.send(call).map_err(|_| fail("the administrator has left".to_owned()))?;
        let answer = answered.recv().map_err(|_| fail("the administrator has left".to_owned()))?;
        answer.map_err(fail)
    }

    /// Makes something and returns the text `field` of it.
    pub(crate) fn make(&self, path: &str, body: Value, field: &'static str) -> Result<String, AdminError> {
        let made = self.call(Method::POST, path, Some(body))?;
        made[field].as_str().map(str::to_owned).ok_or_else(|| AdminError::Lacks {
            method: Method::POST,
            path: path.to_owned(),
            field,
        })
    }
}

fn work(inbox: &Receiver<Call>, url: &str, pin: pin::Pin, token: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = pin::http_client(pin, PATIENCE);
    let (runtime, client) = match (runtime, client) {
        (Ok(runtime), Ok(client)) => (runtime, client),
        (Err(error), _) => return eprintln!("administrator: {error}"),
        (_, Err(error)) => return eprintln!("administrator: {error}"),
    };
    for Call { method, path, body, answer } in inbox {
        let request = client.request(method, format!("{url}{path}")).bearer_auth(token);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let _ = answer.send(runtime.block_on(exchange(request)));
    }
}

/// Sends a request and opens the vendor's envelope: `{"success": true, "result": ...}`.
async fn exchange(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.map_err(|error| crate::causes::chain(&error))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| crate::causes::chain(&error))?;
    let value: Value = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
    if !status.is_success() || value["success"] == false {
        return Err(format!("{status}: {text}"));
    }
    Ok(value.get("result").cloned().unwrap_or(value))
}
