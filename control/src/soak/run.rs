//! The run itself: traffic, swaps and samples, until the time is over or somebody ends it.

use super::{
    books::{Books, News},
    faults::{Fault, Planned},
    judge,
    options::Options,
    progress::Progress,
    report::{Asked, End, Report, SCHEMA, Struck, Swaps},
    series::{Held, PROCESSES, Sample, Series},
};
use crate::{
    causes::chain,
    world::{
        Stopped, World,
        probe::Question,
        scene::{Account, Amount, Glance, Scene, SceneError, Traffic},
        swaps::{Audit, Turns},
        userspace::Room,
    },
};
use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use vestibule_platform::measure::usage::{self, Usage};

/// Between two samples.
const SPAN: Duration = Duration::from_secs(1);
/// A packet that has not arrived after this is lost: far more than any queue on the way holds.
const FINAL: Duration = Duration::from_secs(5);
/// Packets sent within this before a fault may still be on their way.
const FLYING: Duration = Duration::from_millis(300);
/// Longest wait for traffic after a fault.
const RECOVERY: Duration = Duration::from_secs(90);
/// Faults that are told one by one.
const MOST_FAULTS: usize = 10_000;
/// How often somebody is asked whether to end.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the gateway to write its audit, which it does in batches.
const AUDIT: Duration = Duration::from_secs(5);

/// Runs a soak to its end and reports, whatever became of it. `stop` is asked every now and then.
pub(super) fn run(options: &Options, stop: &dyn Fn() -> bool) -> Report {
    let mut soak = Soak::new(options, stop);
    let ended = soak.prepare_and_run();
    soak.report(ended)
}

struct Soak<'a> {
    options: &'a Options,
    stop: &'a dyn Fn() -> bool,
    progress: Progress,
    began: SystemTime,
    /// When the traffic began.
    start: Instant,
    books: Books,
    series: Series,
    swaps: Swaps,
    /// Milliseconds of all swaps.
    swapping: u64,
    names: Vec<&'static str>,
    faults: Vec<Struck>,
}

impl<'a> Soak<'a> {
    fn new(options: &'a Options, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            options,
            stop,
            progress: Progress::new(options.quiet),
            began: SystemTime::now(),
            start: Instant::now(),
            books: Books::default(),
            series: Series::new(),
            swaps: Swaps::default(),
            swapping: 0,
            names: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn prepare_and_run(&mut self) -> Result<End, Stopped> {
        let progress = self.progress;
        let tell = |step: &str| progress.note(step);
        let transport = self.options.transport;
        // Outlives the world that has its files in it.
        let room;
        let world = if self.options.userspace {
            room = Room::new().map_err(SceneError::from)?;
            World::of_memory(transport, &room, tell)?
        } else {
            World::of_kernels(transport, tell)?
        };
        let mut round = Round::begin(self, world)?;
        let ended = round.all(self);
        let finished = round.finish(self);
        if ended.is_err() || finished.is_err() {
            progress.note(&round.world.scene.logs());
        }
        ended.and_then(|end| finished.map(|()| end))
    }

    fn report(self, ended: Result<End, Stopped>) -> Report {
        let seconds = self.start.elapsed().as_secs_f64();
        let Options { userspace, transport, duration, swap_every, rate, .. } = *self.options;
        let samples = self.series.finish();
        let processes =
            self.names.iter().enumerate().map(|(number, name)| judge::process(name, number, &samples)).collect();
        let mut report = Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: std::env::consts::OS.to_owned(),
            options: Asked {
                userspace,
                transport,
                duration_s: duration.as_secs_f64(),
                swap_every_s: swap_every.0.map(|every| every.as_secs_f64()),
                rate,
                tcp_rate: tcp_rate_of(self.options),
                faults: self.options.faults.iter().map(ToString::to_string).collect(),
            },
            began: OffsetDateTime::from(self.began).format(&Rfc3339).unwrap_or_default(),
            seconds: samples.last().map_or(seconds, |sample| sample.at),
            end: ended.unwrap_or_else(|error| End::Stopped(chain(&error))),
            verdict: super::report::Verdict::default(),
            traffic: self.books,
            swaps: self.swaps,
            gaps_us: judge::gaps(&samples),
            processes,
            faults: self.faults,
            samples,
        };
        report.verdict = judge::verdict(&report);
        report
    }
}

