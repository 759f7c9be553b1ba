//! Signing in at a real OpenID Connect provider: the daemon's own prompt, the gateway's pages, npm `oidc-provider`, and a
//! browser that goes where it is sent.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::{Method, Url};
use serde_json::json;
use std::time::Duration;
use vestibule_control::daemon::login::LoginError;
use vestibule_tests::admin::Admin;
use vestibule_tests::gateway::Gateway;
use vestibule_tests::house::Room;
use vestibule_tests::netns::Namespace;
use vestibule_tests::prompt::{Coming, Prompt, Stage};
use vestibule_tests::provider::{CLIENT_SECRET, Provider};
use vestibule_tests::walker::{Page, Walker};

/// A prompt, and a fresh browser at the provider's sign-in page for it.
async fn at_the_provider(stage: &Stage) -> (Prompt, Walker, Page) {
    let (mut prompt, mut walker) = (stage.prompt(), Walker::new(stage.pin));
    let address = prompt.shown.recv().await.unwrap().parse().unwrap();
    let form = walker.open(address).await;
    let page = walker.open(form.link("Continue with Corporate")).await;
    assert!(page.url.as_str().starts_with(&Provider::issuer()), "{page:?}");
    (prompt, walker, page)
}

/// Fills in the provider's own pages, until `stop`.
async fn sign_in(walker: &mut Walker, page: &Page, login: &str, stop: impl Fn(&Url) -> bool + Copy) -> Page {
    let mut page = walker.submit(page, &[("login", login), ("password", "anything")], stop).await;
    // It asks for consent, and a form that a script sends puts away the session of another user.
    while page.text.contains("value=\"consent\"") || page.text.contains("/session/end/confirm") {
        page = walker.submit(&page, &[], stop).await;
    }
    page
}

fn never(_: &Url) -> bool {
    false
}

fn at_the_gateways_callback(url: &Url) -> bool {
    url.path() == "/warp/oidc/callback"
}

/// The address with another value of a parameter.
fn with(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<_> = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    let mut changed = url.clone();
    changed
        .query_pairs_mut()
        .clear()
        .extend_pairs(pairs.iter().map(|(k, v)| (k.as_str(), if k == name { value } else { v.as_str() })));
    changed
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[test]
fn users_sign_in_at_a_real_provider() {
    if !vestibule_tests::required("users_sign_in_at_a_real_provider") {
        return;
    }
    let room = Room::new("provider");
    let host = Namespace::new();
    let gateway = Gateway::start(&host, &room.0, "127.0.0.1", &[]);
    let admin = Admin::seat(&host, &gateway);
    let config = json!({
        "issuer_url": Provider::issuer(), "client_id": "vestibule", "client_secret": CLIENT_SECRET,
        "scopes": ["openid", "email", "profile", "groups"], "claims": ["department", "groups"],
    });
    let made = json!({ "name": "Corporate", "type": "oidc", "config": config });
    let id = admin.call(Method::POST, "access/identity_providers", Some(made))["id"].as_str().unwrap().to_owned();
    let claim = |name: &str, value: &str| json!({ "oidc": { "identity_provider_id": id, "claim_name": name, "claim_value": value } });
    let app = admin.get("access/apps")[0]["id"].as_str().unwrap().to_owned();
    let policy = json!({
        "name": "research", "decision": "allow", "include": [{ "login_method": { "id": id } }],
        "require": [claim("department", "research"), claim("groups", "admins")],
    });
    let _ = admin.call(Method::POST, &format!("access/apps/{app}/policies"), Some(policy));
    let stage = Stage::of(&gateway);
    let run = |scenario: fn(Stage) -> Coming| stage.run(&host, scenario);

    // Claims at the userinfo endpoint, as the provider does it by itself.
    let mut provider = Provider::start(&host, &room.0, &[]);
    run(|stage| Box::pin(happy_path(stage)));
    run(|stage| Box::pin(wrong_account_then_the_right_one(stage)));
    run(|stage| Box::pin(cancelled(stage)));
    run(|stage| Box::pin(what_does_not_fit(stage)));
    // A new signing key, and claims in the ID token.
    provider.kill();
    provider = Provider::start(&host, &room.0, &["token-claims"]);
    run(|stage| Box::pin(happy_path(stage)));
    // Codes that live for a second, which a busy machine may need for a good one.
    provider.kill();
    provider = Provider::start(&host, &room.0, &["token-claims", "short-codes"]);
    run(|stage| Box::pin(expired_code(stage)));
    provider.kill();
    run(|stage| Box::pin(provider_down(stage)));
}

async fn happy_path(stage: Stage) {
    let (prompt, mut walker, page) = at_the_provider(&stage).await;
    let done = sign_in(&mut walker, &page, "ada", never).await;
    assert!(done.text.contains("You are signed in") && done.text.contains("ada@corp.example"), "{done:?}");
    assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, "ada@corp.example");
}

