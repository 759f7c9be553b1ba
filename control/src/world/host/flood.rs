//! An attacker: rubbish, half messages and replays to the tunnel's port, as fast as asked.

use super::{serve, udp::Pace, unknown};
use crate::splitmix::mix;
use serde_json::json;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};
use vestibule_platform::measure::{BATCH, Meter, Sender};

pub(super) fn run(local: SocketAddr, target: SocketAddr, rate: u32, replay: &str) -> io::Result<()> {
    let replay: Vec<Vec<u8>> = replay.split(',').filter_map(|text| hex::decode(text).ok()).collect();
    let meter = Meter::open(local, target, 1 << 20)?;
    let sender = meter.sender()?;
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    thread::Builder::new().name("flood".to_owned()).spawn(move || flood(&sender, rate, &replay, &count))?;
    serve(|command, _| match command {
        "report" => Ok(json!({ "sent": sent.load(Ordering::SeqCst) })),
        _ => Err(unknown(command)),
    })
}

fn flood(sender: &Sender, rate: u32, replay: &[Vec<u8>], sent: &AtomicU64) {
    let datagrams: Vec<Vec<u8>> = (0..1024).map(|number| forged(number, replay)).collect();
    let mut pace = Pace::new(rate, Instant::now());
    let mut next = 0;
    loop {
        thread::sleep(pace.next_tick().saturating_duration_since(Instant::now()));
        let mut due = pace.due(Instant::now()) as usize;
        while due > 0 {
            let from = next % datagrams.len();
            let to = (from + due.min(BATCH)).min(datagrams.len());
            let batch: Vec<&[u8]> = datagrams[from..to].iter().map(Vec::as_slice).collect();
            // What the kernel does not take, or answers with ICMP, is no loss to an attacker.
            let taken = sender.send(&batch).unwrap_or(1);
            sent.fetch_add(taken as u64, Ordering::Relaxed);
            next += taken;
            due = due.saturating_sub(taken.max(1));
        }
    }
}

/// One of the attacker's datagrams.
fn forged(number: u64, replay: &[Vec<u8>]) -> Vec<u8> {
    let random = |length: usize| (0..length as u64).map(|at| mix(number << 20 ^ at, 1) as u8).collect::<Vec<u8>>();
    let message = |kind: u8, length: usize| {
        let mut bytes = random(length);
        bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
        bytes
    };
    match number % 8 {
        // A handshake initiation, a response and a cookie, all forged.
        0 => message(1, 148),
        1 => message(2, 92),
        2 => message(3, 64),
        // Data for an index that somebody may have, of several sizes.
        3 => message(4, 32 + (mix(number, 1) % 1400) as usize),
        // Cut short.
        4 => message(1, 100),
        5 => message(4, 12),
        6 if !replay.is_empty() => replay[(number / 8) as usize % replay.len()].clone(),
        _ => random(1 + (mix(number, 1) % 300) as usize),
    }
}