/// The load's TCP: none where packets may be lost and the TCP is that of a world of memory, which does not send again.
fn tcp_rate_of(options: &Options) -> u32 {
    let lossy = options.faults.iter().any(|planned| planned.fault.loses());
    if options.userspace && lossy { 0 } else { options.tcp_rate }
}

/// What a run has under its hands.
struct Round {
    world: World,
    load: Option<Box<dyn Traffic>>,
    amount: Amount,
    turns: Turns,
    audit: Audit,
    /// Swaps and handshakes before the first of ours.
    audited: u64,
    handshakes: u64,
    /// What had been sent when: the numbers below become final after a while.
    marks: VecDeque<(Instant, [u64; 2])>,
    final_below: [u64; 2],
    /// What was seen since the last sample.
    between: News,
    gaps: [u64; 2],
    sampled: Instant,
    cpu: [Duration; PROCESSES],
    swaps: u64,
    /// What goes wrong next, and when.
    planned: Vec<(Instant, Planned)>,
    struck: Option<Under>,
}

/// A fault under way.
struct Under {
    fault: Fault,
    at: Instant,
    /// When what was done is taken back.
    ends: Option<Instant>,
    /// What had been sent when the fault was over; when that arrives, traffic flows again.
    over: Option<(Instant, [u64; 2])>,
}

impl Round {
    /// Registers a user, and starts the load.
    fn begin(soak: &mut Soak<'_>, mut world: World) -> Result<Self, Stopped> {
        let options = soak.options;
        let status = world.device.until_identity(crate::world::setup::NON_IDENTITY, Duration::from_secs(30))?;
        let Some(inner) = crate::world::swaps::inner(&status) else { return Err(Stopped::Missing("inner address")) };
        world.scene.addressed(inner);
        let inner = world.register()?;
        soak.progress.note("a user has registered and logged off");
        let amount = Amount {
            rate: options.rate,
            tcp_rate: tcp_rate_of(options),
            mtu: status.mtu.unwrap_or(1280),
            plant: options.plant,
        };
        let mut audit = Audit::default();
        let audited = audit.swaps(&world.admin)?;
        let handshakes = world.scene.wire()?.initiations;
        let load = world.scene.load(inner, amount, 1)?;
        soak.names = world.scene.processes().into_iter().map(|(name, _)| name).take(PROCESSES).collect();
        soak.start = Instant::now();
        soak.progress.begin();
        let mut round = Self {
            world,
            load: Some(load),
            amount,
            turns: Turns::after_registration(),
            audit,
            audited,
            handshakes,
            marks: VecDeque::new(),
            final_below: [0; 2],
            between: News::default(),
            gaps: [0; 2],
            sampled: soak.start,
            cpu: [Duration::ZERO; PROCESSES],
            swaps: 0,
            planned: options.faults.iter().map(|planned| (soak.start + planned.every, *planned)).collect(),
            struck: None,
        };
        round.forget_cpu();
        Ok(round)
    }

    fn all(&mut self, soak: &mut Soak<'_>) -> Result<End, Stopped> {
        let end = soak.start + soak.options.duration;
        let mut next_swap = soak.options.swap_every.0.map(|every| soak.start + every);
        let mut next_sample = soak.start + SPAN;
        loop {
            let now = Instant::now();
            // A fault is seen through: what it may lose ends with it.
            let ending = if (soak.stop)() { Some(End::Interrupted) } else { (now >= end).then_some(End::Duration) };
            if let (Some(end), None) = (ending, &self.struck) {
                return Ok(end);
            }
            if now >= next_sample {
                self.sample(soak)?;
                next_sample = (next_sample + SPAN).max(Instant::now());
                continue;
            }
            if self.trouble(soak)? {
                // Identities rest meanwhile: a swap waits for its end, and this is what would bring it.
                next_swap = next_swap.map(|next| next.max(Instant::now()));
                thread::sleep(LOOK);
                continue;
            }
            if let (Some(next), Some(every)) = (next_swap, soak.options.swap_every.0)
                && now >= next
            {
                self.swap(soak)?;
                // A swap that took longer than it should is not made up for.
                next_swap = Some((next + every).max(Instant::now()));
                continue;
            }
            let next = next_swap.map_or(next_sample, |swap| swap.min(next_sample)).min(end);
            thread::sleep(next.saturating_duration_since(now).min(LOOK));
        }
    }