/// The provider remembers the wrong user, and must ask all the same.
async fn wrong_account_then_the_right_one(stage: Stage) {
    let (prompt, mut walker, page) = at_the_provider(&stage).await;
    let refused = sign_in(&mut walker, &page, "eve", never).await;
    for word in ["refused", "eve@corp.example", "no enrolment policy", "another account"] {
        assert!(refused.text.contains(word), "{word}: {refused:?}");
    }
    let form = walker.open(refused.link("Try again")).await;
    let page = walker.open(form.link("Continue with Corporate")).await;
    assert!(page.text.contains("name=\"password\""), "asks again: {page:?}");
    let done = sign_in(&mut walker, &page, "ada", never).await;
    assert!(done.text.contains("You are signed in"), "{done:?}");
    assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, "ada@corp.example");
}

async fn cancelled(stage: Stage) {
    let (prompt, mut walker, page) = at_the_provider(&stage).await;
    let told = walker.open(page.link("Cancel")).await;
    assert!(told.text.contains("The sign-in was cancelled"), "{told:?}");
    assert!(matches!(prompt.end.await.unwrap(), Err(LoginError::Cancelled(_))));

    // On the gateway's own page.
    let (mut prompt, mut walker) = (stage.prompt(), Walker::new(stage.pin));
    let form = walker.open(prompt.shown.recv().await.unwrap().parse().unwrap()).await;
    let told = walker.open(form.link("Cancel")).await;
    assert!(told.text.contains("The sign-in was cancelled"), "{told:?}");
    assert!(matches!(prompt.end.await.unwrap(), Err(LoginError::Cancelled(_))));
}

/// Answers that are another login's, another browser's, or not to be trusted. The prompt goes on waiting.
async fn what_does_not_fit(stage: Stage) {
    let (prompt, mut walker, page) = at_the_provider(&stage).await;
    let refused = sign_in(&mut walker, &page, "unverified", never).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("has not verified your mail address"), "{refused:?}");
    assert!(!prompt.end.is_finished());

    let (_first, mut walker, page) = at_the_provider(&stage).await;
    let back = sign_in(&mut walker, &page, "ada", at_the_gateways_callback).await.url;
    let stale = "not under way any more";
    for (url, browser) in [(with(&back, "state", "guess"), &mut walker), (back.clone(), &mut Walker::new(stage.pin))] {
        let page = browser.open(url).await;
        assert!(page.status == 400 && page.text.contains(stale), "{page:?}");
    }

    // Another login's code: it is bound to that one's verifier.
    let mut walker = Walker::new(stage.pin);
    let mut codes = Vec::new();
    let mut prompts = Vec::new();
    for _ in 0..2 {
        let mut prompt = stage.prompt();
        let form = walker.open(prompt.shown.recv().await.unwrap().parse().unwrap()).await;
        let page = walker.open_until(form.link("Continue with Corporate"), at_the_gateways_callback).await;
        let back =
            if page.status == 0 { page } else { sign_in(&mut walker, &page, "ada", at_the_gateways_callback).await };
        codes.push(back.url);
        prompts.push(prompt);
    }
    let page = walker.open(with(&codes[1], "code", &parameter(&codes[0], "code"))).await;
    assert!(page.status == 502 && page.text.contains("did not take its own code"), "{page:?}");

    // A token that is not for this login.
    let (mut prompt, mut walker) = (stage.prompt(), Walker::new(stage.pin));
    let form = walker.open(prompt.shown.recv().await.unwrap().parse().unwrap()).await;
    let sent = walker.open_until(form.link("Continue with Corporate"), |url| url.path() == "/auth").await.url;
    let page = walker.open(with(&sent, "nonce", "another")).await;
    let page = sign_in(&mut walker, &page, "ada", never).await;
    assert!(page.status == 502 && page.text.contains("cannot be trusted"), "{page:?}");
}

async fn expired_code(stage: Stage) {
    let (_prompt, mut walker, page) = at_the_provider(&stage).await;
    let back = sign_in(&mut walker, &page, "ada", at_the_gateways_callback).await.url;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let page = walker.open(back).await;
    assert!(page.status == 502 && page.text.contains("did not take its own code"), "{page:?}");
}

async fn provider_down(stage: Stage) {
    let (mut prompt, mut walker) = (stage.prompt(), Walker::new(stage.pin));
    let form = walker.open(prompt.shown.recv().await.unwrap().parse().unwrap()).await;
    assert_eq!(form.status, 200, "the form does not wait for providers");
    let page = walker.open(form.link("Continue with Corporate")).await;
    assert!(page.status == 502 && page.text.contains("cannot be reached"), "{page:?}");
    assert!(!prompt.end.is_finished(), "the prompt waits for another attempt");
}
