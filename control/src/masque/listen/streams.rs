//! Tunnels over HTTP/2, at the TCP port of the same number.

use super::names::Names;
use crate::masque::host::{HostError, step};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::oneshot;
use vestibule_engine::core::unresolved;
use vestibule_engine::masque::request::{Answer, Target, UriTemplate};
use vestibule_platform::carrier::{Request, Server, ServerSettings};

/// Binds it, before anything else of the host is changed. `at`: where, and then where it is.
pub(super) fn bind(at: &mut SocketAddr) -> Result<TcpListener, HostError> {
    let refused = |cause| HostError::Tcp { address: *at, cause };
    let listener = TcpListener::bind(*at).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    let listener = listener.map_err(refused)?;
    *at = listener.local_addr().map_err(step("listen"))?;
    Ok(listener)
}

/// Takes connections and hands their requests to the engine, until the runtime ends.
pub(super) fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    templates: Vec<UriTemplate>,
    names: &Names,
) -> Result<(), HostError> {
    let listener = tokio::net::TcpListener::from_std(listener).map_err(step("listen"))?;
    let (server, mut requests) =
        Server::new(tls, templates, ServerSettings::default()).map_err(step("start a thread"))?;
    tokio::spawn(async move {
        if let Err(error) = server.serve(&listener).await {
            tracing::error!(%error, "no tunnels over HTTP/2 any more");
        }
    });
    let names = names.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            match request.incoming.target.clone() {
                Target::Name(name) => drop(tokio::spawn(resolved(request, name, names.clone()))),
                // An error: the worker has stopped, and the request is answered 503.
                _ => drop(names.worker.request(request)),
            }
        }
    });
    Ok(())
}

/// Hands over a request whose target is a name, once that is resolved; nothing is looked up for strangers.
async fn resolved(mut request: Request, name: String, names: Names) {
    let (answer, answered) = oneshot::channel::<Result<(), Answer>>();
    let (incoming, certificates) = (request.incoming.clone(), Arc::clone(&request.certificates));
    let asked = names.worker.post(move |engine, _| {
        // Nobody waits when the client has gone.
        let _ = answer.send(engine.admits(&incoming, &certificates));
    });
    match (asked, answered.await) {
        (Ok(()), Ok(Ok(()))) => {}
        (Ok(()), Ok(Err(refusal))) => return request.refuse(&refusal),
        _ => return,
    }
    let addresses = names.addresses(&name).await;
    if addresses.is_empty() {
        return request.refuse(&unresolved());
    }
    request.incoming.resolved = Some(addresses);
    let _ = names.worker.request(request);
}
