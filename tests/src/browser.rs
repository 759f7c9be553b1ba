//! Chromium without a screen, driven by WebDriver (W3C) over HTTP.

use crate::netns::Namespace;
use crate::process::Process;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The driver's port on 127.0.0.1.
const PORT: u16 = 4444;
/// Longest wait for something to come onto the page.
const PATIENCE: Duration = Duration::from_secs(15);

/// A key that is no letter.
pub const TAB: char = '\u{e004}';
/// Enter.
pub const ENTER: char = '\u{e007}';

/// `chromedriver` in a namespace. Whatever it starts is in a PID namespace that ends with it, also when a test fails or is
/// killed with a window open.
#[derive(Debug)]
pub struct Driver {
    _process: Process,
}

impl Driver {
    /// Starts it, with its files below `room`.
    ///
    /// # Panics
    /// When it is not ready within 20 s.
    #[must_use]
    pub fn start(namespace: &Namespace, room: &Path) -> Self {
        let mut command = namespace.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "chromedriver"]);
        command.arg(format!("--port={PORT}")).env("HOME", room).env("TMPDIR", room);
        let log = room.join("chromedriver.log");
        let mut process = namespace.start(command, log.clone());
        let ready = || std::fs::read_to_string(&log).ok().filter(|said| said.contains("started successfully"));
        process.wait_for("chromedriver", Duration::from_secs(20), ready);
        Self { _process: process }
    }
}

/// One window.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
}

impl Browser {
    /// Opens a window whose page has this size, in a thread of the driver's namespace. The gateway's self-made certificate
    /// is taken.
    ///
    /// # Panics
    /// When Chromium does not start.
    pub async fn open(width: u32, height: u32) -> Self {
        vestibule_control::crypto::install_provider();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        let client = client.unwrap_or_else(|error| panic!("{error}"));
        // The tests are root, for whom Chromium has no sandbox of its own.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = call(&client, Method::POST, "session", Some(wanted)).await;
        let session = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        let browser = Self { client, session };
        // A window itself is never narrower than 500, a telephone is.
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let size = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        let _ = browser.call(Method::POST, "goog/cdp/execute", Some(size)).await;
        browser
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        call(&self.client, method, &format!("session/{}/{path}", self.session), body).await
    }

    /// Goes to an address.
    pub async fn go(&self, url: &str) {
        let _ = self.call(Method::POST, "url", Some(json!({ "url": url }))).await;
    }

    /// The value of an expression on the page.
    pub async fn value(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression}"), "args": [] });
        self.call(Method::POST, "execute/sync", Some(script)).await
    }

    /// The page's text.
    pub async fn text(&self) -> String {
        self.value("document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page's text has these words.
    ///
    /// # Panics
    /// When it does not come to, with what is there instead.
    pub async fn until(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text().await;
            if text.contains(words) {
                return text;
            }
            assert!(Instant::now() < deadline, "no `{words}` at {}:\n{text}", self.value("location.href").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn element(&self, selector: &str) -> String {
        let found = json!({ "using": "css selector", "value": selector });
        let found = self.call(Method::POST, "element", Some(found)).await;
        let id = found.as_object().and_then(|found| found.values().next()?.as_str());
        id.unwrap_or_else(|| panic!("no element `{selector}`: {found}")).to_owned()
    }

    /// Types into an element.
    pub async fn write(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        let _ = self.call(Method::POST, &format!("element/{id}/value"), Some(json!({ "text": text }))).await;
    }

    /// Clicks an element.
    pub async fn click(&self, selector: &str) {
        let id = self.element(selector).await;
        let _ = self.call(Method::POST, &format!("element/{id}/click"), Some(json!({}))).await;
    }

    /// Presses keys, one after another, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        let _ = self.call(Method::POST, "actions", Some(actions)).await;
    }

    /// What the console has of errors and warnings: scripts, blocked styles, failed requests.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.call(Method::POST, "se/log", Some(json!({ "type": "browser" }))).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| Some(entry["message"].as_str()?.to_owned())).collect()
    }

    /// Keeps a picture of the window (PNG, in base64 as WebDriver gives it).
    pub async fn picture(&self) -> String {
        self.call(Method::GET, "screenshot", None).await.as_str().unwrap_or_default().to_owned()
    }

    /// Closes the window.
    pub async fn close(self) {
        let _ = call(&self.client, Method::DELETE, &format!("session/{}", self.session), None).await;
    }
}

async fn call(client: &Client, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut request = client.request(method, format!("http://127.0.0.1:{PORT}/{path}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let told = |error: reqwest::Error| -> Value { panic!("{path}: {}", vestibule_control::causes::chain(&error)) };
    let answer = match request.send().await {
        Ok(response) => response.json::<Value>().await.unwrap_or_else(told),
        Err(error) => told(error),
    };
    let value = answer["value"].clone();
    assert!(value.get("error").is_none(), "{path}: {value}");
    value
}
