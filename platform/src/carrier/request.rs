//! What a client asks for, and the answer.

use super::half_open::Place;
use super::mailbox::{InboxAddress, Outbox};
use super::pump::Pump;
use super::{CarrierError, head};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use vestibule_engine::masque::request::{Answer, HttpVersion, Incoming};

/// A client's request for a tunnel: well-formed, not yet authenticated. Dropped, it is answered 503.
pub struct Request {
    /// What it asks for, and its credentials.
    pub incoming: Incoming,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// What it proved its identity by in TLS, its own certificate first; often none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    pub(super) open: Option<Open>,
}

/// What an answer is made with.
pub(super) struct Open {
    pub(super) respond: SendResponse<Bytes>,
    pub(super) body: RecvStream,
    pub(super) joins: UnboundedSender<Pump>,
    pub(super) place: Arc<Place>,
    pub(super) batches: usize,
}

impl Request {
    /// Opens the tunnel. What the stream brings goes to `inbox` under `key`.
    ///
    /// # Errors
    /// The client asks no longer.
    pub fn accept(mut self, inbox: &InboxAddress, key: u64) -> Result<Outbox, CarrierError> {
        let Open { mut respond, body, joins, place, batches } = self.open.take().ok_or(CarrierError::Closed)?;
        let answer = head::response(&Answer::open(HttpVersion::Http2));
        let send = respond.send_response(answer, false).map_err(CarrierError::of_stream)?;
        place.settle();
        let (outbox, orders) = Outbox::new(batches);
        let pump = Pump::new(key, inbox.clone(), orders, send, body);
        joins.send(pump).map_err(|_| CarrierError::Closed)?;
        Ok(outbox)
    }

    /// Refuses it.
    pub fn refuse(mut self, answer: &Answer) {
        self.answer(answer);
    }

    fn answer(&mut self, answer: &Answer) {
        if let Some(mut open) = self.open.take() {
            // It fails when the client asks no longer.
            let _ = open.respond.send_response(head::response(answer), true);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.answer(&Answer::refused(503));
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}
