//! `GET /warp` and `POST /warp/login`.

use super::offered::Offered;
use super::request::{LoginRequest, Parameters};
use super::{Identified, LoginError, page};
use crate::gateway::access::Presented;
use crate::gateway::app::App;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// One answer for a wrong password and for an account that does not exist.
const WRONG: &str = "The email or the password is wrong.";

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Submission {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(flatten)]
    parameters: Parameters,
}

/// `GET /warp`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let checked = match parameters {
        Ok(Query(parameters)) => parameters.check(&app.settings.organization),
        Err(_) => Err("The address of this page is not complete."),
    };
    match checked {
        Ok(request) => match Offered::load(&app.store).await {
            Ok(offered) if offered.at_once => at_once(&request, &offered),
            Ok(offered) => render(&offered, StatusCode::OK, &request, "", None),
            Err(error) => failed(&error.into()),
        },
        Err(message) => page::problem(StatusCode::BAD_REQUEST, message),
    }
}

/// `POST /warp/login`
pub(super) async fn login(
    State(app): State<Arc<App>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Extension(presented): Extension<Presented>,
    form: Result<Form<Submission>, FormRejection>,
) -> Response {
    let Ok(Form(Submission { email, password, parameters })) = form else {
        return page::problem(StatusCode::BAD_REQUEST, "The form did not arrive whole.");
    };
    let password = Zeroizing::new(password);
    let request = match parameters.check(&app.settings.organization) {
        Ok(request) => request,
        Err(message) => return page::problem(StatusCode::BAD_REQUEST, message),
    };
    let offered = match Offered::load(&app.store).await {
        Ok(offered) => offered,
        Err(error) => return failed(&error.into()),
    };
    if !offered.local {
        return page::problem(StatusCode::FORBIDDEN, "This organisation does not sign in with local accounts.");
    }
    let email = email.trim().to_owned();
    if let Err(wait) = app.login.limiter.attempt(&email, from.ip(), Instant::now()) {
        tracing::warn!("a login is refused: too many attempts");
        let minutes = wait.as_secs().div_ceil(60);
        let message = format!("Too many attempts. Try again in {minutes} min.");
        let mut response = render(&offered, StatusCode::TOO_MANY_REQUESTS, &request, &email, Some(&message));
        if let Ok(seconds) = HeaderValue::from_str(&wait.as_secs().to_string()) {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        return response;
    }
    let user = match app.store.user_by_email(&email).await {
        Ok(user) => user,
        Err(error) => return failed(&error.into()),
    };
    if !app.login.check(user.as_ref(), password).await {
        tracing::warn!("a login failed");
        return render(&offered, StatusCode::UNAUTHORIZED, &request, &email, Some(WRONG));
    }
    app.login.limiter.succeeded(&email, from.ip());
    let Some(user) = user else { return page::problem(StatusCode::UNAUTHORIZED, WRONG) };
    proceed(&app, &request, Identified { person: user.person(), provider: None, presented })
}

/// Sends the browser to the daemon with a code.
pub(super) fn proceed(app: &App, request: &LoginRequest, user: Identified) -> Response {
    if !is_a_users(&user.person.email) {
        return page::problem(StatusCode::FORBIDDEN, "This mail address is not one that a user may have.");
    }
    let code = match app.login.grants.issue_code(request.code(user), Instant::now()) {
        Ok(code) => code,
        Err(error) => return failed(&error.into()),
    };
    back(request.callback(code.expose()))
}

/// Sends the browser back to the daemon.
pub(super) fn back(address: Option<String>) -> Response {
    let Some(location) = address.and_then(|address| HeaderValue::from_str(&address).ok()) else {
        return page::problem(StatusCode::BAD_REQUEST, "The device's address is not one to send you to.");
    };
    let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Whether a user may have this mail address: not that of service tokens, nor the name of a plain peer.
fn is_a_users(email: &str) -> bool {
    let email = email.to_lowercase();
    email.contains('@') && !email.starts_with("non_identity@") && !email.starts_with("plain:")
}

fn render(offered: &Offered, status: StatusCode, request: &LoginRequest, email: &str, error: Option<&str>) -> Response {
    let links =
        offered.providers.iter().filter_map(|provider| Some((provider.name.clone(), link(request, &provider.id)?)));
    page::form(status, request, offered.local.then_some(email), &links.collect::<Vec<_>>(), error)
}

/// Where the browser begins at a provider.
fn link(request: &LoginRequest, provider: &str) -> Option<String> {
    let parameters = request.fields().into_iter().chain([("provider", provider)]);
    let url = reqwest::Url::parse_with_params("https://gateway/warp/oidc/start", parameters).ok()?;
    Some(format!("{}?{}", url.path(), url.query()?))
}

/// Passes the form over.
fn at_once(request: &LoginRequest, offered: &Offered) -> Response {
    let link = offered.providers.first().and_then(|provider| link(request, &provider.id));
    match link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        Some(location) => {
            let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        None => render(offered, StatusCode::OK, request, "", None),
    }
}

/// A page for our own trouble.
pub(super) fn failed(error: &LoginError) -> Response {
    tracing::error!(error = crate::causes::chain(error), "a login could not be served");
    page::problem(StatusCode::SERVICE_UNAVAILABLE, "The gateway has a problem of its own. Try again in a moment.")
}
