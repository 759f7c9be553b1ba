//! What a device tries so that there is a tunnel.

use super::MasqueTunnel;
use crate::generation::attempts::{Carrier, Http};
use crate::generation::candidates::Silence;
use crate::generation::masque::{MasqueEnd, MasqueGateway};
use std::net::SocketAddr;
use std::time::Instant;

impl MasqueTunnel {
    /// What is to be tried now, and where: a device's alone.
    pub(crate) fn wants(&self, now: Instant) -> Option<(Http, &MasqueGateway, SocketAddr)> {
        match &self.end {
            MasqueEnd::Device(gateway) => {
                Some((self.attempts.due(now)?, gateway, gateway.place(self.candidates.current())))
            }
            _ => None,
        }
    }

    /// Notes that a version is being tried; `None`: it could not even begin.
    pub(crate) fn begun(&mut self, http: Http, carrier: Option<Carrier>, now: Instant) {
        self.attempts.begun(http, carrier, now);
        if http == Http::Three && carrier.is_some() {
            self.candidates.begun(now);
        }
    }

    /// Looks whether the attempt over HTTP/3 has been answered by anything. What is given up is handed back, and whether
    /// nobody has answered anywhere.
    pub(crate) fn unanswered(
        &mut self,
        heard: impl FnOnce(Carrier) -> Option<Instant>,
        now: Instant,
    ) -> Option<(Carrier, bool)> {
        let tried = self.attempts.trying().find(|carrier| carrier.http() == Http::Three);
        let Some(carrier) = tried else {
            self.candidates.left();
            return None;
        };
        match self.candidates.look(heard(carrier), now) {
            Silence::Bearable => None,
            Silence::Next => {
                self.attempts.again(Http::Three, now);
                Some((carrier, false))
            }
            Silence::Over => {
                self.attempts.failed(Http::Three, self.path.map(|path| path.carrier().http()), now);
                Some((carrier, self.path.is_none()))
            }
        }
    }

    /// The gateway has closed what was idle, and nothing is to be made anew before there is a packet.
    pub(crate) fn sleep(&mut self) {
        self.asleep = self.path.is_none();
        if self.asleep {
            self.attempts.rest();
        }
    }

    /// There is a packet. True: a tunnel is to be made now.
    pub(crate) fn wake(&mut self, now: Instant) -> bool {
        let woken = std::mem::take(&mut self.asleep);
        if woken {
            self.attempts.wanted(now);
        }
        woken
    }
}
