//! A browser that follows a script: opens the login page, fills in its form, goes where it is sent.

use crate::api::pin::{self, Pin};
use reqwest::{Client, StatusCode, Url, header::LOCATION};
use std::time::Duration;

/// Longest wait for one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the login did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    /// A page did not come.
    #[error("the browser got no page from {host}: {cause}")]
    Page {
        /// Whose.
        host: String,
        /// What went wrong, with its causes.
        cause: String,
    },
    /// A page is not what it should be.
    #[error("the browser expected {expected}, got {got}")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

/// A user at the device's browser.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// What the daemon shows.
    pub address: String,
    /// Mail address.
    pub email: String,
    /// Password.
    pub password: String,
    /// The gateway's certificate.
    pub pin: Pin,
}

impl Login {
    /// Logs in from the calling thread's network: from the page to the callback of the daemon on the loopback.
    pub(crate) fn here(&self) -> Result<(), BrowserError> {
        let fail = |cause: String| BrowserError::Page { host: "this host".to_owned(), cause };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(error.to_string()))?;
        let gateway = pin::http_client(self.pin, PATIENCE).map_err(|error| fail(crate::causes::chain(&error)))?;
        let local = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        let local =
            local.tls_backend_preconfigured(pin::client_config(self.pin).map_err(|error| fail(error.to_string()))?);
        let local = local.build().map_err(|error| fail(crate::causes::chain(&error)))?;
        runtime.block_on(self.walk(&gateway, &local))
    }

    async fn walk(&self, gateway: &Client, local: &Client) -> Result<(), BrowserError> {
        let page = Url::parse(&self.address).map_err(|error| unexpected("the address of a login page", error))?;
        let (status, _, html) = fetch(gateway.get(page.clone()), &page).await?;
        if status != StatusCode::OK {
            return Err(unexpected("a login page", format_args!("{status}: {html}")));
        }
        let form = Form::find(&html).ok_or_else(|| unexpected("a form that is sent by POST", &html))?;
        let target = page.join(&form.action).map_err(|error| unexpected("a form's address", error))?;
        let fields = form.filled(&self.email, &self.password);
        let (status, location, html) = fetch(gateway.post(target.clone()).form(&fields), &target).await?;
        let Some(location) = location.filter(|_| status.is_redirection()) else {
            return Err(unexpected("to be sent back to the device", format_args!("{status}: {html}")));
        };
        let callback = target.join(&location).map_err(|error| unexpected("the address of the callback", error))?;
        if callback.host_str() != Some("127.0.0.1") || callback.scheme() != "http" {
            return Err(unexpected("a callback on the device's loopback", callback));
        }
        let (status, _, html) = fetch(local.get(callback.clone()), &callback).await?;
        if !status.is_success() {
            return Err(unexpected("a page that says the login is done", format_args!("{status}: {html}")));
        }
        Ok(())
    }
}

fn unexpected(expected: &'static str, got: impl ToString) -> BrowserError {
    BrowserError::Unexpected { expected, got: got.to_string() }
}

async fn fetch(
    request: reqwest::RequestBuilder,
    url: &Url,
) -> Result<(StatusCode, Option<String>, String), BrowserError> {
    let fail = |error: reqwest::Error| BrowserError::Page {
        host: url.host_str().unwrap_or_default().to_owned(),
        cause: crate::causes::chain(&error.without_url()),
    };
    let response = request.send().await.map_err(fail)?;
    let status = response.status();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((status, location, response.text().await.map_err(fail)?))
}

/// The page's form.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    action: String,
    /// Name, type and value of each field.
    fields: Vec<(String, String, String)>,
}

impl Form {
    /// The first form of `html` that is sent by POST.
    fn find(html: &str) -> Option<Self> {
        let mut rest = html;
        loop {
            let (_, after) = rest.split_once("<form")?;
            let (tag, body) = after.split_once('>')?;
            let (inside, next) = body.split_once("</form").unwrap_or((body, ""));
            if attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
                let field = |tag: &str| {
                    let tag = tag.split_once('>').map_or(tag, |(tag, _)| tag);
                    let text = |name| attribute(tag, name).unwrap_or_default();
                    Some((attribute(tag, "name")?, text("type").to_lowercase(), text("value")))
                };
                let fields = inside.split("<input").skip(1).filter_map(field).collect();
                return Some(Self { action: attribute(tag, "action").unwrap_or_default(), fields });
            }
            rest = next;
        }
    }

    /// What a user's browser sends.
    fn filled(&self, email: &str, password: &str) -> Vec<(String, String)> {
        let fill = |(name, kind, value): &(String, String, String)| {
            let value = match kind.as_str() {
                "password" => password,
                "email" => email,
                "submit" | "button" => return None,
                _ if name == "email" => email,
                _ => value,
            };
            Some((name.clone(), value.to_owned()))
        };
        self.fields.iter().filter_map(fill).collect()
    }
}

/// The value of an attribute in a tag, unescaped.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        let after = rest[at + name.len()..].trim_start();
        if let (true, Some(value)) = (before, after.strip_prefix('=')) {
            let value = value.trim_start();
            let value = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split(quote).next()?,
                _ => value.split(|c: char| c.is_whitespace() || c == '/').next()?,
            };
            let escapes =
                [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">")];
            let plain = escapes.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to));
            return Some(plain.replace("&amp;", "&"));
        }
        rest = &rest[at + name.len()..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PAGE: &str = r#"<form action="/search"><input name="q"></form>
        <form class="x" method="POST" action='/warp/login?a=1&amp;b=2'>
        <input type="hidden" name="state" value="a&amp;b&quot;c">
        <input name=email type=email autocomplete="username" autofocus>
        <input type="password" name="password"/>
        <input type="submit" name="go" value="Log in"></form>"#;

    #[test]
    fn the_login_form_is_found_and_filled_in() {
        let form = Form::find(PAGE).unwrap();
        assert_eq!(form.action, "/warp/login?a=1&b=2");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("state", "a&b\"c"), pair("email", "a@b.c"), pair("password", "secret")];
        assert_eq!(form.filled("a@b.c", "secret"), expected);
    }

    #[test]
    fn a_page_without_a_form_is_none() {
        assert_eq!(Form::find("<p>nothing</p>"), None);
        assert_eq!(Form::find("<form action=/x><input name=a>"), None);
        assert_eq!(Form::find("<form"), None);
    }
}
