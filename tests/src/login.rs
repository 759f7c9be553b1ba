//! A user at the device's browser: opens what the daemon shows, fills in the real form, goes where it is sent.

use crate::gateway::Gateway;
use crate::netns::Namespace;
use reqwest::{Client, Url, header::LOCATION};
use std::time::Duration;
use vestibule_control::api::pin::{Pin, client_config};

/// Signs in at `address` from `namespace`.
///
/// # Panics
/// When a page is not what it should be.
pub fn sign_in(namespace: &Namespace, gateway: &Gateway, address: &str, email: &str, password: &str) {
    let pin: Pin = gateway.fact("certificate_sha256").parse().unwrap_or_else(|error| panic!("{error}"));
    let address = Url::parse(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let (email, password) = (email.to_owned(), password.to_owned());
    let signed_in = namespace.thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
        runtime.block_on(walk(pin, address, email, password))
    });
    match signed_in.join() {
        Ok(Ok(())) => {}
        other => panic!("the login did not come to its end: {other:?}"),
    }
}

async fn walk(pin: Pin, address: Url, email: String, password: String) -> Result<(), String> {
    let tls = client_config(pin).map_err(|error| error.to_string())?;
    let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(15));
    let client = builder.redirect(reqwest::redirect::Policy::none()).build().map_err(|error| error.to_string())?;
    let told = |error: reqwest::Error| vestibule_control::causes::chain(&error);
    let page = client.get(address.clone()).send().await.map_err(told)?.text().await.map_err(told)?;
    let mut fields = vec![("email".to_owned(), email), ("password".to_owned(), password)];
    for input in page.split("<input type=\"hidden\" ").skip(1) {
        let value = |name: &str| {
            let (_, rest) = input.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&"))
        };
        fields.extend(value("name").zip(value("value")));
    }
    let form = address.join("/warp/login").map_err(|error| error.to_string())?;
    let sent = client.post(form).form(&fields).send().await.map_err(told)?;
    let status = sent.status();
    let Some(back) = sent.headers().get(LOCATION).and_then(|value| value.to_str().ok().map(str::to_owned)) else {
        return Err(format!("{status}: {}", sent.text().await.unwrap_or_default()));
    };
    let done = client.get(back).send().await.map_err(told)?;
    if done.status().is_success() { Ok(()) } else { Err(format!("the callback: {}", done.status())) }
}
