//! Where a gateway may be reached over UDP, and which of these places is tried.
//!
//! A network may let one port through and not another. A place has a while to answer anything at all; then another one has
//! its turn, and the usual one every second time, for most silence is a gateway that is away. When all have had theirs the
//! round is over, and they have longer in the next one.

use std::time::{Duration, Instant};

/// How long a place may be silent in the first round,
const PATIENCE: Duration = Duration::from_secs(1);
/// and at most, in later ones.
const PATIENCE_MAX: Duration = Duration::from_secs(8);

/// What becomes of an attempt that nobody has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It may still be answered.
    Bearable,
    /// Another place is to be tried.
    Next,
    /// That was the last of the round.
    Over,
}

/// The places of one gateway.
#[derive(Debug)]
pub(super) struct Candidates {
    count: usize,
    /// The one that has answered last.
    usual: usize,
    /// How many of this round were silent.
    silent: usize,
    patience: Duration,
    /// When the current attempt began.
    since: Option<Instant>,
}

impl Candidates {
    pub(super) fn new(count: usize) -> Self {
        Self { count: count.max(1), usual: 0, silent: 0, patience: PATIENCE, since: None }
    }

    /// Which one is to be tried.
    pub(super) fn current(&self) -> usize {
        if self.silent.is_multiple_of(2) {
            return self.usual;
        }
        // The others, in order.
        let other = self.silent / 2;
        if other < self.usual { other } else { other + 1 }
    }

    /// It is being tried from now on.
    pub(super) fn begun(&mut self, now: Instant) {
        self.since = (self.count > 1).then_some(now);
    }

    /// It is not being tried any more.
    pub(super) fn left(&mut self) {
        self.since = None;
    }

    /// A tunnel stands there: the next round, if there ever is one, is a first one.
    pub(super) fn opened(&mut self) {
        self.answered();
        self.patience = PATIENCE;
    }

    fn answered(&mut self) {
        (self.usual, self.silent, self.since) = (self.current(), 0, None);
    }

    /// When to ask [`Self::look`].
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.since.map(|since| since + self.patience)
    }

    /// Whether silence has lasted too long. `heard`: when the last datagram came, or the attempt began.
    pub(super) fn look(&mut self, heard: Option<Instant>, now: Instant) -> Silence {
        let Some(since) = self.since else { return Silence::Bearable };
        if heard.is_some_and(|heard| heard > since) {
            self.answered();
            return Silence::Bearable;
        }
        if now < since + self.patience {
            return Silence::Bearable;
        }
        self.since = None;
        self.silent += 1;
        if self.silent < 2 * (self.count - 1) {
            return Silence::Next;
        }
        self.silent = 0;
        self.patience = (self.patience * 2).min(PATIENCE_MAX);
        Silence::Over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Those that are tried while nobody answers, each with its patience, until the round is over.
    fn round(candidates: &mut Candidates, now: &mut Instant) -> Vec<(usize, Duration)> {
        let mut seen = Vec::new();
        loop {
            candidates.begun(*now);
            assert_eq!(candidates.look(Some(*now), *now), Silence::Bearable);
            let (began, until) = (*now, candidates.look_at().unwrap());
            seen.push((candidates.current(), until - began));
            *now = until;
            match candidates.look(Some(began), *now) {
                Silence::Next => {}
                Silence::Over => return seen,
                Silence::Bearable => panic!("borne too long"),
            }
        }
    }

    #[test]
    fn silent_places_have_their_turns_and_longer_ones_in_each_round() {
        let mut now = Instant::now();
        let mut candidates = Candidates::new(4);
        for patience in [1, 2, 4, 8, 8].map(Duration::from_secs) {
            let seen = round(&mut candidates, &mut now);
            assert_eq!(seen, [0, 1, 0, 2, 0, 3].map(|place| (place, patience)));
        }
    }

    #[test]
    fn one_that_answers_is_the_usual_one() {
        let mut now = Instant::now();
        let mut candidates = Candidates::new(4);
        for _ in 0..3 {
            candidates.begun(now);
            now += PATIENCE;
            candidates.look(None, now);
        }
        assert_eq!(candidates.current(), 2);
        candidates.begun(now);
        let later = now + PATIENCE * 9;
        assert_eq!(candidates.look(Some(now + Duration::from_millis(1)), later), Silence::Bearable);
        assert_eq!((candidates.current(), candidates.look_at()), (2, None));
        candidates.opened();
        let places: Vec<_> = round(&mut candidates, &mut now).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, [2, 0, 2, 1, 2, 3]);
    }

    #[test]
    fn a_single_place_is_never_given_up() {
        let now = Instant::now();
        let mut candidates = Candidates::new(1);
        candidates.begun(now);
        assert_eq!((candidates.look_at(), candidates.look(Some(now), now + PATIENCE * 9)), (None, Silence::Bearable));
    }
}