    fn swap(&mut self, soak: &mut Soak<'_>) -> Result<(), Stopped> {
        let begun = Instant::now();
        self.turns.next(&mut self.world.device)?;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.swaps += 1;
        let swaps = &mut soak.swaps;
        swaps.done += 1;
        swaps.slowest_ms = swaps.slowest_ms.max(took);
        soak.swapping += took;
        swaps.mean_ms = soak.swapping as f64 / swaps.done as f64;
        let web = self.world.scene.ask(Question::Web)?;
        let right = if self.turns.on() { web.answered() } else { web.refused() };
        if !right {
            swaps.wrong_rules += 1;
            soak.progress.note(&format!("as {}, the intranet: {web}", self.turns.identity()));
        }
        Ok(())
    }

    /// Does what is due, and says whether a fault is under way.
    fn trouble(&mut self, soak: &mut Soak<'_>) -> Result<bool, Stopped> {
        let now = Instant::now();
        let Some(under) = &mut self.struck else {
            let Some((due, planned)) = self.planned.iter_mut().find(|(due, _)| now >= *due) else { return Ok(false) };
            let Planned { fault, every } = *planned;
            *due = now + every;
            self.strike(soak, fault)?;
            return Ok(true);
        };
        if let Some(ends) = under.ends {
            if now < ends {
                return Ok(true);
            }
            under.ends = None;
            if let (_, Some((_, blow))) = under.fault.blows() {
                self.world.scene.strike(blow)?;
            }
        }
        let glance = self.look(soak)?;
        let sent = [glance.up.0.sent, glance.down.0.sent];
        let Some(under) = &mut self.struck else { return Ok(false) };
        let (since, over) = *under.over.get_or_insert((now, sent));
        let arrived = [glance.up.1.next, glance.down.1.next];
        if arrived.iter().zip(over).all(|(arrived, over)| *arrived > over) {
            soak.books.allow_until(arrived);
            let seconds = under.at.elapsed().as_secs_f64();
            let at = under.at.duration_since(soak.start).as_secs_f64();
            let fault = under.fault.name().to_owned();
            soak.progress.note(&format!("{fault}: traffic flows again after {seconds:.2} s"));
            if soak.faults.len() < MOST_FAULTS {
                soak.faults.push(Struck { fault, at, seconds });
            }
            self.struck = None;
        } else if since.elapsed() > RECOVERY {
            return Err(Stopped::Missing("traffic any more: none has passed both ways for 90 s after a fault"));
        }
        Ok(true)
    }

    fn strike(&mut self, soak: &mut Soak<'_>, fault: Fault) -> Result<(), Stopped> {
        let (blow, back) = fault.blows();
        if fault.loses() {
            // What is in flight just now may be caught by it.
            let flying = u64::from(self.amount.rate) * u64::try_from(FLYING.as_millis()).unwrap_or(0) / 1000;
            let glance = self.look(soak)?;
            let sent = [glance.up.0.sent, glance.down.0.sent];
            soak.books.allow_from(sent.map(|sent| sent.saturating_sub(flying)));
        }
        let at = Instant::now();
        self.world.scene.strike(blow)?;
        if fault == Fault::GatewayRestart {
            // The administrator's connections are to the former one.
            (self.world.gateway, self.world.admin) = self.world.scene.seat()?;
            self.forget_cpu();
        }
        self.struck = Some(Under { fault, at, ends: back.map(|(after, _)| at + after), over: None });
        Ok(())
    }

    /// A process that is new has used no time before.
    fn forget_cpu(&mut self) {
        for (cpu, usage) in self.cpu.iter_mut().zip(usages(&*self.world.scene)) {
            *cpu = usage.cpu;
        }
    }

