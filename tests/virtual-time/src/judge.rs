//! What an engine said and sent, judged against what it may say and send.

use crate::{
    control::Happening,
    generations::{End, Life},
    node::Output,
    sim::{Sim, peer_of},
};
use std::time::Duration;
use vestibule_engine::{
    core::{Event, PeerId},
    generation::{DRAIN_EARLY, DRAIN_MAX, DRAIN_MIN, GenerationId, MAX_DRAINING},
};

/// How late a timer may be.
const SLACK: Duration = Duration::from_millis(600);

impl Sim {
    /// Takes in what one call left behind: events first, then datagrams, then frames.
    pub(crate) fn settle(&mut self, end: End, before: &[Option<u64>], carriers: &[u64], mut output: Output) {
        let complaints = std::mem::take(&mut self.node(end).complaints);
        self.complaints.extend(complaints.into_iter().map(|text| format!("{end:?}: {text}")));

        let carriers: Vec<_> = carriers.iter().map(|label| (*label, self.opens(end, *label))).collect();
        for event in std::mem::take(&mut output.events) {
            self.event(end, event);
        }
        let datagrams: Vec<_> = output.datagrams.iter().map(|(_, bytes)| bytes.clone()).collect();
        self.wire.judge(end, &datagrams, before, &self.generations, &mut self.complaints);
        self.transmit(end, &mut output);
        let now = self.clock.elapsed();
        for (frame, offload) in &output.frames {
            let frame = (frame.as_slice(), *offload);
            self.model.delivered(end, frame, &carriers, &self.generations, now, &mut self.complaints);
        }
    }

    fn opens(&self, end: End, label: u64) -> bool {
        self.generations.all.get(&label).is_some_and(|state| state.half(end).life.opens())
    }

    fn event(&mut self, end: End, event: Event) {
        if !matches!(event, Event::HandshakeSeen { .. }) {
            self.note(format!("{end:?} says {event:?}"));
        }
        match event {
            Event::Ready { peer, generation, .. } => {
                let Some(label) = self.named(end, peer, generation) else { return };
                let Some(state) = self.generations.all.get_mut(&label) else { return };
                let half = state.half_mut(end);
                if half.life != Life::Preparing {
                    self.complaints.push(format!("{end:?}: generation {label} is ready while {:?}", half.life));
                    return;
                }
                half.life = Life::Ready;
                if end != End::Gateway && state.automatic {
                    self.agenda.add(self.clock.elapsed(), Happening::Commit(label));
                }
            }
            Event::Committed { peer, generation, previous, swap_seq } => {
                self.committed(end, peer, generation, previous, swap_seq);
            }
            Event::Acknowledged { peer, generation } => {
                let Some(label) = self.named(end, peer, generation) else { return };
                let Some(state) = self.generations.all.get_mut(&label) else { return };
                // (An acknowledgement on its way survives the gateway that sent it.)
                if state.gateway_half.life.waits() && self.control.restarts == 0 {
                    self.complaints.push(format!("generation {label} acknowledged, the gateway has not committed"));
                }
                state.acknowledged = true;
                self.send_orders(state_device(&self.generations, label));
            }
            Event::Failed { peer, generation } => {
                let Some(label) = self.named(end, peer, generation) else { return };
                if let Some(state) = self.generations.all.get_mut(&label) {
                    state.half_mut(end).life = Life::Gone;
                    state.failed |= end != End::Gateway;
                }
                self.model.reassess(&self.generations, self.clock.elapsed());
                self.send_orders(state_device(&self.generations, label));
            }
            Event::Retired { peer, generation } => self.retired(end, peer, generation),
            Event::HandshakeSeen { peer_public_key, timestamp } => {
                if end != End::Gateway {
                    self.complaints.push(format!("{end:?} saw a handshake initiation"));
                }
                let kept = self.control.timestamps.entry(peer_public_key.0).or_insert(timestamp);
                if timestamp < *kept {
                    self.complaints.push("an older handshake timestamp was accepted".into());
                }
                *kept = timestamp;
            }
            Event::EndpointMoved { peer, endpoint, .. } => {
                let device = usize::try_from(peer.0).unwrap_or(usize::MAX).wrapping_sub(1);
                match self.devices.get_mut(device).filter(|_| end == End::Gateway) {
                    Some(device) => device.moved += 1,
                    None => self.complaints.push(format!("{end:?} moved its peer to {endpoint}")),
                }
            }
            _ => {}
        }
    }

