//! A TCP flow whose throughput can be looked at while it runs.

use crate::netns::Namespace;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One way, from one namespace to another; dropping it ends it.
#[derive(Debug)]
pub struct Flow {
    received: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flow {
    /// Sends from `from` to `address` in `to`, at most `rate` bytes a second.
    ///
    /// # Panics
    /// When the listener cannot be had.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: SocketAddr, rate: u64) -> Self {
        let listener = to.thread(move || TcpListener::bind(address)).join();
        let Ok(Ok(listener)) = listener else { panic!("cannot listen at {address}: {listener:?}") };
        let (received, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&received), Arc::clone(&ended));
        let reading = to.thread(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let mut buffer = vec![0; 256 * 1024];
            while !stop.load(Ordering::Relaxed) {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => count.fetch_add(read as u64, Ordering::Relaxed),
                    Err(_) => continue,
                };
            }
        });
        let stop = Arc::clone(&ended);
        let writing = from.thread(move || {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(10)) else { return };
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let chunk = vec![0x5a; 32 * 1024];
            let (mut last, mut budget) = (Instant::now(), 0.0);
            while !stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                // A tenth of a second's worth may be made up for, so that a pause is not followed by a burst.
                budget = (budget + (now - last).as_secs_f64() * rate as f64).min(rate as f64 / 10.0);
                last = now;
                if budget < 1.0 {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let amount = chunk.len().min(budget as usize);
                if let Ok(written) = stream.write(&chunk[..amount]) {
                    budget -= written as f64;
                }
            }
        });
        Self { received, ended, threads: vec![reading, writing] }
    }

    /// Bytes a second that arrive during `length`.
    #[must_use]
    pub fn measure(&self, length: Duration) -> f64 {
        let (began, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
        thread::sleep(length);
        (self.received.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
