//! The worker's loop: wait, read the clock once, open the mailbox, then a bounded number of rounds in both directions.

use super::mailbox::Mailbox;
use super::streams::Streams;
use super::{Command, StageCounters, StopReason};
use crate::{
    adapter::{Adapter, Removed},
    socket::{SendReport, Socket},
    wait::{self, Bell, Interest},
};
use crossbeam_channel::Sender;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use vestibule_engine::{
    core::{Engine, Event},
    packet::{Datagram, Datagrams, Frame, Frames, GivenDatagram},
};

/// Rounds (one batch per direction each) between two looks at clock, mailbox and deadline. At 16 super-packets of
/// 64 KiB per batch and 1 ns per byte of sealing this keeps a closure waiting for at most 10 ms or so.
const ROUNDS: usize = 4;
/// GSO batches in the send queue above which not even datagrams are received: their answers would pile up.
const MAX_UNSENT: usize = 256;
/// Pieces that streams brought, of at most 64 KiB each, in one round.
const ARRIVALS: usize = 16;
/// Shortest sleep when the engine names a deadline that has passed although it was just told the time.
const OVERDUE: Duration = Duration::from_millis(1);

pub(super) struct Rounds<A, S> {
    engine: Engine,
    adapter: A,
    socket: S,
    streams: Streams,
    bell: Bell,
    commands: Mailbox<Command, StopReason>,
    events: Sender<Event>,
    counters: Arc<StageCounters>,
    /// Streams may have brought something.
    streams_ready: bool,
    /// The adapter may hold frames.
    adapter_ready: bool,
    /// The socket may hold datagrams.
    socket_ready: bool,
    /// The socket had no room: wait for it, and leave the adapter waiting.
    blocked: bool,
    now: Instant,
}

type Step<T = ()> = Result<T, StopReason>;

impl<A: Adapter, S: Socket> Rounds<A, S> {
    pub(super) fn new(
        mut engine: Engine,
        mut adapter: A,
        mut socket: S,
        bell: Bell,
        commands: Mailbox<Command, StopReason>,
        events: Sender<Event>,
        counters: Arc<StageCounters>,
    ) -> Self {
        engine.set_mtu(adapter.mtu());
        engine.deliveries().merge_udp(adapter.cuts_udp());
        adapter.attach(&bell);
        socket.attach(&bell);
        Self {
            engine,
            adapter,
            socket,
            streams: Streams::new(bell.clone()),
            bell,
            commands,
            events,
            counters,
            streams_ready: false,
            adapter_ready: true,
            socket_ready: true,
            blocked: false,
            now: Instant::now(),
        }
    }

    pub(super) fn run(&mut self) -> StopReason {
        loop {
            match self.wake_up() {
                Ok(true) => {}
                Ok(false) => return StopReason::Asked,
                Err(reason) => return reason,
            }
        }
    }

