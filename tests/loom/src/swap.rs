//! Commit and retirement: control's thread posts them, the worker's thread carries packets, the host's sends them.
//!
//! The worker is the platform's loop in small: it sleeps until its bell rings, opens its mailbox, then takes a packet
//! batch and seals it under the generation that is active.

use crate::{
    mailbox::Mailbox,
    sync::{Arc, Condvar, Mutex, lock},
};
use loom::{model::Builder, thread};
use std::{collections::VecDeque, mem};

/// Interleavings with at most two preemptions: with three they are too many for a run of the tests.
fn explore(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

/// As `wait::Bell`: rings are not counted, and one before the wait is not lost.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !mem::take(&mut *rung) {
            rung = self.changed.wait(rung).unwrap();
        }
    }
}

/// An answer that is given, or dropped with its command.
struct Answer(Arc<(Mutex<Option<bool>>, Condvar)>);

impl Answer {
    fn new() -> (Self, Self) {
        let shared = Arc::new((Mutex::new(None), Condvar::new()));
        (Self(shared.clone()), Self(shared))
    }

    fn give(&self, done: bool) {
        lock(&self.0.0).get_or_insert(done);
        self.0.1.notify_one();
    }

    /// Whether the command ran.
    fn wait(&self) -> bool {
        let mut answer = lock(&self.0.0);
        loop {
            if let Some(answer) = *answer {
                return answer;
            }
            answer = self.0.1.wait(answer).unwrap();
        }
    }
}

/// The worker's end of an answer.
struct Owed(Answer);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.give(false);
    }
}

enum Command {
    Commit(u32, Owed),
    Retire(u32, Owed),
    Stop,
}

/// What has left: each packet's number, and the generation that sealed it.
#[derive(Default)]
struct Wire {
    packets: Mutex<Vec<(u32, u32)>>,
    changed: Condvar,
}

impl Wire {
    fn put(&self, packet: u32, generation: u32) {
        lock(&self.packets).push((packet, generation));
        self.changed.notify_one();
    }

    /// All of it, once there are so many.
    fn wait_for(&self, count: usize) -> Vec<(u32, u32)> {
        let mut packets = lock(&self.packets);
        while packets.len() < count {
            packets = self.changed.wait(packets).unwrap();
        }
        packets.clone()
    }
}

struct World {
    mailbox: Mailbox<Command, &'static str>,
    bell: Bell,
    frames: Mutex<VecDeque<u32>>,
    wire: Wire,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(),
            bell: Bell::default(),
            frames: Mutex::new(VecDeque::new()),
            wire: Wire::default(),
        })
    }

    fn send(&self, packet: u32) {
        lock(&self.frames).push_back(packet);
        self.bell.ring();
    }

    fn post(&self, command: Command) -> Result<(), &'static str> {
        self.mailbox.post(command)?;
        self.bell.ring();
        Ok(())
    }

    /// As `Handle::with`: true when it ran, and otherwise the reason must be there.
    fn ask(&self, command: impl FnOnce(Owed) -> Command) -> Result<(), &'static str> {
        let (ours, theirs) = Answer::new();
        self.post(command(Owed(theirs)))?;
        if ours.wait() { Ok(()) } else { Err(self.mailbox.wait_for_end()) }
    }

    fn work(&self) {
        let (mut active, mut keys) = (1, vec![1]);
        loop {
            self.bell.wait();
            while let Some(command) = self.mailbox.take() {
                match command {
                    Command::Commit(generation, owed) => {
                        keys.push(generation);
                        active = generation;
                        owed.0.give(true);
                    }
                    Command::Retire(generation, owed) => {
                        keys.retain(|key| *key != generation);
                        owed.0.give(true);
                    }
                    Command::Stop => return self.mailbox.close("asked to"),
                }
            }
            let batch = mem::take(&mut *lock(&self.frames));
            for packet in batch {
                assert!(keys.contains(&active), "sealed under keys that are gone");
                self.wire.put(packet, active);
            }
        }
    }
}

fn worker(world: &Arc<World>) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || world.work())
}

/// Every packet leaves, once and in order; after the commit is acknowledged all leave under the new identity.
#[test]
fn a_swap_loses_and_mixes_nothing() {
    explore(|| {
        let world = World::new();
        let thread = worker(&world);
        let control = thread::spawn({
            let world = world.clone();
            move || {
                world.ask(|owed| Command::Commit(2, owed)).unwrap();
                // From here on it is the new one's.
                world.send(10);
                world.ask(|owed| Command::Retire(1, owed)).unwrap();
            }
        });
        world.send(1);
        control.join().unwrap();
        world.wire.wait_for(2);
        world.post(Command::Stop).unwrap();
        thread.join().unwrap();
        let wire = world.wire.wait_for(2);
        assert_eq!(wire.len(), 2);
        assert!(wire.contains(&(10, 2)), "{wire:?}");
        assert!(wire.is_sorted_by_key(|(_, generation)| *generation), "an old one after a new one: {wire:?}");
    });
}

/// Whoever asks a worker that stops meanwhile gets an answer or its reason, and nobody waits for ever.
#[test]
fn who_asks_while_it_stops_hears_of_it() {
    explore(|| {
        let world = World::new();
        let thread = worker(&world);
        let asking = thread::spawn({
            let world = world.clone();
            move || world.ask(|owed| Command::Commit(2, owed))
        });
        world.post(Command::Stop).unwrap();
        let outcome = asking.join().unwrap();
        assert!(matches!(outcome, Ok(()) | Err("asked to")));
        assert_eq!(world.mailbox.wait_for_end(), "asked to");
        assert_eq!(world.ask(|owed| Command::Retire(1, owed)), Err("asked to"));
        thread.join().unwrap();
        assert_eq!(world.mailbox.end(), Some("asked to"));
    });
}

/// Two threads of control: each one's commands run in its order, and the last commit stands.
#[test]
fn commands_run_in_the_order_in_which_they_were_posted() {
    explore(|| {
        let world = World::new();
        let thread = worker(&world);
        let other = thread::spawn({
            let world = world.clone();
            move || {
                world.post(Command::Commit(2, Owed(Answer::new().0))).unwrap();
                world.ask(|owed| Command::Commit(3, owed)).unwrap();
                world.send(1);
            }
        });
        other.join().unwrap();
        assert_eq!(world.wire.wait_for(1), [(1, 3)]);
        world.post(Command::Stop).unwrap();
        thread.join().unwrap();
    });
}
