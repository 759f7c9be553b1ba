//! The engine measures itself. One thread writes, any thread reads.

use super::DropReason;
use crate::generation::GenerationId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A counter with one writer: no locked instruction on the packet path.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// Counters of one generation. Bytes are inner bytes where nothing else is said.
#[derive(Debug)]
pub struct GenerationCounters {
    /// Which one.
    pub id: GenerationId,
    /// Whose traffic it carries.
    pub identity: Arc<str>,
    /// Packets sealed.
    pub sealed: Counter,
    /// Bytes sealed.
    pub sealed_bytes: Counter,
    /// Packets opened.
    pub opened: Counter,
    /// Bytes opened.
    pub opened_bytes: Counter,
    /// Bytes of the datagrams sent, handshakes and overhead included: what `wg` shows.
    pub tx_bytes: Counter,
    /// The same of authentic datagrams received.
    pub rx_bytes: Counter,
}

/// Counters of verdicts, drop reasons, stages and generations, readable while the engine runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames (super-packets count once) read from the adapter.
    pub frames: Counter,
    /// Inner packets sealed.
    pub sealed: Counter,
    /// Datagrams received.
    pub datagrams: Counter,
    /// Inner packets opened.
    pub opened: Counter,
    /// Inner packets handed to the adapter.
    pub delivered: Counter,
    /// Bytes of packets that were copied before they were sealed: headers written anew with the start of their payload,
    /// small packets that were padded, and over MASQUE all packets twice. And bytes of QUIC packets that were copied
    /// before they were opened, because their memory was shared with others.
    pub copied: Counter,
    /// Flows allowed when first seen or judged again.
    pub flows_allowed: Counter,
    /// Flows denied when first seen or judged again.
    pub flows_denied: Counter,
    /// Live flows closed because a new identity or policy denies them.
    pub flows_closed: Counter,
    /// Deny answers sent (TCP RST, ICMP).
    pub answers: Counter,
    /// Inner packets that were fragmented because the tunnel's path is narrower than they are long.
    pub fragmented: Counter,
    /// Handshake messages sent.
    pub handshakes_sent: Counter,
    /// Handshakes completed.
    pub handshakes: Counter,
    /// Generations committed.
    pub commits: Counter,
    /// Generations retired.
    pub retired: Counter,
    /// Times that packets of a new generation were held back for the end of the old one, and it did not come in time.
    pub holds_expired: Counter,
    /// Markers, acknowledgements and ends sent.
    pub control_sent: Counter,
    /// QUIC connections that failed before they carried anything: TLS, versions, transport parameters.
    pub connections_failed: Counter,
    /// Clients' connections that were closed because there was no tunnel in them.
    pub connections_unused: Counter,
    /// Requests for tunnels that were refused: nobody's key, another target than we serve.
    pub tunnels_refused: Counter,
    /// Tunnels and connections closed because the peer broke the rules of QUIC, HTTP/3, capsules or HTTP datagrams.
    pub peers_malformed: Counter,
    /// The same of peers that asked for more than anybody needs, or did not take what they were sent.
    pub peers_excessive: Counter,
    drops: [Counter; DropReason::ALL.len()],
    generations: Mutex<BTreeMap<GenerationId, Arc<GenerationCounters>>>,
}

impl Counters {
    /// Packets dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// Counters of the generations that live now, by id.
    #[must_use]
    pub fn generations(&self) -> Vec<Arc<GenerationCounters>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn dropped(&self, reason: DropReason) {
        self.dropped_many(reason, 1);
    }

    pub(crate) fn dropped_many(&self, reason: DropReason, packets: u64) {
        self.drops[reason as usize].add(packets);
    }

    pub(crate) fn open_generation(&self, id: GenerationId, identity: &Arc<str>) -> Arc<GenerationCounters> {
        let counters = Arc::new(GenerationCounters {
            id,
            identity: Arc::clone(identity),
            sealed: Counter::default(),
            sealed_bytes: Counter::default(),
            opened: Counter::default(),
            opened_bytes: Counter::default(),
            tx_bytes: Counter::default(),
            rx_bytes: Counter::default(),
        });
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&counters));
        counters
    }

    pub(crate) fn close_generation(&self, id: GenerationId) {
        self.retired.add(1);
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
