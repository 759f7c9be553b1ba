//! A bad cable: a relay between two ends that loses, repeats, delays and marks datagrams as told. It needs no module of
//! the kernel (many have no `netem`), is the same on every machine, and counts what it does.

use crate::netns::Namespace;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use vestibule_engine::packet::{Datagrams, Ecn, TransmitQueue};
use vestibule_platform::socket::{Socket, Udp, UdpConfig};
use vestibule_platform::wait::{Bell, Interest, Waitable, wait};

/// Datagrams that may be held back at a time.
const MOST_HELD: usize = 64;

/// What happens to datagrams, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Lost.
    pub lose: u64,
    /// Repeated.
    pub repeat: u64,
    /// Held back until up to 8 later ones have gone.
    pub delay: u64,
    /// Marked as a congested router marks what is ECN-capable.
    pub mark: u64,
}

/// What it saw and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams that came, by their ECN field's bits.
    pub by_ecn: [u64; 4],
    /// Lost on purpose.
    pub lost: u64,
    /// Sent twice.
    pub repeated: u64,
    /// Held back.
    pub delayed: u64,
    /// Marked.
    pub marked: u64,
}

/// A relay under way; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    seen: Arc<Mutex<Seen>>,
    trouble: Arc<Mutex<Trouble>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// In `namespace`: what comes to the `left` address goes to `right_end` from the `right` address, and back to
    /// `left_end`.
    ///
    /// # Panics
    /// When a socket cannot be had.
    #[must_use]
    pub fn start(
        namespace: &Namespace,
        (left, left_end): (SocketAddr, SocketAddr),
        (right, right_end): (SocketAddr, SocketAddr),
    ) -> Self {
        let (seen, trouble) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let bind = move || Ok::<_, io::Error>((Udp::bind(&UdpConfig::new(left))?, Udp::bind(&UdpConfig::new(right))?));
        let sockets = namespace.thread(bind).join();
        let Ok(Ok((left, right))) = sockets else { panic!("the relay's sockets: {sockets:?}") };
        let (counted, told, stop) = (Arc::clone(&seen), Arc::clone(&trouble), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut ways = [Way::new(left, right_end, 1), Way::new(right, left_end, 2)];
            let Ok(bell) = Bell::new() else { return };
            while !stop.load(Ordering::Relaxed) {
                let [one, two] = &mut ways;
                let interest = Interest {
                    adapter: one.socket.handle(),
                    socket: two.socket.handle(),
                    readable: true,
                    ..Interest::default()
                };
                let quiet = wait(&bell, &interest, Some(Duration::from_millis(5)));
                let quiet = quiet.is_ok_and(|ready| !ready.adapter && !ready.socket);
                let trouble = *told.lock().unwrap_or_else(PoisonError::into_inner);
                let mut seen = counted.lock().unwrap_or_else(PoisonError::into_inner);
                one.receive(trouble, &mut seen, quiet);
                two.receive(trouble, &mut seen, quiet);
                drop(seen);
                one.leave_by(&mut two.socket);
                two.leave_by(&mut one.socket);
            }
        });
        Self { seen, trouble, ended, thread: Some(thread) }
    }

    /// From now on.
    pub fn trouble(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What it saw and did so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One way through the relay: datagrams that come to `socket`.
struct Way {
    socket: Udp,
    destination: SocketAddr,
    queue: TransmitQueue,
    /// Held back until so many others have gone.
    held: Vec<(u64, Ecn, Vec<u8>)>,
    random: u64,
}

impl Way {
    fn new(socket: Udp, destination: SocketAddr, seed: u64) -> Self {
        Self { socket, destination, queue: TransmitQueue::new(), held: Vec::new(), random: seed }
    }

    /// A number below `limit`, from an xorshift generator: the same in every run.
    fn random(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % limit
    }

    fn receive(&mut self, trouble: Trouble, seen: &mut Seen, quiet: bool) {
        let mut come: Vec<(Ecn, Vec<u8>)> = Vec::new();
        if let Ok(mut batch) = self.socket.receive() {
            while let Some(datagram) = batch.next_datagram() {
                come.extend(datagram.bytes.chunks(datagram.stride).map(|bytes| (datagram.ecn, bytes.to_vec())));
            }
        }
        for (mut ecn, bytes) in come {
            seen.by_ecn[usize::from(ecn.bits())] += 1;
            if self.random(1000) < trouble.lose {
                seen.lost += 1;
                continue;
            }
            if ecn != Ecn::NotEct && self.random(1000) < trouble.mark {
                seen.marked += 1;
                ecn = Ecn::Ce;
            }
            if self.random(1000) < trouble.repeat {
                seen.repeated += 1;
                self.push(ecn, &bytes);
            }
            if self.held.len() < MOST_HELD && self.random(1000) < trouble.delay {
                seen.delayed += 1;
                let later = 1 + self.random(8);
                self.held.push((later, ecn, bytes));
                continue;
            }
            self.push(ecn, &bytes);
            self.let_go(1);
        }
        if quiet {
            self.let_go(u64::MAX);
        }
    }

    /// So many have gone by.
    fn let_go(&mut self, passed: u64) {
        for (later, _, _) in &mut self.held {
            *later = later.saturating_sub(passed);
        }
        for (_, ecn, bytes) in self.held.extract_if(.., |(later, _, _)| *later == 0).collect::<Vec<_>>() {
            self.push(ecn, &bytes);
        }
    }

    fn push(&mut self, ecn: Ecn, bytes: &[u8]) {
        self.queue.reserve(self.destination, ecn, bytes.len(), 1).copy_from_slice(bytes);
    }

    fn leave_by(&mut self, socket: &mut Udp) {
        while !self.queue.is_empty() {
            match socket.send(&mut self.queue) {
                Ok(report) if report.blocked => std::thread::sleep(Duration::from_micros(200)),
                Ok(_) => {}
                Err(_) => self.queue.release(usize::MAX),
            }
        }
    }
}
