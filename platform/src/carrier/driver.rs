//! One HTTP/2 connection: its streams, its pings, its end.

use super::pump::{Pump, Turn};
use super::{CarrierError, Settings, Stage};
use h2::{Ping, PingPong, Reason};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Rounds of one poll, so that a busy connection lets others run.
const MOST_ROUNDS: usize = 16;

/// What differs between the two roles.
pub(super) trait Http2 {
    /// Reads and writes. Ready: the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>>;
    /// A tunnel was opened.
    fn opened(&mut self);
    /// Ends the connection in good order.
    fn close(&mut self);
}

/// Drives a connection until it ends.
pub(super) struct Driver<C> {
    connection: C,
    pumps: Vec<Pump>,
    /// Streams that become tunnels.
    joining: UnboundedReceiver<Pump>,
    pings: Option<PingPong>,
    ticks: Interval,
    settings: Settings,
    /// When the peer was last known to live.
    heard: Instant,
    /// Since when there has been no tunnel.
    bare: Option<Instant>,
}

impl<C: Http2> Driver<C> {
    pub(super) fn new(
        connection: C,
        pumps: Vec<Pump>,
        joining: UnboundedReceiver<Pump>,
        pings: Option<PingPong>,
        settings: Settings,
    ) -> Self {
        let mut ticks = interval(settings.keep_alive.min(settings.patience));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        let bare = pumps.is_empty().then_some(now);
        Self { connection, pumps, joining, pings, ticks, settings, heard: now, bare }
    }

    /// Until the end; streams that still were open are told.
    pub(super) async fn run(mut self) -> CarrierError {
        let error = poll_fn(|cx| self.poll(cx)).await;
        for pump in &self.pumps {
            pump.lost(error.clone());
        }
        // The last words, for example why we close, are worth a moment and no more.
        self.connection.close();
        self.pumps.clear();
        let flush = poll_fn(|cx| self.connection.poll(cx));
        let _ = tokio::time::timeout(self.settings.patience, flush).await;
        error
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CarrierError> {
        if let Some(error) = self.tick(cx) {
            return Poll::Ready(error);
        }
        for _ in 0..MOST_ROUNDS {
            if let Poll::Ready(end) = self.connection.poll(cx) {
                // Streams know better what became of them.
                self.turn(cx);
                return Poll::Ready(match end {
                    Err(error) if error.reason() != Some(Reason::NO_ERROR) => CarrierError::Http2(Arc::new(error)),
                    _ => CarrierError::Closed,
                });
            }
            let mut moved = false;
            while let Poll::Ready(Some(pump)) = self.joining.poll_recv(cx) {
                self.connection.opened();
                self.pumps.push(pump);
                moved = true;
            }
            moved |= self.turn(cx);
            if self.pumps.is_empty() {
                self.bare.get_or_insert_with(Instant::now);
            } else {
                self.bare = None;
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        self.pumps.retain_mut(|pump| match pump.turn(cx) {
            Turn::Over => {
                moved = true;
                false
            }
            Turn::Moved => {
                moved = true;
                true
            }
            Turn::Idle => true,
        });
        moved
    }

    fn tick(&mut self, cx: &mut Context<'_>) -> Option<CarrierError> {
        while let Some(pings) = &mut self.pings
            && let Poll::Ready(answer) = pings.poll_pong(cx)
        {
            match answer {
                Ok(_) => self.heard = Instant::now(),
                // The connection is over, as it says itself.
                Err(_) => self.pings = None,
            }
        }
        while self.ticks.poll_tick(cx).is_ready() {
            if let Some(pings) = &mut self.pings {
                // It fails while the last one is not answered.
                let _ = pings.send_ping(Ping::opaque());
            }
            if self.heard.elapsed() > self.settings.idle_timeout {
                return Some(CarrierError::Silent(self.settings.idle_timeout));
            }
            let limit = self.settings.patience;
            if self.bare.is_some_and(|since| since.elapsed() > limit) {
                return Some(CarrierError::Timeout { stage: Stage::Answer, limit });
            }
        }
        None
    }
}

/// Waits for `future`, not for ever.
pub(super) async fn within<T>(
    settings: &Settings,
    stage: Stage,
    future: impl Future<Output = Result<T, CarrierError>>,
) -> Result<T, CarrierError> {
    let limit = settings.patience;
    tokio::time::timeout(limit, future).await.unwrap_or(Err(CarrierError::Timeout { stage, limit }))
}
