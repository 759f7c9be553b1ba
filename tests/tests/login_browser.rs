//! The login page in a real browser: Chromium without a screen, by WebDriver.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::json;
use std::path::PathBuf;
use vestibule_tests::admin::Admin;
use vestibule_tests::browser::{Browser, Driver, ENTER, TAB};
use vestibule_tests::gateway::Gateway;
use vestibule_tests::house::Room;
use vestibule_tests::netns::Namespace;
use vestibule_tests::prompt::{Coming, Stage};
use vestibule_tests::provider::{CLIENT_SECRET, Provider};

const EMAIL: &str = "alice@mycompany.example";
const PASSWORD: &str = "correct horse battery";

#[test]
fn the_login_page_works_in_a_real_browser() {
    if !vestibule_tests::required("the_login_page_works_in_a_real_browser") {
        return;
    }
    let room = Room::new("browser");
    let host = Namespace::new();
    let gateway = Gateway::start(&host, &room.0, "127.0.0.1", &[]);
    let admin = Admin::seat(&host, &gateway);
    admin.user(EMAIL, PASSWORD);
    let app = admin.get("access/apps")[0]["id"].as_str().unwrap().to_owned();
    let staff = json!({ "name": "all", "decision": "allow", "include": [{ "everyone": {} }] });
    let _ = admin.call(Method::POST, &format!("access/apps/{app}/policies"), Some(staff));
    let config = json!({ "issuer_url": Provider::issuer(), "client_id": "vestibule", "client_secret": CLIENT_SECRET });
    let made = json!({ "name": "Corporate", "type": "oidc", "config": config });
    let _ = admin.call(Method::POST, "access/identity_providers", Some(made));
    let _provider = Provider::start(&host, &room.0, &[]);
    let _driver = Driver::start(&host, &room.0);
    let stage = Stage::of(&gateway);
    for scenario in [mouse as fn(Stage) -> Coming, keyboard, narrow, at_the_provider] {
        stage.run(&host, scenario);
    }
}

/// Pictures of the pages, for people: `target/login-pages/`.
async fn keep_picture(browser: &Browser, name: &str) {
    let picture = BASE64_STANDARD.decode(browser.picture().await).unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "no picture");
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/login-pages");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
}

/// Nothing may be blocked by the page's own policy, and no script may fail. A refused password is a 401 that Chromium
/// notes; a page has no icon.
async fn no_complaints(browser: &Browser) {
    let complaints = browser.complaints().await;
    let real = complaints.iter().filter(|message| !message.contains("401") && !message.contains("favicon.ico"));
    assert_eq!(real.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// A wrong password, then the right one.
fn mouse(stage: Stage) -> Coming {
    Box::pin(async move {
        let (mut prompt, browser) = (stage.prompt(), Browser::open(1280, 800).await);
        browser.go(&prompt.shown.recv().await.unwrap()).await;
        browser.until("Sign in").await;
        // The style is the page's own: a blocked one would leave the browser's white and no rounded corners.
        assert_ne!(browser.value("getComputedStyle(document.querySelector('main')).borderRadius").await, "0px");
        keep_picture(&browser, "sign-in").await;
        browser.write("#email", EMAIL).await;
        browser.write("#password", "wrong").await;
        browser.click("button").await;
        browser.until("The email or the password is wrong.").await;
        assert_eq!(browser.value("document.querySelector('#email').value").await, EMAIL, "what was typed stays");
        assert_eq!(browser.value("document.querySelector('#password').value").await, "");
        assert_eq!(browser.value("document.activeElement.id").await, "password", "where to type next");
        keep_picture(&browser, "wrong-password").await;
        browser.write("#password", PASSWORD).await;
        browser.click("button").await;
        browser.until("You are signed in").await;
        keep_picture(&browser, "signed-in").await;
        no_complaints(&browser).await;
        assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, EMAIL);
        browser.close().await;
    })
}

/// Without a mouse: the focus begins where one types, and goes on in order.
fn keyboard(stage: Stage) -> Coming {
    Box::pin(async move {
        let (mut prompt, browser) = (stage.prompt(), Browser::open(1280, 800).await);
        browser.go(&prompt.shown.recv().await.unwrap()).await;
        browser.until("Sign in").await;
        let focus = "document.activeElement.id || document.activeElement.textContent";
        assert_eq!(browser.value(focus).await, "email");
        let mut order = Vec::new();
        for _ in 0..4 {
            browser.press(&TAB.to_string()).await;
            order.push(browser.value(focus).await.as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(order, ["password", "Sign in", "Continue with Corporate", "Cancel"]);
        let ring = "getComputedStyle(document.activeElement).outlineStyle";
        assert_eq!(browser.value(ring).await, "solid", "the focus can be seen");
        browser.go(browser.value("location.href").await.as_str().unwrap()).await;
        browser.until("Sign in").await;
        browser.press(&format!("{EMAIL}{TAB}{PASSWORD}{ENTER}")).await;
        browser.until("You are signed in").await;
        no_complaints(&browser).await;
        assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, EMAIL);
        browser.close().await;
    })
}

/// In a narrow window nothing is cut, and fields are big enough for a thumb.
fn narrow(stage: Stage) -> Coming {
    Box::pin(async move {
        let (mut prompt, browser) = (stage.prompt(), Browser::open(320, 700).await);
        browser.go(&prompt.shown.recv().await.unwrap()).await;
        browser.until("Sign in").await;
        assert_eq!(browser.value("innerWidth").await, 320);
        let cut = "document.documentElement.scrollWidth > innerWidth || \
            [...document.querySelectorAll('main, main *')].some(part => part.scrollWidth > part.clientWidth + 1 \
            && getComputedStyle(part).display != 'inline' && part.tagName != 'INPUT')";
        assert_eq!(browser.value(cut).await, false);
        let heights = "[...document.querySelectorAll('input:not([type=hidden]), button, .provider')]\
            .map(field => field.getBoundingClientRect().height)";
        let heights = browser.value(heights).await;
        let heights: Vec<f64> = heights.as_array().unwrap().iter().map(|height| height.as_f64().unwrap()).collect();
        assert!(heights.len() == 4 && heights.iter().all(|height| *height >= 40.0), "{heights:?}");
        keep_picture(&browser, "narrow").await;
        no_complaints(&browser).await;
        // The user's way out.
        browser.click(".cancel").await;
        browser.until("The sign-in was cancelled").await;
        keep_picture(&browser, "cancelled").await;
        assert!(prompt.end.await.unwrap().is_err());
        browser.close().await;
    })
}

/// By the provider's button.
fn at_the_provider(stage: Stage) -> Coming {
    Box::pin(async move {
        let (mut prompt, browser) = (stage.prompt(), Browser::open(1280, 800).await);
        browser.go(&prompt.shown.recv().await.unwrap()).await;
        browser.until("Continue with Corporate").await;
        browser.click(".provider").await;
        browser.until("Sign-in").await;
        browser.write("input[name=login]", "ada").await;
        browser.write("input[name=password]", "anything").await;
        browser.click("button[type=submit]").await;
        browser.until("Continue").await;
        browser.click("button[type=submit]").await;
        browser.until("You are signed in").await;
        assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, "ada@corp.example");
        browser.close().await;
    })
}
