//! A connection of a server's: which requests become tunnels, and the windows of those that have one.

use super::driver::Http2;
use super::half_open::Place;
use super::pump::Pump;
use super::request::{Open, Request};
use super::server::{Shared, count};
use super::{ServerSettings, head};
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;
use vestibule_engine::masque::request::{Answer, HttpVersion, Incoming, Rejection};

/// A server's connection, and what its requests are made of.
pub(super) struct Gate<T> {
    connection: Connection<T, Bytes>,
    shared: Arc<Shared>,
    remote: SocketAddr,
    certificates: Arc<[CertificateDer<'static>]>,
    joins: UnboundedSender<Pump>,
    place: Arc<Place>,
    wide: Wide,
}

/// Whether the windows are those of a connection with a tunnel.
#[derive(PartialEq, Eq)]
enum Wide {
    Not,
    Wanted,
    Yes,
}

impl<T> Http2 for Gate<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.widen();
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.requested(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn opened(&mut self) {
        if self.wide == Wide::Not {
            self.wide = Wide::Wanted;
        }
        self.widen();
    }

    fn close(&mut self) {
        self.connection.abrupt_shutdown(Reason::NO_ERROR);
    }
}

impl<T> Gate<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        connection: Connection<T, Bytes>,
        shared: Arc<Shared>,
        remote: SocketAddr,
        certificates: Arc<[CertificateDer<'static>]>,
        joins: UnboundedSender<Pump>,
        place: Arc<Place>,
    ) -> Self {
        Self { connection, shared, remote, certificates, joins, place, wide: Wide::Not }
    }

    /// Opens the windows, for whoever has a tunnel.
    fn widen(&mut self) {
        let ServerSettings { settings, streams, .. } = self.shared.settings;
        // It fails while our first settings are not acknowledged: then the next turn tries again.
        if self.wide == Wide::Wanted && self.connection.set_initial_window_size(settings.window).is_ok() {
            // A tunnel that is not read from must not keep the others from being.
            self.connection.set_target_window_size(settings.window.saturating_mul(streams).min(i32::MAX as u32));
            self.wide = Wide::Yes;
        }
    }

    fn requested(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let judged = Incoming::judge(&head::head(&request), HttpVersion::Http2, &self.shared.templates);
        let incoming = match judged {
            Ok(incoming) => incoming,
            Err(rejection) => return self.reject(rejection, &mut respond),
        };
        let request = Request {
            incoming,
            remote: self.remote,
            certificates: Arc::clone(&self.certificates),
            open: Some(Open {
                respond,
                body: request.into_body(),
                joins: self.joins.clone(),
                place: Arc::clone(&self.place),
                batches: self.shared.settings.settings.batches,
            }),
        };
        // Dropped, it is answered.
        if self.shared.requests.try_send(request).is_err() {
            count(&self.shared.counted.overloaded);
        }
    }

    fn reject(&self, rejection: Rejection, respond: &mut SendResponse<Bytes>) {
        count(&self.shared.counted.rejected);
        match rejection.status(HttpVersion::Http2) {
            // It fails when the client asks no longer.
            Some(status) => drop(respond.send_response(head::response(&Answer::refused(status)), true)),
            None => respond.send_reset(Reason::PROTOCOL_ERROR),
        }
    }
}
