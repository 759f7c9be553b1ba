//! How carriers are set up.

use std::time::Duration;

/// What every connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes the peer may send on a stream before they are consumed here. 4 MiB: 1 Gb/s over 33 ms.
    pub window: u32,
    /// The longest DATA frame that is taken. 64 KiB, one batch: a frame is acted on when it is complete.
    pub frame: u32,
    /// Batches in an outbox that has not been emptied; then it is full.
    pub batches: usize,
    /// Bytes that HTTP/2 may hold of one stream and has not given to TLS.
    pub send_buffer: usize,
    /// A ping every so often, so that NATs remember and a dead path is noticed.
    pub keep_alive: Duration,
    /// Silence after which the connection is lost.
    pub idle_timeout: Duration,
    /// Each of connecting, TLS, settings and answer may take so long.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 4 << 20,
            frame: 64 << 10,
            batches: 8,
            send_buffer: 256 << 10,
            keep_alive: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(10),
        }
    }
}

/// What a server has besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// For all its connections.
    pub settings: Settings,
    /// Connections without a tunnel; beyond these the oldest gives way to the newest.
    pub half_open: usize,
    /// Requests that wait to be answered; further ones are answered 503.
    pub requests: usize,
    /// Tunnels of one connection.
    pub streams: u32,
}

impl Default for ServerSettings {
    fn default() -> Self {
        // 1024 connections with 64 KiB each that their clients may have sent unasked: 64 MiB in the worst case.
        Self { settings: Settings::default(), half_open: 1024, requests: 256, streams: 4 }
    }
}
