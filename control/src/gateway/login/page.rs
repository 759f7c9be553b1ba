//! The pages a browser sees: no script, nothing from elsewhere, readable without a mouse.

use super::request::LoginRequest;
use crate::crypto::sha256;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt::Write as _;
use std::sync::OnceLock;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#17202e;--soft:#5b6678;--paper:#fff;--ground:#eef1f6;--line:#c7cedb;--accent:#1c4fd6;--bad:#a3161f;--badground:#fdecec}\
@media(prefers-color-scheme:dark){:root{--ink:#eef1f6;--soft:#a5b0c2;--paper:#1a212d;--ground:#10151d;--line:#3a4557;--accent:#7ea2ff;--bad:#ffb3b3;--badground:#3b1518}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{width:min(24rem,calc(100vw - 2rem));margin:1rem;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:12px}\
h1{margin:0 0 .25rem;font-size:1.375rem}p{margin:0 0 1.5rem;color:var(--soft)}\
label{display:block;margin:1rem 0 .25rem;font-weight:600}\
input{width:100%;padding:.625rem .75rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:8px}\
button,.provider{display:block;width:100%;margin-top:1.5rem;padding:.6875rem;font:inherit;font-weight:600;text-align:center;text-decoration:none;border-radius:8px;cursor:pointer}\
button{color:var(--paper);background:var(--accent);border:1px solid var(--accent)}\
.provider{margin-top:.75rem;color:var(--ink);border:1px solid var(--line)}\
.cancel{display:block;margin-top:1.25rem;text-align:center;color:var(--soft)}\
.or{margin:1.5rem 0 0;text-align:center}\
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
[role=alert]{margin:0 0 1rem;padding:.75rem;color:var(--bad);background:var(--badground);border-radius:8px}";

/// The form; `local` is the mail address to begin with, or `None` when local accounts are not offered.
pub(super) fn form(
    status: StatusCode,
    request: &LoginRequest,
    local: Option<&str>,
    providers: &[(String, String)],
    error: Option<&str>,
) -> Response {
    let mut body = String::new();
    let organization = escape(&request.organization);
    let _ = write!(body, "<h1>Sign in</h1><p>to connect this device to <strong>{organization}</strong></p>");
    if let Some(error) = error {
        let _ = write!(body, "<div role=\"alert\" id=\"error\">{}</div>", escape(error));
    }
    if let Some(email) = local {
        account(&mut body, request, email, error.is_some());
        if !providers.is_empty() {
            body.push_str("<p class=\"or\">or</p>");
        }
    } else if providers.is_empty() {
        body.push_str("<div role=\"alert\">No way to sign in is set up: ask an administrator.</div>");
    }
    for (name, link) in providers {
        let _ = write!(body, "<a class=\"provider\" href=\"{}\">Continue with {}</a>", escape(link), escape(name));
    }
    if let Some(cancelled) = request.cancelled("cancelled at the sign-in page") {
        let _ = write!(body, "<a class=\"cancel\" href=\"{}\">Cancel</a>", escape(&cancelled));
    }
    page(status, &format!("Sign in · {}", request.organization), &body, request.origin())
}

/// The fields of a local account.
fn account(body: &mut String, request: &LoginRequest, email: &str, wrong: bool) {
    body.push_str("<form method=\"post\" action=\"/warp/login\">");
    for (name, value) in request.fields() {
        let _ = write!(body, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    }
    // What is to be done next: the password again, or the address first.
    let (at_email, at_password) = if wrong && !email.is_empty() { ("", " autofocus") } else { (" autofocus", "") };
    let invalid = if wrong { " aria-invalid=\"true\" aria-describedby=\"error\"" } else { "" };
    let _ = write!(
        body,
        "<label for=\"email\">Email</label><input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" \
         required{at_email} value=\"{}\"{invalid}>\
         <label for=\"password\">Password</label><input id=\"password\" name=\"password\" type=\"password\" \
         autocomplete=\"current-password\" required{at_password}{invalid}><button type=\"submit\">Sign in</button></form>",
        escape(email)
    );
}

/// A page that says why there is no form.
pub(super) fn problem(status: StatusCode, message: &str) -> Response {
    let body = format!(
        "<h1>This did not work</h1><div role=\"alert\">{}</div><p>Close this window and start signing in again from \
         your device.</p>",
        escape(message)
    );
    page(status, "Sign in", &body, "")
}

fn page(status: StatusCode, title: &str, body: &str, callback_origin: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>",
        escape(title)
    );
    let policy = format!(
        "default-src 'none'; style-src '{}'; form-action 'self' {callback_origin}; frame-ancestors 'none'; base-uri 'none'",
        style_hash()
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE, "text/html; charset=utf-8");
    set(CONTENT_SECURITY_POLICY, &policy);
    set(CACHE_CONTROL, "no-store");
    set(REFERRER_POLICY, "no-referrer");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn style_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| format!("sha256-{}", STANDARD.encode(sha256(STYLE.as_bytes()))))
}

/// For text and quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sends_is_text_and_nothing_else() {
        assert_eq!(escape("\"><script>'&"), "&quot;&gt;&lt;script&gt;&#39;&amp;");
    }
}
