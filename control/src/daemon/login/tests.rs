//! Prompts that end without a registration, and what does not end them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    api::device::DeviceFacts,
    daemon::{device_key::DeviceKey, twin::TwinGateway},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use vestibule_platform::socket::memory::Hub;

struct Prompt {
    gateway: Arc<TwinGateway>,
    urls: mpsc::UnboundedReceiver<String>,
    dismiss: watch::Sender<bool>,
    end: JoinHandle<Result<Enrolled, LoginError>>,
}

impl Prompt {
    fn new(patience: Duration) -> Self {
        let gateway = TwinGateway::start(&Hub::new());
        let device = Arc::new(Device { key: DeviceKey::generate().unwrap().0, facts: DeviceFacts::default() });
        let login = Login { gateway: gateway.clone(), device, organization: "mycompany".into(), patience };
        let (dismiss, dismissed) = watch::channel(false);
        let (shown, urls) = mpsc::unbounded_channel();
        let end = tokio::spawn(login.run(move |url: &str| drop(shown.send(url.to_owned())), dismissed));
        Self { gateway, urls, dismiss, end }
    }

    /// Address of the listener, and the state of the attempt that is offered now.
    async fn offer(&mut self) -> (String, String) {
        let url = self.urls.recv().await.unwrap();
        let mut parts = url.split('|');
        let redirect = parts.nth(1).unwrap().trim_start_matches("http://").trim_end_matches("/callback");
        (redirect.to_owned(), parts.next().unwrap().to_owned())
    }
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes() {
    let mut prompt = Prompt::new(Duration::from_millis(200));
    let (address, _) = prompt.offer().await;
    assert!(matches!(prompt.end.await.unwrap(), Err(LoginError::TimedOut(_))));
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_prompt_ends_at_once() {
    let mut prompt = Prompt::new(PATIENCE);
    prompt.offer().await;
    prompt.dismiss.send(true).unwrap();
    assert!(matches!(prompt.end.await.unwrap(), Err(LoginError::Dismissed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_return_is_turned_away_and_the_true_one_still_counts() {
    let mut prompt = Prompt::new(PATIENCE);
    let (address, state) = prompt.offer().await;
    let code = prompt.gateway.login("alice@example.com");
    for forged in
        [format!("/callback?code={code}"), format!("/callback?code={code}&state=guess"), "/callback?error=x".into()]
    {
        let page = get(&address, &forged).await;
        assert!(page.contains("Not the sign-in that was started here"), "{page}");
    }
    assert!(
        get(&address, "/login").await.contains(&format!("location: twin:mycompany|http://{address}/callback|{state}|"))
    );
    get(&address, &format!("/callback?code={code}&state={state}")).await;
    assert_eq!(prompt.end.await.unwrap().unwrap().registration.email, "alice@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_with_fresh_secrets_each_and_come_to_an_end() {
    let mut prompt = Prompt::new(PATIENCE);
    let mut states = std::collections::BTreeSet::new();
    for attempt in 1..=MAX_ATTEMPTS {
        let (address, state) = prompt.offer().await;
        let page = get(&address, &format!("/callback?code=wrong&state={state}")).await;
        assert!(states.insert(state));
        assert_eq!(page.contains("Try again"), attempt < MAX_ATTEMPTS, "{page}");
    }
    assert!(matches!(prompt.end.await.unwrap(), Err(LoginError::TooManyAttempts(_))));
}
