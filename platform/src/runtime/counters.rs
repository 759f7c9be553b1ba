//! What the stages of one worker did, readable from any thread while it runs.

use crate::{
    adapter::{ReadReport, WriteReport},
    socket::{ReceiveReport, SendReport},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one worker, since its start. One thread writes, any thread reads.
        #[derive(Debug, Default)]
        pub struct StageCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// One reading of [`StageCounters`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct StageSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl StageCounters {
            /// Reads all counters, one after the other.
            #[must_use]
            pub fn snapshot(&self) -> StageSnapshot {
                StageSnapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl StageSnapshot {
            /// All counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Times the worker woke up.
    wakeups,
    /// Closures run for control.
    commands,
    /// Frames read from the adapter (a super-packet is one).
    frames_read,
    /// System calls reading the adapter took.
    read_calls,
    /// Frames the host handed over that were unusable.
    frames_invalid,
    /// Frames written to the adapter (a super-packet is one).
    frames_written,
    /// System calls writing the adapter took.
    write_calls,
    /// Frames lost on write: the host's queue was full.
    write_full,
    /// Frames lost on write: the host refused them.
    write_refused,
    /// Frames lost on write: the link was down.
    write_down,
    /// Sessions with the adapter's driver begun anew because it had broken one.
    adapter_restarts,
    /// Times the adapter's driver was nudged, in case it had forgotten what it was given.
    nudges,
    /// Datagrams received (segments, not merged ones).
    datagrams_received,
    /// System calls receiving took.
    receive_calls,
    /// Datagrams the system lost for want of room in the receive buffer.
    receive_overflowed,
    /// Errors the network reported on receive.
    receive_errors,
    /// Datagrams sent.
    datagrams_sent,
    /// System calls sending took.
    send_calls,
    /// Times the socket had no room and the adapter was left waiting.
    send_blocked,
    /// Datagrams lost on send: unreachable.
    send_unreachable,
    /// Datagrams lost on send: too large.
    send_too_large,
    /// Datagrams lost on send: refused.
    send_refused,
    /// GSO batches the system refused and that went out one by one.
    send_segmented,
}

fn add(counter: &AtomicU64, amount: u64) {
    if amount > 0 {
        counter.fetch_add(amount, Relaxed);
    }
}

impl StageCounters {
    pub(super) fn count_wakeup(&self) {
        add(&self.wakeups, 1);
    }

    pub(super) fn count_commands(&self, commands: u64) {
        add(&self.commands, commands);
    }

    pub(super) fn count_nudge(&self) {
        add(&self.nudges, 1);
    }

    pub(super) fn count_read(&self, frames: u64, report: &ReadReport) {
        add(&self.frames_read, frames);
        add(&self.read_calls, report.calls);
        add(&self.frames_invalid, report.invalid);
        add(&self.adapter_restarts, report.restarts);
    }

    pub(super) fn count_write(&self, report: &WriteReport) {
        add(&self.frames_written, report.written);
        add(&self.write_calls, report.calls);
        add(&self.write_full, report.full);
        add(&self.write_refused, report.refused);
        add(&self.write_down, report.down);
        add(&self.adapter_restarts, report.restarts);
    }

    pub(super) fn count_receive(&self, datagrams: u64, report: &ReceiveReport) {
        add(&self.datagrams_received, datagrams);
        add(&self.receive_calls, report.calls);
        add(&self.receive_overflowed, report.overflowed);
        add(&self.receive_errors, report.errors);
    }

    pub(super) fn count_send(&self, report: &SendReport) {
        add(&self.datagrams_sent, report.sent);
        add(&self.send_calls, report.calls);
        add(&self.send_blocked, u64::from(report.blocked));
        add(&self.send_unreachable, report.unreachable);
        add(&self.send_too_large, report.too_large);
        add(&self.send_refused, report.refused);
        add(&self.send_segmented, report.segmented);
    }
}
