//! What was seen over time, in bounded memory.

use serde::{Deserialize, Serialize};

/// Most samples kept: an hour of seconds.
const MOST: usize = 3600;
/// Most processes that are watched.
pub(super) const PROCESSES: usize = 2;

/// What happened in one span of time, and what was held at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Its end, in seconds since the beginning.
    pub at: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// UDP packets that arrived, both ways.
    pub packets: u64,
    /// Bytes of IP that arrived, both ways: UDP packets, and what TCP carried.
    pub bytes: u64,
    /// The largest gap between two arrivals from the device, in microseconds.
    pub gap_up_us: u64,
    /// The same towards the device.
    pub gap_down_us: u64,
    /// Packets found lost that should not have been.
    pub lost: u64,
    /// Packets found lost that a fault may lose.
    pub lost_by_faults: u64,
    /// Swaps that came to their end.
    pub swaps: u64,
    /// What each process held, and the processor time it used.
    pub processes: [Held; PROCESSES],
}

/// What a process held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Bytes of memory in place.
    pub resident: u64,
    /// Handles.
    pub handles: u64,
    /// Processor time used in the span, in milliseconds.
    pub cpu_ms: u64,
}

impl Sample {
    /// This span and the next one as one: sums of what happened, the larger gap, what was held at its fullest.
    fn and(self, next: Self) -> Self {
        let mut processes = next.processes;
        for (held, before) in processes.iter_mut().zip(self.processes) {
            held.resident = held.resident.max(before.resident);
            held.handles = held.handles.max(before.handles);
            held.cpu_ms += before.cpu_ms;
        }
        Self {
            at: next.at,
            seconds: self.seconds + next.seconds,
            packets: self.packets + next.packets,
            bytes: self.bytes + next.bytes,
            gap_up_us: self.gap_up_us.max(next.gap_up_us),
            gap_down_us: self.gap_down_us.max(next.gap_down_us),
            lost: self.lost + next.lost,
            lost_by_faults: self.lost_by_faults + next.lost_by_faults,
            swaps: self.swaps + next.swaps,
            processes,
        }
    }
}

/// Samples, ever coarser as a run gets longer.
#[derive(Debug)]
pub(super) struct Series {
    samples: Vec<Sample>,
    most: usize,
    /// How many spans make one sample now.
    each: usize,
    /// The sample that is not whole yet, and how many spans it has.
    open: Option<(Sample, usize)>,
}

impl Series {
    pub(super) fn new() -> Self {
        Self::of(MOST)
    }

    /// At most `most` samples. Their memory is in place from the beginning, so that it does not grow while the growth of
    /// this very process is measured.
    fn of(most: usize) -> Self {
        let mut samples = vec![Sample { seconds: 1.0, ..Sample::default() }; most];
        samples.clear();
        Self { samples, most, each: 1, open: None }
    }

    pub(super) fn push(&mut self, sample: Sample) {
        let (sample, spans) = match self.open.take() {
            Some((open, spans)) => (open.and(sample), spans + 1),
            None => (sample, 1),
        };
        if spans < self.each {
            self.open = Some((sample, spans));
            return;
        }
        self.samples.push(sample);
        if self.samples.len() == self.most {
            for at in 0..self.most / 2 {
                self.samples[at] = self.samples[2 * at].and(self.samples[2 * at + 1]);
            }
            self.samples.truncate(self.most / 2);
            self.each *= 2;
        }
    }

    /// All of them; the last one may be shorter than the others.
    pub(super) fn finish(mut self) -> Vec<Sample> {
        self.samples.extend(self.open.map(|(sample, _)| sample));
        self.samples
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn second(at: u64) -> Sample {
        let held = Held { resident: 1000 + at, handles: 7, cpu_ms: 2 };
        let (gap, at_end) = (if at == 13 { 900 } else { 10 }, at as f64 + 1.0);
        Sample {
            at: at_end,
            seconds: 1.0,
            packets: 100,
            bytes: 1,
            gap_up_us: gap,
            gap_down_us: 5,
            swaps: 1,
            processes: [held; PROCESSES],
            ..Sample::default()
        }
    }

    #[test]
    fn a_long_run_takes_no_more_room_and_nothing_is_forgotten() {
        for seconds in [1, 15, 16, 17, 100, 1001] {
            let mut series = Series::of(16);
            (0..seconds).for_each(|at| series.push(second(at)));
            let samples = series.finish();
            assert!(samples.len() <= 16, "{seconds}");
            assert_eq!(samples.iter().map(|sample| sample.packets).sum::<u64>(), 100 * seconds);
            assert_eq!(samples.iter().map(|sample| sample.swaps).sum::<u64>(), seconds);
            assert_eq!(samples.iter().map(|sample| sample.seconds).sum::<f64>(), seconds as f64);
            assert_eq!(samples.iter().map(|sample| sample.processes[1].cpu_ms).sum::<u64>(), 2 * seconds);
            assert_eq!(samples.last().unwrap().at, seconds as f64);
            assert_eq!(samples.last().unwrap().processes[0].resident, 999 + seconds);
            let gap = samples.iter().map(|sample| sample.gap_up_us).max().unwrap();
            assert_eq!(gap, if seconds > 13 { 900 } else { 10 });
            assert!(samples.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
    }
}
