//! A browser as a test drives it: follows redirects, keeps cookies, sends forms, runs no script.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, Url};
use std::collections::BTreeMap;
use std::time::Duration;
use vestibule_control::api::pin::{Pin, client_config};

/// Redirects followed in a row.
const MOST: usize = 20;

/// A browser.
#[derive(Debug)]
pub struct Walker {
    client: Client,
    cookies: BTreeMap<String, String>,
}

/// Where it has come to.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// HTTP status.
    pub status: u16,
    /// HTML.
    pub text: String,
}

impl Page {
    /// The address of the first link whose tag or text has `word`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn link(&self, word: &str) -> Url {
        let links = self.text.split("<a ").skip(1);
        let found = links.filter(|link| link.split("</a>").next().is_some_and(|link| link.contains(word)));
        let href = found.filter_map(|link| Some(link.split_once("href=\"")?.1.split_once('"')?.0)).next();
        let href = href.unwrap_or_else(|| panic!("no link `{word}`: {self:?}"));
        self.url.join(&plain(href)).unwrap_or_else(|error| panic!("{href}: {error}"))
    }

    /// Where its form goes, and the hidden fields.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn form(&self) -> (Url, Vec<(String, String)>) {
        let form = self.text.split_once("<form").unwrap_or_else(|| panic!("no form: {self:?}")).1;
        let form = form.split("</form>").next().unwrap_or_default();
        let attribute =
            |text: &str, name: &str| Some(plain(text.split_once(&format!("{name}=\""))?.1.split_once('"')?.0));
        let action = attribute(form, "action").unwrap_or_default();
        let hidden = form.split("<input ").skip(1).filter(|input| input.contains("type=\"hidden\""));
        let fields = hidden.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect();
        (self.url.join(&action).unwrap_or_else(|error| panic!("{action}: {error}")), fields)
    }
}

fn plain(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

impl Walker {
    /// A browser without cookies that takes the gateway's certificate by its pin.
    ///
    /// # Panics
    /// Without TLS.
    #[must_use]
    pub fn new(pin: Pin) -> Self {
        let tls = client_config(pin).unwrap_or_else(|error| panic!("{error}"));
        let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(20));
        let client = builder.redirect(reqwest::redirect::Policy::none()).build();
        Self { client: client.unwrap_or_else(|error| panic!("{error}")), cookies: BTreeMap::new() }
    }

    /// Opens an address and follows it to its end.
    pub async fn open(&mut self, url: Url) -> Page {
        self.walk(url, None, |_| false).await
    }

    /// As [`Self::open`], and stops before an address that `stop` knows.
    pub async fn open_until(&mut self, url: Url, stop: impl Fn(&Url) -> bool) -> Page {
        self.walk(url, None, stop).await
    }

    /// Sends the page's form with these fields, and follows where it leads, until `stop`.
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)], stop: impl Fn(&Url) -> bool) -> Page {
        let (url, mut all) = page.form();
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.walk(url, Some(all), stop).await
    }

    async fn walk(
        &mut self,
        mut url: Url,
        mut form: Option<Vec<(String, String)>>,
        stop: impl Fn(&Url) -> bool,
    ) -> Page {
        for _ in 0..MOST {
            if stop(&url) {
                return Page { url, status: 0, text: String::new() };
            }
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = match form.take() {
                Some(fields) => self.client.post(url.clone()).form(&fields),
                None => self.client.get(url.clone()),
            };
            let sent = request.header(COOKIE, cookies.join("; ")).send().await;
            let response = sent.unwrap_or_else(|error| panic!("{url}: {}", vestibule_control::causes::chain(&error)));
            self.keep(&response);
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match location.filter(|_| response.status().is_redirection()) {
                Some(next) => url = url.join(next).unwrap_or_else(|error| panic!("{next}: {error}")),
                None => {
                    let status = response.status().as_u16();
                    return Page { url, status, text: response.text().await.unwrap_or_default() };
                }
            }
        }
        panic!("more than {MOST} redirects, the last one to {url}");
    }

    fn keep(&mut self, response: &Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap_or_default();
            let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
