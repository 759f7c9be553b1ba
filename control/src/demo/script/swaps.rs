//! The second part: one registration per user, and identities swapped by log-on and log-off under load.

use super::{super::verdict::Verdict, World, walk::eventually};
use crate::world::{
    Stopped,
    probe::Question,
    scene::{Account, Traffic},
    setup::BOB,
    swaps::{Turns, moment, register},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// A line of the timeline every so often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Runs the second part.
pub(super) fn run(world: &mut World<'_>, verdict: &mut Verdict) -> Result<Account, Stopped> {
    let timeline = world.timeline;
    let wanted = world.options.swaps;
    timeline.chapter(format_args!("One registration per user, {wanted} swaps"));
    let address = register(&mut world.device, &world.token, &world.gateway, &*world.scene)?;
    timeline.note(format_args!("mdm.xml now says multi_user; {} registers once, and logs off", BOB.email));

    let mut load = world.scene.load(address, world.amount, 2)?;
    thread::sleep(Duration::from_millis(500));
    let handshakes = world.scene.wire()?;
    let recorded = world.audit.swaps(&world.admin)?;
    let mut round =
        Round { world, done: 0, wrong_rules: 0, slowest: Duration::ZERO, handshakes: handshakes.initiations };
    let ended = round.all(&mut *load, wanted);
    let Round { done, wrong_rules, slowest, .. } = round;

    // The gateway writes its audit in batches.
    let audited = eventually(Duration::from_secs(3), || {
        let audited = world.audit.swaps(&world.admin)? - recorded;
        Ok((audited >= u64::from(done)).then_some(audited))
    })?;
    let audited = match audited {
        Some(audited) => audited,
        None => world.audit.swaps(&world.admin)? - recorded,
    };
    let after = world.scene.wire()?;
    let on_the_wire = after.initiations - handshakes.initiations;
    let account = load.finish()?;
    world.tell(&account);
    timeline.note(format_args!("{done} swaps done, the slowest took {} ms", slowest.as_millis()));

    verdict.number("swaps", done);
    verdict.number("swaps_audited", audited);
    verdict.number("handshakes_on_the_wire", on_the_wire);
    verdict.number("swap_slowest_ms", u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX));
    verdict.check("identity swaps", format!("{done} of {wanted}"), done == wanted);
    verdict.check("swaps in the gateway's audit", audited, audited == u64::from(done));
    let counted = format!("{on_the_wire} (capture missed {})", after.missed);
    let expected = u64::from(done) * u64::from(world.options.transport.uses_udp());
    verdict.check("handshakes on the wire, by UDP", counted, on_the_wire == expected && after.missed == 0);
    let obeyed = format!("{} of {done}", done - wrong_rules);
    verdict.check("after each swap, the rules of its identity", obeyed, wrong_rules == 0);
    if let Err(error) = ended {
        verdict.check("every swap came to its end", crate::causes::chain(&error), false);
    }
    Ok(account)
}

/// The loop's state.
struct Round<'a, 'b> {
    world: &'a mut World<'b>,
    done: u32,
    wrong_rules: u32,
    slowest: Duration,
    handshakes: u64,
}

impl Round<'_, '_> {
    fn all(&mut self, load: &mut dyn Traffic, wanted: u32) -> Result<(), Stopped> {
        let spacing = Duration::from_millis(u64::from(self.world.options.spacing));
        let mut told = Instant::now();
        let (mut turns, mut commit) = (Turns::after_registration(), None);
        while self.done < wanted {
            let begun = Instant::now();
            let status = turns.next(&mut self.world.device)?;
            let (on, identity) = (turns.on(), turns.identity());
            self.slowest = self.slowest.max(begun.elapsed());
            self.done += 1;
            let web = self.world.scene.ask(Question::Web)?;
            if (on && !web.answered()) || (!on && !web.refused()) {
                self.wrong_rules += 1;
                self.world.timeline.note(format_args!("as {identity}, the intranet: {web}"));
            }
            let handshakes = self.world.scene.wire()?.initiations;
            if handshakes != self.handshakes + u64::from(self.world.options.transport.uses_udp()) {
                let more = handshakes.abs_diff(self.handshakes);
                // The receiver index that each initiator chose tells whether one generation tried twice.
                let recorded = self.world.scene.recorded()?;
                let indexes: Vec<&str> =
                    recorded.iter().take(more as usize + 1).filter_map(|message| message.get(8..16)).collect();
                self.world.timeline.note(format_args!(
                    "swap {}, to {identity}: {more} handshakes on the wire, by {indexes:?} (newest first)",
                    self.done
                ));
            }
            self.handshakes = handshakes;
            // The one before: its ± 50 ms have passed by now.
            if let Some(moment) = commit.replace(moment(&status)?) {
                load.measure_gap(moment)?;
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.world.timeline.note(format_args!("{} swaps; now {identity}", self.done));
            }
            thread::sleep(spacing);
        }
        if let Some(moment) = commit {
            thread::sleep(Duration::from_millis(60));
            load.measure_gap(moment)?;
        }
        Ok(())
    }
}