    /// A glance between two samples: what it tells goes into the next one.
    fn look(&mut self, soak: &mut Soak<'_>) -> Result<Glance, Stopped> {
        let load = self.load.as_mut().ok_or(Stopped::Missing("load"))?;
        let glance = load.glance(self.final_below)?;
        let news = soak.books.enter(&glance);
        if news.lost > 0 {
            let [up, down] = [&soak.books.up, &soak.books.down].map(|way| way.missing.last().copied());
            soak.progress.note(&format!(
                "{}: {} packets are lost; the last (number, how many) from the device {up:?}, to it {down:?}",
                judge::clock(soak.start.elapsed().as_secs_f64()),
                news.lost
            ));
        }
        self.between.add(news);
        for (gap, seen) in self.gaps.iter_mut().zip([&glance.up.1, &glance.down.1]) {
            *gap = (*gap).max(seen.gap_ns / 1000);
        }
        Ok(glance)
    }

    fn sample(&mut self, soak: &mut Soak<'_>) -> Result<(), Stopped> {
        let now = Instant::now();
        while let Some((_, sent)) = self.marks.front().filter(|(at, _)| now.duration_since(*at) >= FINAL) {
            self.final_below = *sent;
            self.marks.pop_front();
        }
        let glance = self.look(soak)?;
        self.marks.push_back((now, [glance.up.0.sent, glance.down.0.sent]));
        let sample = self.span(soak, now);
        soak.series.push(sample);
        soak.progress.sample(&sample, &soak.names, &soak.books, &soak.swaps);
        if self.world.scene.alive() {
            Ok(())
        } else {
            Err(Stopped::Missing("gateway or daemon any more: one has ended"))
        }
    }

    /// The span from the last sample to `now`.
    fn span(&mut self, soak: &Soak<'_>, now: Instant) -> Sample {
        let news = std::mem::take(&mut self.between);
        let [gap_up_us, gap_down_us] = std::mem::take(&mut self.gaps);
        let mut processes = [Held::default(); PROCESSES];
        for ((held, cpu), usage) in processes.iter_mut().zip(&mut self.cpu).zip(usages(&*self.world.scene)) {
            let used = usage.cpu.saturating_sub(*cpu);
            *cpu = usage.cpu;
            let cpu_ms = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
            *held = Held { resident: usage.resident, handles: usage.handles, cpu_ms };
        }
        let seconds = now.duration_since(self.sampled).as_secs_f64();
        self.sampled = now;
        Sample {
            at: now.duration_since(soak.start).as_secs_f64(),
            seconds,
            packets: news.packets,
            bytes: news.packets * self.mean_size() + news.tcp_bytes,
            gap_up_us,
            gap_down_us,
            lost: news.lost,
            lost_by_faults: news.lost_by_faults,
            swaps: std::mem::take(&mut self.swaps),
            processes,
        }
    }

    /// The sizes of the stamped packets visit every value up to the largest equally often.
    fn mean_size(&self) -> u64 {
        (crate::world::host::stamp::SMALLEST as u64 + u64::from(self.amount.mtu)) / 2
    }

    /// Stops the load, lets what is in flight arrive, and closes the books.
    fn finish(&mut self, soak: &mut Soak<'_>) -> Result<(), Stopped> {
        let Some(load) = self.load.take() else { return Ok(()) };
        let account: Account = load.finish()?;
        self.between.add(soak.books.close(&account));
        let sample = self.span(soak, Instant::now());
        soak.series.push(sample);
        account.troubles.iter().for_each(|trouble| soak.progress.note(trouble));
        let until = Instant::now() + AUDIT;
        let swaps = &mut soak.swaps;
        loop {
            swaps.audited = self.audit.swaps(&self.world.admin)?.saturating_sub(self.audited);
            if swaps.audited >= swaps.done || Instant::now() > until {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        swaps.handshakes = self.world.scene.wire()?.initiations.saturating_sub(self.handshakes);
        let expected = if soak.options.transport.uses_udp() { swaps.done } else { 0 };
        swaps.rekeys = swaps.handshakes.saturating_sub(expected);
        Ok(())
    }
}

/// What the processes hold; one that is gone, nothing.
fn usages(scene: &dyn Scene) -> Vec<Usage> {
    let nothing = Usage { resident: 0, handles: 0, cpu: Duration::ZERO };
    scene.processes().iter().map(|(_, pid)| usage::of(*pid).unwrap_or(nothing)).collect()
}
