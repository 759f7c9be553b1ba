//! Requests and answers of one connection.

use super::TunnelError;
use super::connection::Connection;
use super::event::{Event, TunnelId};
use crate::masque::ip::{Role, Scope};
use crate::masque::request::{Accepted, Answer, Head, HttpVersion, Incoming, Outgoing, Rejection, ResponseError};
use crate::masque::tunnel::{Phase, Tunnel};
use h3wire::{FieldRef, H3Code, HeaderBlockId, HeadersKind, StreamId as H3Stream};
use quinn_proto::Dir;
use std::collections::VecDeque;
use std::time::Instant;

impl Connection {
    /// Asks for a tunnel as soon as the peer's settings are known.
    pub(super) fn request(
        &mut self,
        outgoing: Outgoing,
        scope: Scope,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> TunnelId {
        let stream = self.next_request;
        self.next_request += 4;
        self.requests.push_back((stream, outgoing, scope));
        self.send_requests(now, events);
        self.id(stream)
    }

    pub(super) fn send_requests(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let Some(settings) = self.h3.peer_settings() else { return };
        let offered = settings.enable_connect_protocol;
        while let Some((stream, outgoing, scope)) = self.requests.pop_front() {
            let id = self.id(stream);
            if !offered {
                events.push_back(Event::Ended(id, Some(TunnelError::NoExtendedConnect)));
                continue;
            }
            if self.quic.streams().open(Dir::Bi).is_none() {
                self.requests.push_front((stream, outgoing, scope));
                return;
            }
            let fields = outgoing.fields(HttpVersion::Http3);
            let refs: Vec<_> = fields.iter().map(|f| FieldRef::new(f.name.as_bytes(), f.value.as_bytes())).collect();
            if self.h3.send_headers(H3Stream(stream), &refs, false).is_err() {
                events.push_back(Event::Ended(id, Some(TunnelError::Connection)));
                continue;
            }
            let mut tunnel = Tunnel::new(Role::Client, self.talk, self.grease.then_some(stream / 4), now);
            tunnel.link.scope = scope;
            self.tunnels.insert(stream, Box::new(tunnel));
        }
    }

    pub(super) fn head(
        &mut self,
        stream: H3Stream,
        block: HeaderBlockId,
        kind: HeadersKind,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        let Ok(block) = self.h3.headers(block) else { return };
        let pseudo = block.pseudo();
        let fields: Vec<_> = block.iter().map(|field| (field.name, field.value)).collect();
        match (self.role, kind) {
            (Role::Gateway, HeadersKind::Request) => {
                let head = Head {
                    method: pseudo.method,
                    protocol: pseudo.protocol,
                    scheme: pseudo.scheme,
                    authority: pseudo.authority,
                    path: pseudo.path,
                    fields,
                };
                let judged = Incoming::judge(&head, HttpVersion::Http3, &self.templates);
                self.requested(stream, judged, now, events);
            }
            (Role::Client, HeadersKind::Response) => {
                let judged = Accepted::judge(HttpVersion::Http3, pseudo.status.unwrap_or(0), &fields);
                self.answered(stream, judged, events);
            }
            // Interim answers change nothing, and inside a tunnel there are no trailers.
            _ => {}
        }
    }

    fn requested(
        &mut self,
        stream: H3Stream,
        judged: Result<Incoming, Rejection>,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        match judged {
            Ok(incoming) => {
                let id = self.id(stream.0);
                let tunnel = Tunnel::new(Role::Gateway, self.talk, self.grease.then_some(stream.0 / 4), now);
                self.tunnels.insert(stream.0, Box::new(tunnel));
                events.push_back(Event::Requested(id, incoming));
            }
            Err(rejection) => match rejection.status(HttpVersion::Http3) {
                Some(status) => {
                    self.drops.refused_requests += 1;
                    self.answer(stream.0, &Answer::refused(status));
                }
                None => drop(self.h3.abort(stream, H3Code::MESSAGE_ERROR)),
            },
        }
    }

    fn answered(&mut self, stream: H3Stream, judged: Result<Accepted, ResponseError>, events: &mut VecDeque<Event>) {
        let id = self.id(stream.0);
        let Some(tunnel) = self.tunnels.get_mut(&stream.0) else { return };
        match judged {
            Ok(_) => {
                let scope = tunnel.link.scope.clone();
                tunnel.open(scope);
                events.push_back(Event::Opened(id));
            }
            Err(error) => self.abort(stream.0, TunnelError::Response(error), events),
        }
    }

    /// Answers a request that gets no tunnel.
    fn answer(&mut self, stream: u64, answer: &Answer) {
        let status = answer.status.to_string();
        let mut fields = vec![FieldRef::new(b":status", status.as_bytes())];
        fields.extend(answer.fields.iter().map(|f| FieldRef::new(f.name.as_bytes(), f.value.as_bytes())));
        // It fails when the stream is gone.
        let _ = self.h3.send_headers(H3Stream(stream), &fields, !(200..300).contains(&answer.status));
    }

    pub(super) fn accept(&mut self, stream: u64, scope: Scope) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(&stream).filter(|tunnel| tunnel.phase == Phase::Requested) else {
            return false;
        };
        tunnel.open(scope);
        self.answer(stream, &Answer::open(HttpVersion::Http3));
        true
    }

    pub(super) fn refuse(&mut self, stream: u64, answer: &Answer) -> bool {
        let waiting = self.tunnels.get(&stream).is_some_and(|tunnel| tunnel.phase == Phase::Requested);
        if waiting {
            self.tunnels.remove(&stream);
            self.answer(stream, answer);
        }
        waiting
    }
}
