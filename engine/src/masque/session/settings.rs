//! How endpoints and the QUIC connections below are set up.

use super::controller::Congestion;
use crate::masque::request::{Dialect, UriTemplate};
use crate::random::Seed;
use quinn_proto::crypto::rustls::NoInitialCipherSuite;
use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Packets that one acknowledgement is asked for: some six batches. It costs a wake-up at the sender and a system call at
/// the receiver, and all that depends on it here is when lost capsules are sent again.
const ACK_EVERY: u32 = 256;
/// And after so long at the latest.
const MAX_ACK_DELAY: Duration = Duration::from_millis(10);

/// UDP payload on Ethernet: 1500 less IPv4 and UDP.
pub(super) const ETHERNET: u16 = 1472;
/// What of a UDP payload no packet gets, by quinn's own bounds: 29 of QUIC's packet, 9 of the frame, 2 of HTTP's datagram.
pub(super) const OVERHEAD: usize = 40;
/// Room beside a longest packet for an acknowledgement: without it each would travel alone, and end a batch of packets of
/// one length.
pub(super) const BESIDE: usize = 16;
/// How much longer IPv6's header is than IPv4's.
pub(super) const V6_MORE: u16 = 20;

/// A search ends less than such a part of the room between the first packets and the ceiling below what the path carries;
/// and on a path that carries all, it takes three round trips. It is often begun anew: see [`NARROW_FOR`].
const SEARCH_PARTS: u16 = 8;

/// A path that seems to have become narrow is searched again at once: losses in a row of large packets look like one,
/// and a full queue or a bad radio makes such rows, too.
const NARROW_FOR: Duration = Duration::ZERO;
/// And one that was found narrow is tried again so often (RFC 8899's PMTU_RAISE_TIMER, which it would have at 600 s:
/// where much is lost, three lost probes say less of a path than they should). A search that changes nothing is nine lost
/// packets at most, 20 kb/s.
const RAISE_EVERY: Duration = Duration::from_secs(5);

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// For all its connections.
    pub settings: Settings,
    /// TLS for connections that come in ([`super::tls::server`]); `None`: none may.
    pub server: Option<Arc<rustls::ServerConfig>>,
    /// Paths that are served ([`UriTemplate::check_for_gateway`]).
    pub templates: Vec<UriTemplate>,
    /// For connection IDs and tokens.
    pub seed: Seed,
}

/// A connection that cannot even be tried, or an endpoint that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings contradict each other.
    #[error("the settings contradict each other")]
    Settings(#[source] InvalidSettings),
    /// TLS lacks what QUIC begins with.
    #[error("the TLS settings lack TLS 1.3 with AES-128-GCM, which QUIC begins with")]
    Tls(#[source] NoInitialCipherSuite),
    /// QUIC refused.
    #[error("the connection cannot be tried")]
    Quic(#[source] quinn_proto::ConnectError),
}

/// What every connection of an endpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// UDP payload of the first packets, and what a path is taken to carry until it proves otherwise. 1350: IPv6's 1280
    /// inside with any connection ID, on any path that carries 1378-byte IPv4 packets.
    pub initial_mtu: u16,
    /// Never less than this: client Initials are padded to it (RFC 9484 section 7.2). 1332: 1280 inside with a 20-byte
    /// connection ID, by quinn's own bound of the overhead.
    pub min_mtu: u16,
    /// Path MTU discovery goes no higher over IPv4, and over IPv6 no higher than the same link's room there, which is
    /// 20 bytes less. 1472: Ethernet's 1500 less IPv4 and UDP.
    pub max_mtu: u16,
    /// Silence after which the connection is lost.
    pub idle_timeout: Duration,
    /// Pings when nothing is sent, so that NATs remember.
    pub keep_alive: Option<Duration>,
    /// Bytes of packets that wait to be sent; then [`super::SendError::Full`]. Short, for DATAGRAM frames go before
    /// streams, and capsules must get through.
    pub send_queue: usize,
    /// Bytes of packets that were received and not taken; then the oldest are dropped.
    pub receive_queue: usize,
    /// The congestion controller.
    pub congestion: Congestion,
    /// Reserved settings, frames and capsules are sent, so that peers stay used to them.
    pub grease: bool,
    /// Packets from this address to itself are talk between the two ends: they pass whatever was assigned, advertised
    /// and asked for.
    pub talk: Option<IpAddr>,
    /// Whose rules our requests and their tunnels keep to.
    pub dialect: Dialect,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial_mtu: 1350,
            min_mtu: 1332,
            max_mtu: ETHERNET,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            send_queue: 1 << 20,
            receive_queue: 4 << 20,
            congestion: Congestion::default(),
            grease: true,
            talk: None,
            dialect: Dialect::default(),
        }
    }
}

