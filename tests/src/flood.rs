//! Datagrams that nobody wants: garbage, pieces and copies of real ones, and handshakes from nowhere.

use crate::netns::Namespace;
use blake2::digest::{Digest as _, FixedOutput as _, KeyInit as _, Update as _, consts::U16};
use blake2::{Blake2s256, Blake2sMac};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A flood under way; dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Sends `datagrams` round and round from `from` to `target`, `rate` a second by `threads` threads together.
    ///
    /// # Panics
    /// When there is nothing to send.
    #[must_use]
    pub fn start(
        from: &Namespace,
        target: SocketAddr,
        datagrams: &Arc<Vec<Vec<u8>>>,
        rate: u64,
        threads: usize,
    ) -> Self {
        assert!(!datagrams.is_empty(), "nothing to send");
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let share = rate as f64 / threads as f64;
        let run = |number: usize| {
            let (datagrams, sent, ended) = (Arc::clone(datagrams), Arc::clone(&sent), Arc::clone(&ended));
            from.thread(move || {
                let Ok(socket) = UdpSocket::bind("0.0.0.0:0") else { return };
                if socket.connect(target).is_err() {
                    return;
                }
                let (mut last, mut budget, mut at) = (Instant::now(), 0.0, number * datagrams.len() / threads);
                while !ended.load(Ordering::Relaxed) {
                    let now = Instant::now();
                    // What a busy machine held up is made up for within a fifth of a second.
                    budget = (budget + (now - last).as_secs_f64() * share).min(share / 5.0);
                    last = now;
                    while budget >= 1.0 {
                        // A refusal of the kernel is a datagram that did not go out, and is not counted.
                        if socket.send(&datagrams[at % datagrams.len()]).is_ok() {
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        at += 1;
                        budget -= 1.0;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let threads = (0..threads).map(run).collect();
        Self { sent, ended, threads }
    }

    /// Datagrams that have gone out.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Takes `count` real datagrams off `wire0` of a namespace, on their way to UDP `port`.
///
/// # Panics
/// When `tcpdump` is missing or not so many come within 15 s.
#[must_use]
pub fn capture(namespace: &Namespace, directory: &Path, port: u16, count: usize) -> Vec<Vec<u8>> {
    let file: PathBuf = directory.join("real.pcap");
    let mut command = namespace.command("tcpdump");
    command.args(["-n", "-U", "-i", "wire0", "-c", &count.to_string(), "-w"]).arg(&file);
    command.arg(format!("udp dst port {port}"));
    let mut process = namespace.start(command, directory.join("capture.log"));
    let taken = process.wait_for_end(Duration::from_secs(15));
    assert!(taken, "no {count} datagrams to port {port} within 15 s: {}", process.said());
    datagrams(&std::fs::read(&file).unwrap_or_default())
}

/// The UDP payloads of a capture file (Ethernet, IPv4, this machine's byte order).
fn datagrams(pcap: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = pcap.get(24..).unwrap_or_default();
    let mut found = Vec::new();
    while let Some(header) = rest.get(..16) {
        let length = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(packet) = rest.get(16..16 + length) else { break };
        // Ethernet 14, IPv4 without options 20, UDP 8.
        found.extend(packet.get(42..).filter(|payload| !payload.is_empty()).map(<[u8]>::to_vec));
        rest = &rest[16 + length..];
    }
    found
}

/// Numbers without pattern from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many bytes.
    #[must_use]
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.draw() as u8).collect()
    }
}

/// `real` ones as they are, cut short, with a bit turned, with a counter to come and to receivers that do not exist;
/// and pure garbage.
#[must_use]
pub fn rubbish(real: &[Vec<u8>], numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for datagram in real {
        let cut = numbers.draw() as usize % datagram.len();
        let mut turned = datagram.clone();
        let at = 16.min(datagram.len() - 1) + numbers.draw() as usize % datagram.len().saturating_sub(16).max(1);
        turned[at.min(datagram.len() - 1)] ^= 1 << (numbers.draw() % 8);
        let mut astray = datagram.clone();
        if let Some(index) = astray.get_mut(4..8) {
            index.copy_from_slice(&numbers.draw().to_ne_bytes()[..4]);
        }
        // A counter that was never used: only the cipher's check sum can tell.
        let mut forged = turned.clone();
        if let Some(counter) = forged.get_mut(8..16) {
            counter.copy_from_slice(&(numbers.draw() >> 8).to_le_bytes());
        }
        let length = numbers.draw() as usize % 1_400;
        let mut typed = numbers.bytes(length.max(32));
        typed[..4].copy_from_slice(&[4, 0, 0, 0]);
        all.extend([datagram.clone(), datagram[..cut].to_vec(), turned, forged, astray, numbers.bytes(length), typed]);
    }
    all
}

/// Handshake initiations from nobody, whose first check sum (mac1) is right for the gateway's key.
///
/// # Panics
/// Never: the lengths are fixed.
#[must_use]
pub fn initiations(gateway_key: &[u8; 32], count: usize, numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(gateway_key).finalize();
    let initiation = |_| {
        let mut message = numbers.bytes(148);
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        let mac = Blake2sMac::<U16>::new_from_slice(&key).map(|mut mac| {
            mac.update(&message[..116]);
            mac.finalize_fixed()
        });
        message[116..132].copy_from_slice(&mac.unwrap_or_else(|error| panic!("{error}")));
        message
    };
    (0..count).map(initiation).collect()
}
