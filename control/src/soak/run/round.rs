//! Traffic and swaps, until the time is over or somebody ends it.

use super::{Soak, tcp_rate_of, trouble::Under};
use crate::{
    soak::{books::News, faults::Planned, report::End, series::PROCESSES},
    world::{
        Stopped, World,
        probe::Question,
        scene::{Account, Amount, Traffic},
        swaps::{Audit, Turns},
    },
};
use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

/// Between two samples.
const SPAN: Duration = Duration::from_secs(1);
/// How often somebody is asked whether to end.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the gateway to write its audit, which it does in batches.
const AUDIT: Duration = Duration::from_secs(5);

/// What a run has under its hands.
pub(super) struct Round {
    pub(super) world: World,
    pub(super) load: Option<Box<dyn Traffic>>,
    pub(super) amount: Amount,
    turns: Turns,
    audit: Audit,
    /// Swaps and handshakes before the first of ours.
    audited: u64,
    handshakes: u64,
    /// What had been sent when: the numbers below become final after a while.
    pub(super) marks: VecDeque<(Instant, [u64; 2])>,
    pub(super) final_below: [u64; 2],
    /// What was seen since the last sample.
    pub(super) between: News,
    pub(super) gaps: [u64; 2],
    pub(super) sampled: Instant,
    pub(super) cpu: [Duration; PROCESSES],
    pub(super) swaps: u64,
    /// What goes wrong next, and when.
    pub(super) planned: Vec<(Instant, Planned)>,
    pub(super) struck: Option<Under>,
}

impl Round {
    /// Registers a user, and starts the load.
    pub(super) fn begin(soak: &mut Soak<'_>, mut world: World) -> Result<Self, Stopped> {
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
        // That of the registration may not be written yet, and is none of ours.
        let latest = world.device.status()?.swap_seq.unwrap_or(0);
        let audited = audit.swaps_with(&world.admin, latest, AUDIT)?;
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

    pub(super) fn all(&mut self, soak: &mut Soak<'_>) -> Result<End, Stopped> {
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
                // One that comes late is not made up for: a sample of a moment says nothing.
                let due = next_sample + SPAN;
                next_sample = if due > now { due } else { now + SPAN };
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

    /// Stops the load, lets what is in flight arrive, and closes the books.
    pub(super) fn finish(&mut self, soak: &mut Soak<'_>) -> Result<(), Stopped> {
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