/// Settings no connection can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// Not 1200 <= min <= initial <= max.
    #[error("MTUs must ascend from 1200: min {min}, initial {initial}, max {max}")]
    Mtu {
        /// `min_mtu`.
        min: u16,
        /// `initial_mtu`.
        initial: u16,
        /// `max_mtu`.
        max: u16,
    },
    /// An idle timeout beyond what QUIC can say.
    #[error("an idle timeout of {} s is too long", .0.as_secs())]
    IdleTimeout(Duration),
}

impl Settings {
    /// The longest UDP payload that is tried on a path of a family.
    pub(super) fn ceiling(&self, v6: bool) -> u16 {
        if v6 { self.max_mtu.saturating_sub(V6_MORE).max(self.initial_mtu) } else { self.max_mtu }
    }

    /// For paths over IPv4 and over IPv6.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub(super) fn transports(&self) -> Result<[Arc<TransportConfig>; 2], InvalidSettings> {
        Ok([self.transport(false)?, self.transport(true)?])
    }

    /// For paths of a family.
    ///
    /// # Errors
    /// The settings contradict each other.
    fn transport(&self, v6: bool) -> Result<Arc<TransportConfig>, InvalidSettings> {
        let Self { initial_mtu: initial, min_mtu: min, max_mtu: max, .. } = *self;
        if min < 1200 || initial < min || max < initial {
            return Err(InvalidSettings::Mtu { min, initial, max });
        }
        let idle =
            IdleTimeout::try_from(self.idle_timeout).map_err(|_| InvalidSettings::IdleTimeout(self.idle_timeout))?;
        let mut discovery = MtuDiscoveryConfig::default();
        let ceiling = self.ceiling(v6);
        // By bisection, but the ceiling is tried as soon as a half would be less than this.
        let step = ceiling.saturating_sub(initial) / SEARCH_PARTS + 1;
        discovery.upper_bound(ceiling).minimum_change(step).black_hole_cooldown(NARROW_FOR).interval(RAISE_EVERY);
        let mut transport = TransportConfig::default();
        transport
            .initial_mtu(initial)
            .min_mtu(min)
            .mtu_discovery_config(Some(discovery))
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(self.keep_alive)
            .datagram_send_buffer_size(self.send_queue)
            .datagram_receive_buffer_size(Some(self.receive_queue))
            .congestion_controller_factory(self.congestion.factory())
            // Requests, and three streams of HTTP/3 with room for reserved ones. Capsules are small: so are the windows.
            .max_concurrent_bidi_streams(VarInt::from_u32(8))
            .max_concurrent_uni_streams(VarInt::from_u32(8))
            .stream_receive_window(VarInt::from_u32(256 << 10))
            .receive_window(VarInt::from_u32(1 << 20))
            .send_window(1 << 20);
        if self.congestion == Congestion::Off {
            // No window waits for acknowledgements: they are asked for rarely, where the peer knows how to be asked.
            let mut rarely = AckFrequencyConfig::default();
            rarely
                .ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY))
                .max_ack_delay(Some(MAX_ACK_DELAY))
                .reordering_threshold(VarInt::from_u32(0));
            transport.ack_frequency_config(Some(rarely));
        }
        Ok(Arc::new(transport))
    }
}
