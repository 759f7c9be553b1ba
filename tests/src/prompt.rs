//! The daemon's own sign-in prompt, without the daemon: what shows an address and waits for the browser.

use crate::gateway::Gateway;
use crate::netns::Namespace;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vestibule_control::api::device::DeviceFacts;
use vestibule_control::api::pin::Pin;
use vestibule_control::daemon::device_key::DeviceKey;
use vestibule_control::daemon::enrol::{Device, Enrolled};
use vestibule_control::daemon::login::{Login, LoginError, PATIENCE};
use vestibule_control::daemon::remote::HttpsGateway;

/// A scenario under way.
pub type Coming = Pinned<Box<dyn Future<Output = ()>>>;

/// A user's machine.
#[derive(Clone, Debug)]
pub struct Stage {
    url: String,
    /// The gateway's certificate.
    pub pin: Pin,
}

/// A prompt.
#[derive(Debug)]
pub struct Prompt {
    /// The addresses that it shows.
    pub shown: mpsc::UnboundedReceiver<String>,
    /// How it ends.
    pub end: JoinHandle<Result<Enrolled, LoginError>>,
    _dismiss: watch::Sender<bool>,
}

impl Stage {
    /// A machine that knows this gateway.
    ///
    /// # Panics
    /// When the gateway's facts do not read.
    #[must_use]
    pub fn of(gateway: &Gateway) -> Self {
        let pin = gateway.fact("certificate_sha256").parse().unwrap_or_else(|error| panic!("{error}"));
        Self { url: gateway.fact("url").to_owned(), pin }
    }

    /// Runs a scenario to its end on a thread in a namespace.
    ///
    /// # Panics
    /// When the scenario does.
    pub fn run(&self, namespace: &Namespace, scenario: impl FnOnce(Self) -> Coming + Send + 'static) {
        let stage = self.clone();
        let walked = namespace.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap_or_else(|error| panic!("{error}")).block_on(scenario(stage));
        });
        assert!(walked.join().is_ok(), "a scenario failed");
    }

    /// Begins a prompt of a new device.
    ///
    /// # Panics
    /// Without TLS or random bytes.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        let gateway = HttpsGateway::new(&self.url, self.pin).unwrap_or_else(|error| panic!("{error}"));
        let key = DeviceKey::generate().unwrap_or_else(|error| panic!("{error}")).0;
        let device = Arc::new(Device { key, facts: DeviceFacts::default() });
        let login = Login { gateway: Arc::new(gateway), device, organization: "mycompany".into(), patience: PATIENCE };
        let (dismiss, dismissed) = watch::channel(false);
        let (show, shown) = mpsc::unbounded_channel();
        let end = tokio::spawn(login.run(move |url: &str| drop(show.send(url.to_owned())), dismissed));
        Prompt { shown, end, _dismiss: dismiss }
    }
}
