//! What goes wrong on purpose, and what of it may be lost.

use super::{Soak, round::Round};
use crate::{
    soak::{
        faults::{Deed, Fault, Planned},
        report::Struck,
    },
    world::Stopped,
};
use std::time::{Duration, Instant};

/// Packets sent within this before a fault may still be on their way.
const FLYING: Duration = Duration::from_millis(300);
/// Longest wait for traffic after a fault.
const RECOVERY: Duration = Duration::from_secs(90);
/// Faults that are told one by one.
const MOST_FAULTS: usize = 10_000;

/// A fault under way.
pub(super) struct Under {
    fault: Fault,
    at: Instant,
    /// When what was done is taken back.
    ends: Option<Instant>,
    /// What had been sent when the fault was over; when that arrives, traffic flows again.
    over: Option<(Instant, [u64; 2])>,
}

impl Round {
    /// Does what is due, and says whether a fault is under way.
    pub(super) fn trouble(&mut self, soak: &mut Soak<'_>) -> Result<bool, Stopped> {
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
            if let (_, Some((_, deed))) = under.fault.deeds() {
                self.perform(deed)?;
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
        let (deed, back) = fault.deeds();
        if fault.loses() {
            // What is in flight just now may be caught by it.
            let flying = u64::from(self.amount.rate) * u64::try_from(FLYING.as_millis()).unwrap_or(0) / 1000;
            let glance = self.look(soak)?;
            let sent = [glance.up.0.sent, glance.down.0.sent];
            soak.books.allow_from(sent.map(|sent| sent.saturating_sub(flying)));
        }
        let at = Instant::now();
        self.perform(deed)?;
        if fault == Fault::GatewayRestart {
            // The administrator's connections are to the former one.
            (self.world.gateway, self.world.admin) = self.world.scene.seat()?;
            self.forget_cpu();
        }
        self.struck = Some(Under { fault, at, ends: back.map(|(after, _)| at + after), over: None });
        Ok(())
    }

    fn perform(&mut self, deed: Deed) -> Result<(), Stopped> {
        match deed {
            Deed::Wake => self.world.device.session("resume")?,
            Deed::Strike(blow) => self.world.scene.strike(blow)?,
        }
        Ok(())
    }
}