    fn committed(&mut self, end: End, peer: PeerId, id: GenerationId, previous: Option<GenerationId>, swap_seq: u64) {
        let Some(label) = self.named(end, peer, id) else { return };
        let now = self.clock.elapsed();
        let device = state_device(&self.generations, label);
        let active = self.generations.active(end, device).map(|generation| generation.label);
        let told = previous.and_then(|previous| self.generations.label(end, previous));
        if told != active {
            self.complaints.push(format!("{end:?}: {label} follows {told:?}, but {active:?} was active"));
        }
        if swap_seq != label {
            self.complaints.push(format!("{end:?}: generation {label} committed as order {swap_seq}"));
        }
        let highest = self.control.committed.entry((end, device)).or_default();
        let again = end == End::Gateway && *highest == label && self.control.restarts > 0;
        if label <= *highest && !again {
            self.complaints.push(format!("{end:?}: order {label} committed after order {highest}"));
        }
        *highest = (*highest).max(label);
        if let Some(state) = self.generations.all.get_mut(&label) {
            if state.revoked {
                self.complaints.push(format!("{end:?}: the revoked generation {label} committed"));
            }
            let half = state.half_mut(end);
            if !half.life.waits() {
                self.complaints.push(format!("{end:?}: generation {label} committed while {:?}", half.life));
            }
            half.life = Life::Active;
            half.since = now;
        }
        if let Some(old) = active.and_then(|active| self.generations.all.get_mut(&active)) {
            old.half_mut(end).life = Life::Draining(now);
        }
        let count = self.draining(end, device);
        if count > MAX_DRAINING {
            self.complaints.push(format!("{end:?}: {count} generations of device {device} drain"));
        }
        if end == End::Gateway {
            self.control.audit += 1;
        }
        self.model.reassess(&self.generations, now);
    }

    fn retired(&mut self, end: End, peer: PeerId, id: GenerationId) {
        let Some(label) = self.named(end, peer, id) else { return };
        let now = self.clock.elapsed();
        let draining = self.draining(end, state_device(&self.generations, label));
        let Some(state) = self.generations.all.get_mut(&label) else { return };
        let half = state.half_mut(end);
        match half.life {
            // Only a fifth one makes the oldest give way sooner: a device then still waits for what is in flight.
            Life::Draining(since)
                if now > since + DRAIN_MAX + SLACK
                    || now < since + DRAIN_MIN && draining < MAX_DRAINING
                    || now < since + DRAIN_EARLY && end != End::Gateway =>
            {
                self.complaints.push(format!("{end:?}: generation {label} drained for {:?}", now - since));
            }
            Life::Active => {
                self.complaints.push(format!("{end:?}: the active generation {label} retired by itself"));
            }
            _ => {}
        }
        half.life = Life::Gone;
        self.model.reassess(&self.generations, now);
    }

    fn draining(&self, end: End, device: usize) -> usize {
        self.generations.of(device).filter(|state| matches!(state.half(end).life, Life::Draining(_))).count()
    }

    /// The label behind an event's names.
    fn named(&mut self, end: End, peer: PeerId, id: GenerationId) -> Option<u64> {
        let label = self.generations.label(end, id).filter(|label| {
            let device = state_device(&self.generations, *label);
            peer == if end == End::Gateway { peer_of(device) } else { PeerId(0) }
        });
        if label.is_none() {
            self.complaints.push(format!("{end:?} speaks of the unknown {id:?} of {peer:?}"));
        }
        label
    }
}

fn state_device(generations: &crate::generations::Generations, label: u64) -> usize {
    generations.all.get(&label).map_or(usize::MAX, |state| state.device)
}
