//! Whether trying again would end the same.

use vestibule_engine::core::{StreamLoss, TunnelEnd};
use vestibule_engine::generation::HttpChoice;
use vestibule_engine::masque::request::ResponseError;
use vestibule_engine::masque::session::TunnelError;

/// What may help.
pub(super) type Advice = Option<&'static str>;

const TLS: Advice = Some("TLS failed: see --ca, --pin, --certificate and --key");
const NO_PROXY: Advice = Some("it is no proxy for IP");

/// Judges how tunnels end. One that was open may open again whatever became of it, save that the peer says no.
#[derive(Debug)]
pub(super) struct Verdict {
    opened: bool,
    /// Nothing but HTTP/2 is left to be tried.
    http2_alone: bool,
}

impl Verdict {
    pub(super) fn new(choice: HttpChoice) -> Self {
        Self { opened: false, http2_alone: choice == HttpChoice::Http2Only }
    }

    pub(super) fn opened(&mut self) {
        self.opened = true;
    }

    /// `None`: it may be tried again.
    pub(super) fn on(&mut self, end: &TunnelEnd) -> Option<Advice> {
        match end {
            TunnelEnd::Tunnel(TunnelError::Response(ResponseError::Status { status, .. })) => match status {
                401 | 407 => Some(Some("it does not know these credentials: see --bearer-file and --basic-file")),
                403 => Some(Some("it does not let this client in: see --certificate, --bearer-file and --basic-file")),
                404 => Some(Some("it serves no tunnels at this path: see the URL")),
                501 => Some(Some("it does not serve such a target or protocol")),
                408 | 425 | 429 | 500.. => None,
                _ => Some(None),
            },
            TunnelEnd::Tunnel(TunnelError::Response(_)) => Some(None),
            TunnelEnd::Tunnel(TunnelError::NoExtendedConnect) => Some(NO_PROXY),
            TunnelEnd::Connection(error) if error.is_tls() => (!self.opened).then_some(TLS),
            // Where UDP gets through, whoever answers by TCP may be somebody else.
            TunnelEnd::Stream(StreamLoss::Tls(_)) => (!self.opened && self.http2_alone).then_some(TLS),
            TunnelEnd::Stream(StreamLoss::NoExtendedConnect) => (!self.opened && self.http2_alone).then_some(NO_PROXY),
            TunnelEnd::Connection(_) | TunnelEnd::Silent => {
                self.http2_alone = true;
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_refusal_ends_it_and_a_loss_does_not() {
        let status = |status| TunnelEnd::Tunnel(TunnelError::Response(ResponseError::Status { status, reason: None }));
        let mut verdict = Verdict::new(HttpChoice::default());
        for code in [408, 429, 500, 502, 503] {
            assert_eq!(verdict.on(&status(code)), None, "{code}");
        }
        assert_eq!(verdict.on(&TunnelEnd::InOrder), None);
        assert!(verdict.on(&TunnelEnd::Tunnel(TunnelError::NoExtendedConnect)).is_some());
        verdict.opened();
        for code in [301, 400, 401, 403, 404, 501] {
            assert!(verdict.on(&status(code)).is_some(), "{code}");
        }
    }

    #[test]
    fn a_stranger_at_the_tcp_port_ends_nothing_while_udp_may_be_answered() {
        let stranger = TunnelEnd::Stream(StreamLoss::Tls("unknown issuer".to_owned()));
        assert_eq!(Verdict::new(HttpChoice::Http2Only).on(&stranger), Some(TLS));
        let mut verdict = Verdict::new(HttpChoice::Http3First);
        assert_eq!(verdict.on(&stranger), None);
        assert_eq!(verdict.on(&TunnelEnd::Silent), None);
        assert_eq!(verdict.on(&stranger), Some(TLS));
        assert_eq!(verdict.on(&TunnelEnd::Stream(StreamLoss::gone())), None);
    }
}