    /// One wake-up; false when it is the last.
    fn wake_up(&mut self) -> Step<bool> {
        self.wait()?;
        self.now = Instant::now();
        self.counters.count_wakeup();
        if !self.open_mailbox() {
            return Ok(false);
        }
        if self.blocked {
            self.send()?;
        }
        if self.adapter.nudge_at().is_some_and(|at| at <= self.now) {
            self.adapter.nudge().map_err(broken_adapter)?;
            self.adapter_ready = true;
            self.counters.count_nudge();
        }
        for _ in 0..ROUNDS {
            if !self.may_receive() && !self.may_read() && !self.streams_ready {
                break;
            }
            self.inbound()?;
            self.take_streams()?;
            self.outbound()?;
        }
        if self.engine.poll_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.engine.handle_deadline(self.now);
        }
        self.flush()?;
        while let Some(event) = self.engine.poll_event() {
            // Nobody listens: the events are not wanted.
            let _ = self.events.send(event);
        }
        Ok(true)
    }

    fn may_read(&self) -> bool {
        self.adapter_ready && !self.blocked
    }

    fn may_receive(&mut self) -> bool {
        self.socket_ready && self.engine.transmits().len() < MAX_UNSENT
    }

    fn wait(&mut self) -> Step {
        let (may_read, may_receive) = (self.may_read(), self.may_receive());
        let timeout = if may_read || may_receive || self.streams_ready {
            // Something is at hand; the look at the other end is all we want.
            Some(Duration::ZERO)
        } else {
            let nudge = self.adapter.nudge_at();
            self.engine.poll_deadline().into_iter().chain(nudge).min().map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                if deadline <= self.now { left.max(OVERDUE) } else { left }
            })
        };
        // With its queue full the worker asks for nothing but room: input would only wake it in vain.
        let readable = !self.socket_ready && self.engine.transmits().len() < MAX_UNSENT;
        let interest = Interest {
            adapter: if self.blocked { None } else { self.adapter.handle() },
            socket: if readable || self.blocked { self.socket.handle() } else { None },
            readable,
            writable: self.blocked,
        };
        let (adapter_rings, socket_rings) = (self.adapter.handle().is_none(), self.socket.handle().is_none());
        let ready = wait::wait(&self.bell, &interest, timeout).map_err(|error| StopReason::Wait(error.to_string()))?;
        self.adapter_ready |= ready.adapter || (ready.bell && adapter_rings);
        self.socket_ready |= ready.socket || (ready.bell && socket_rings);
        self.streams_ready |= ready.bell;
        Ok(())
    }

    /// Runs what control has posted; false when it asked us to stop.
    fn open_mailbox(&mut self) -> bool {
        let mut run = 0;
        while let Some(command) = self.commands.take() {
            run += 1;
            match command {
                Command::Run(steer) => steer(&mut self.engine, self.now),
                Command::Rebind(port, answer) => {
                    let rebound = self.socket.rebind_to(port).and_then(|()| self.socket.local_addr());
                    self.socket_ready = true;
                    if rebound.is_ok() {
                        self.engine.network_changed(self.now);
                    }
                    let _ = answer.send(rebound);
                }
                Command::CarryStreams => self.streams.allowed = true,
                Command::Requested(request) => self.streams.take_request(*request, &mut self.engine, self.now),
                Command::Mark(mark, answer) => {
                    self.streams.mark = (mark != 0).then_some(mark);
                    let _ = answer.send(self.socket.set_mark(mark));
                }
                Command::Stop => return false,
            }
        }
        self.counters.count_commands(run);
        true
    }

    /// socket -> engine -> adapter, and the engine's answers back to the socket.
    fn inbound(&mut self) -> Step {
        if !self.may_receive() {
            return Ok(());
        }
        let mut received = 0;
        let batch = self.socket.receive().map_err(broken_socket)?;
        self.engine.handle_datagrams(&mut Counted { batch, count: &mut received }, self.now);
        let report = self.socket.receive_report();
        self.socket_ready = !report.drained;
        self.counters.count_receive(received, &report);
        self.flush()
    }

    /// streams -> engine -> adapter, and the engine's answers back to the streams.
    fn take_streams(&mut self) -> Step {
        for _ in 0..ARRIVALS {
            if !self.streams_ready {
                break;
            }
            self.streams_ready = self.streams.receive(&mut self.engine, self.now);
            self.flush()?;
        }
        Ok(())
    }

    /// adapter -> engine -> socket, and the engine's answers back to the adapter.
    fn outbound(&mut self) -> Step {
        if !self.may_read() {
            return Ok(());
        }
        let mut read = 0;
        let batch = self.adapter.read().map_err(broken_adapter)?;
        self.engine.handle_frames(&mut Counted { batch, count: &mut read }, self.now);
        let report = self.adapter.read_report();
        self.adapter_ready = !report.drained;
        self.counters.count_read(read, &report);
        self.flush()
    }

    /// Hands over what the engine has ready: answers to the host first, they are due already.
    fn flush(&mut self) -> Step {
        let deliveries = self.engine.deliveries();
        if !deliveries.is_empty() {
            let report = self.adapter.write(deliveries).map_err(broken_adapter)?;
            deliveries.clear();
            self.counters.count_write(&report);
        }
        self.streams.send(&mut self.engine, self.now);
        if self.blocked { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Step {
        let queue = self.engine.transmits();
        let report =
            if queue.is_empty() { SendReport::default() } else { self.socket.send(queue).map_err(broken_socket)? };
        self.blocked = report.blocked;
        self.counters.count_send(&report);
        Ok(())
    }
}

fn broken_adapter(error: io::Error) -> StopReason {
    if error.get_ref().is_some_and(|error| error.is::<Removed>()) {
        return StopReason::AdapterRemoved;
    }
    StopReason::Adapter(error.to_string())
}

fn broken_socket(error: io::Error) -> StopReason {
    StopReason::Socket(error.to_string())
}

/// A batch that counts what is taken from it.
struct Counted<'a, B> {
    batch: B,
    count: &'a mut u64,
}

impl<B: Frames> Frames for Counted<'_, B> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let frame = self.batch.next_frame()?;
        *self.count += 1;
        Some(frame)
    }
}

impl<B: Datagrams> Datagrams for Counted<'_, B> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let datagram = self.batch.next_datagram()?;
        *self.count += datagram.bytes.len().div_ceil(datagram.stride.max(1)) as u64;
        Some(datagram)
    }

    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let datagram = self.batch.give_datagram(wanted)?;
        *self.count += datagram.bytes.len().div_ceil(datagram.stride.max(1)) as u64;
        Some(datagram)
    }
}
