//! The administrator: calls the gateway's REST API from a namespace, well-formed or not.

use crate::gateway::Gateway;
use crate::netns::Namespace;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use vestibule_control::api::pin::{Pin, client_config};

/// Longest wait for one call.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the gateway answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON; null when it was none.
    pub body: Value,
}

impl Reply {
    /// Whether it says that it was done.
    #[must_use]
    pub fn done(&self) -> bool {
        (200..300).contains(&self.status) && self.body["success"] == true
    }

    /// The first error's message, of an answer in the vendor's envelope.
    ///
    /// # Panics
    /// When it is not in that envelope.
    #[must_use]
    pub fn refusal(&self) -> &str {
        assert_eq!(self.body["success"], false, "no error in the envelope: {self:?}");
        assert!(self.body["errors"][0]["code"].is_u64() && self.body["result"].is_null(), "no envelope: {self:?}");
        self.body["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("no message: {self:?}"))
    }
}

/// A service token as it was handed out.
#[derive(Clone)]
pub struct Token {
    /// Its id in the API.
    pub id: String,
    /// `CF-Access-Client-Id`.
    pub client_id: String,
    /// `CF-Access-Client-Secret`.
    pub secret: String,
}

/// What goes out: with the bearer token or without, any bytes as the body.
struct Call {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    bearer: Option<String>,
    answer: Sender<Result<Reply, String>>,
}

/// Someone with the admin API's bearer token.
#[derive(Clone)]
pub struct Admin {
    account: String,
    token: String,
    calls: Sender<Call>,
}

impl Admin {
    /// Takes a seat in `namespace`; the seat outlives the gateway's restarts.
    ///
    /// # Panics
    /// When the gateway's facts or its admin token cannot be read.
    #[must_use]
    pub fn seat(namespace: &Namespace, gateway: &Gateway) -> Self {
        let (calls, inbox) = channel::<Call>();
        let file = gateway.fact("admin_token_file");
        let token = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let url = gateway.fact("url").to_owned();
        let pin: Pin = gateway.fact("certificate_sha256").parse().unwrap_or_else(|error| panic!("{error}"));
        // Ends when the last `Admin` does.
        let _ = namespace.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
            let client = client(pin);
            for call in inbox {
                let _ = call.answer.send(runtime.block_on(exchange(
                    &client,
                    &url,
                    call.method,
                    &call.path,
                    call.body,
                    call.bearer,
                )));
            }
        });
        Self { account: gateway.fact("account_id").to_owned(), token: token.trim().to_owned(), calls }
    }

    /// Sends a call below the account's path; the error is the connection's.
    ///
    /// # Errors
    /// No answer.
    pub fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Reply, String> {
        self.send_as(Some(&self.token), method, path, body)
    }

    /// As [`Self::send`] with another bearer token, or none.
    ///
    /// # Errors
    /// No answer.
    pub fn send_as(
        &self,
        bearer: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Reply, String> {
        let (answer, answered) = channel();
        let path = format!("/client/v4/accounts/{}/{path}", self.account);
        let bearer = bearer.map(str::to_owned);
        let gone = |_| "the administrator has left".to_owned();
        self.calls.send(Call { method, path, body, bearer, answer }).map_err(|_| gone(()))?;
        answered.recv().map_err(|_| gone(()))?
    }

    /// Calls with JSON and gives the `result` of the answer.
    ///
    /// # Panics
    /// When it is not a success.
    #[must_use]
    pub fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| body.to_string().into_bytes());
        let reply = self.send(method.clone(), path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(reply.done(), "{method} {path}: {reply:?}");
        reply.body["result"].clone()
    }

    /// The `result` of a GET.
    ///
    /// # Panics
    /// When it is not a success.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None)
    }

    /// Makes a service token that lives for `duration`, and lets it enrol.
    ///
    /// # Panics
    /// When the gateway refuses.
    #[must_use]
    pub fn token(&self, name: &str, duration: &str) -> Token {
        let token = self.token_alone(name, duration);
        let policy = json!({
            "name": name,
            "decision": "non_identity",
            "include": [{ "service_token": { "token_id": token.id } }],
        });
        self.enrolment_policy(&policy);
        token
    }

    /// Makes a service token that lives for `duration`, and no policy.
    ///
    /// # Panics
    /// When the gateway refuses.
    #[must_use]
    pub fn token_alone(&self, name: &str, duration: &str) -> Token {
        let made =
            self.call(Method::POST, "access/service_tokens", Some(json!({ "name": name, "duration": duration })));
        let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
        Token { id: text("id"), client_id: text("client_id"), secret: text("client_secret") }
    }

    /// Makes a local account, and lets it enrol.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn user(&self, email: &str, password: &str) {
        let _ = self.call(Method::POST, "vestibule/users", Some(json!({ "email": email, "password": password })));
        let policy = json!({ "name": email, "decision": "allow", "include": [{ "email": { "email": email } }] });
        self.enrolment_policy(&policy);
    }

    /// Makes an enrolment policy.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn enrolment_policy(&self, policy: &Value) {
        let apps = self.get("access/apps");
        let app = apps[0]["id"].as_str().unwrap_or_else(|| panic!("no application for enrolment: {apps}"));
        let _ = self.call(Method::POST, &format!("access/apps/{app}/policies"), Some(policy.clone()));
    }

    /// Makes a rule that lets everybody reach `destination`.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn allow(&self, destination: &str) {
        let rule = json!({
            "name": format!("To {destination}"),
            "action": "allow",
            "traffic": format!("net.dst.ip in {{{destination}}}"),
        });
        let _ = self.call(Method::POST, "gateway/rules", Some(rule));
    }
}

/// Every call on a connection of its own: none is left over from a gateway that was killed.
fn client(pin: Pin) -> reqwest::Client {
    let tls = client_config(pin).unwrap_or_else(|error| panic!("{error}"));
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().pool_max_idle_per_host(0);
    builder.timeout(PATIENCE).build().unwrap_or_else(|error| panic!("{error}"))
}

async fn exchange(
    client: &reqwest::Client,
    url: &str,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
    bearer: Option<String>,
) -> Result<Reply, String> {
    let mut request = client.request(method, format!("{url}{path}"));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let response = request.send().await.map_err(|error| vestibule_control::causes::chain(&error))?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| vestibule_control::causes::chain(&error))?;
    Ok(Reply { status, body: serde_json::from_str(&text).unwrap_or_default() })
}
