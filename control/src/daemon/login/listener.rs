//! The loopback listener that the browser comes back to.

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;
use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// How long the last page may take to leave.
const LINGER: Duration = Duration::from_secs(2);
/// Returns that may wait at a time.
const BACKLOG: usize = 4;

/// A browser's return; it waits for a page.
pub(super) struct Callback {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    pub(super) error: Option<String>,
    page: oneshot::Sender<String>,
}

impl Callback {
    /// Shows `page`.
    pub(super) fn answer(self, page: String) {
        // An error means that the browser has gone.
        let _ = self.page.send(page);
    }
}

#[derive(Clone)]
struct Shared {
    callbacks: mpsc::Sender<Callback>,
    login: Arc<Mutex<String>>,
}

/// `http://127.0.0.1:PORT` with `/callback`, and `/login` that leads to the current attempt's address.
pub(super) struct Listener {
    port: u16,
    callbacks: mpsc::Receiver<Callback>,
    login: Arc<Mutex<String>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

impl Listener {
    pub(super) async fn open() -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        let (sender, callbacks) = mpsc::channel(BACKLOG);
        let login = Arc::new(Mutex::new(String::new()));
        let router = Router::new()
            .route("/callback", get(callback))
            .route("/login", get(lead))
            .with_state(Shared { callbacks: sender, login: login.clone() });
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            axum::serve(socket, router).with_graceful_shutdown(stopped).await
        });
        Ok(Self { port, callbacks, login, stop: Some(stop), server })
    }

    pub(super) fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }

    /// Makes `/login` lead to `url`.
    pub(super) fn offer(&self, url: &str) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = url.to_owned();
    }

    pub(super) async fn next(&mut self) -> Option<Callback> {
        self.callbacks.recv().await
    }

    /// Lets pages under way leave, then closes the port.
    pub(super) async fn close(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.callbacks.close();
        if tokio::time::timeout(LINGER, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Deserialize)]
struct Return {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

async fn callback(State(shared): State<Shared>, Query(found): Query<Return>) -> Response {
    let (page, answered) = oneshot::channel();
    let error = found.error_description.or(found.error);
    let callback = Callback { code: found.code, state: found.state, error, page };
    let gone = || (StatusCode::GONE, "This sign-in is over.").into_response();
    if shared.callbacks.send(callback).await.is_err() {
        return gone();
    }
    match answered.await {
        Ok(page) => show(page),
        Err(_) => gone(),
    }
}

async fn lead(State(shared): State<Shared>) -> Redirect {
    Redirect::to(&shared.login.lock().unwrap_or_else(PoisonError::into_inner))
}

fn show(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONNECTION, "close"),
    ];
    (headers, page).into_response()
}
