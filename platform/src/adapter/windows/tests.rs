//! The real adapter, library calls and all, over the stand-in `wintun.dll`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    stand_in::{Counts, Host, Lost},
    testing::stand_in,
    *,
};
use crate::{
    adapter::{Removed, ring::NUDGE},
    wait::{Interest, wait},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(10);
const SMALL: u32 = 0x2_0000;
const LEN: usize = 100;

fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0; LEN];
    packet[0] = 0x45;
    packet[20..24].copy_from_slice(&number.to_be_bytes());
    packet
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[20..24].try_into().unwrap())
}

/// An adapter with the smallest rings, and its host.
fn adapter(name: &str) -> Option<(Tun, Host)> {
    stand_in()?;
    let tun = Tun::open_by(Library::load().unwrap(), &TunConfig::new(name), SMALL).unwrap();
    Some((tun, Host::of(name).unwrap()))
}

fn read_all(tun: &mut Tun) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    loop {
        let mut batch = tun.read()?;
        while let Some(frame) = batch.next_frame() {
            numbers.push(number(frame.bytes));
        }
        drop(batch);
        if tun.read_report().drained {
            return Ok(numbers);
        }
    }
}

fn write(tun: &mut Tun, numbers: std::ops::Range<u32>) -> WriteReport {
    let mut queue = DeliveryQueue::default();
    numbers.for_each(|number| queue.push(&packet(number)));
    tun.write(&queue).unwrap()
}

/// Takes so many packets, but for nudges.
fn take(host: &Host, count: usize) -> Vec<u32> {
    std::iter::from_fn(|| host.take(SOON)).filter(|packet| *packet != NUDGE).take(count).map(|p| number(&p)).collect()
}

fn asleep(host: &Host) {
    let end = Instant::now() + SOON;
    while !host.sleeps() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(host.sleeps());
}

fn unread(counts: Counts) -> u64 {
    counts.sent - counts.read
}

#[test]
fn packets_pass_both_ways_many_times_round_the_rings() {
    let Some((mut tun, host)) = adapter("tun-both-ways") else { return };
    for first in (0..6000).step_by(150) {
        let chain: Vec<_> = (first..first + 150).map(packet).collect();
        host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
        assert_eq!(read_all(&mut tun).unwrap(), (first..first + 150).collect::<Vec<_>>());
        assert_eq!(write(&mut tun, first..first + 150).written, 150);
        assert_eq!(take(&host, 150), (first..first + 150).collect::<Vec<_>>());
    }
    assert_eq!((unread(host.counts()), host.counts().sessions), (0, 1));
}

#[test]
fn the_worker_is_woken_by_the_read_event() {
    let Some((mut tun, host)) = adapter("tun-event") else { return };
    let bell = Bell::new().unwrap();
    assert!(read_all(&mut tun).unwrap().is_empty());
    let sender = std::thread::spawn({
        let host = host.clone();
        move || host.send(&[&packet(7)])
    });
    let ready = wait(&bell, &Interest { adapter: tun.handle(), ..Interest::default() }, Some(SOON)).unwrap();
    assert!(ready.adapter);
    sender.join().unwrap().unwrap();
    assert_eq!(read_all(&mut tun).unwrap(), [7]);
}

#[test]
fn a_corrupt_ring_costs_what_lies_in_it_and_keeps_the_adapter() {
    let Some((mut tun, host)) = adapter("tun-corrupt") else { return };
    let (luid, guid) = (tun.luid(), stand_in::guid(tun.luid()));
    assert_eq!(guid, Some(guid::of_name("tun-corrupt")));
    for round in 1..=5 {
        host.send(&[&packet(1)]).unwrap();
        assert_eq!(read_all(&mut tun).unwrap(), [1]);
        let before = unread(host.counts());
        assert!(host.race(LEN));
        assert!(read_all(&mut tun).unwrap().is_empty());
        let lost = unread(host.counts());
        assert!(lost > before);
        assert_eq!(host.counts().sessions, 1 + round);
        host.send(&[&packet(2)]).unwrap();
        assert_eq!(read_all(&mut tun).unwrap(), [2]);
        assert_eq!(write(&mut tun, 0..3).written, 3);
        assert_eq!(take(&host, 3), [0, 1, 2]);
        assert_eq!(unread(host.counts()), lost);
    }
    assert_eq!((tun.luid(), stand_in::guid(tun.luid())), (luid, guid), "the same adapter");
}

#[test]
fn a_race_for_the_packet_in_use_costs_what_lies_in_the_ring() {
    let Some((mut tun, host)) = adapter("tun-in-use") else { return };
    for round in 0..6 {
        // Not the first in its ring: what overwrites the ring's start lies behind its end.
        host.send(&[&packet(7)]).unwrap();
        assert_eq!(read_all(&mut tun).unwrap(), [7]);
        host.send(&[&packet(round)]).unwrap();
        let mut batch = tun.read().unwrap();
        assert_eq!(number(batch.next_frame().unwrap().bytes), round);
        assert!(host.race(LEN));
        if round % 2 == 0 {
            assert!(batch.next_frame().is_none());
        }
        drop(batch);
        assert_eq!(tun.read_report().restarts, 1);
    }
    for first in (0..5000).step_by(50) {
        let chain: Vec<_> = (first..first + 50).map(packet).collect();
        host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
        assert_eq!(read_all(&mut tun).unwrap(), (first..first + 50).collect::<Vec<_>>());
    }
    assert_eq!((host.counts().sessions, host.counts().dropped_full), (7, 0));
}

#[test]
fn a_new_session_waits_until_the_driver_has_let_go_of_the_former() {
    let Some(_) = stand_in() else { return };
    let library = Library::load().unwrap();
    let _made = Device::create(&library, "tun-let-go", KIND, 7).unwrap();
    let open = || Device::open(&library, "tun-let-go").unwrap();
    let former = Session::start(open(), SMALL).unwrap();
    let mut next = Session::of(open(), SMALL);
    let busy = next.begin_within(Duration::ZERO).unwrap_err();
    assert_eq!(busy.raw_os_error(), Some(ERROR_ALREADY_INITIALIZED.cast_signed()));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(former);
        });
        next.begin_within(6 * SOON).unwrap();
    });
}

#[test]
fn a_full_outbound_ring_costs_whole_chains() {
    let Some((mut tun, host)) = adapter("tun-chains") else { return };
    let mut taken = Vec::new();
    for first in (0..3000).step_by(7) {
        let chain: Vec<_> = (first..first + 7).map(packet).collect();
        match host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()) {
            Ok(()) => taken.extend(first..first + 7),
            Err(lost) => assert_eq!(lost, Lost::Full),
        }
    }
    assert!(host.counts().dropped_full > 0);
    assert_eq!(read_all(&mut tun).unwrap(), taken);
}

#[test]
fn a_host_that_keeps_the_ring_costs_what_does_not_fit() {
    let Some((mut tun, host)) = adapter("tun-kept") else { return };
    let fits = u64::from((SMALL - 4) / (LEN as u32 + 4));
    host.keep(true);
    let report = write(&mut tun, 0..2000);
    assert_eq!((report.written, report.full, report.dropped()), (fits, 2000 - fits, 2000 - fits));
    assert_eq!(take(&host, fits as usize), (0..fits as u32).collect::<Vec<_>>());
    host.keep(false);
    assert_eq!(write(&mut tun, 0..1000).written, 1000);
    assert_eq!(take(&host, 1000), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_missed_wakeup_is_made_good_by_a_nudge() {
    let Some((mut tun, host)) = adapter("tun-nudge") else { return };
    asleep(&host);
    host.miss_wakeups(1);
    assert_eq!(write(&mut tun, 0..1).written, 1);
    assert_eq!((host.counts().missed, host.counts().indicated), (1, 0));
    assert!(tun.nudge_at().is_some());
    tun.nudge().unwrap();
    assert_eq!(take(&host, 1), [0]);
    assert_eq!(host.counts().discarded, 0);
}

#[test]
fn an_adapter_that_is_taken_away_is_removed() {
    let Some((mut tun, host)) = adapter("tun-removed") else { return };
    assert!(host.remove());
    let error = read_all(&mut tun).unwrap_err();
    assert!(error.get_ref().is_some_and(|error| error.is::<Removed>()), "{error}");
    drop(tun);
    let again = adapter("tun-removed").unwrap();
    assert_eq!(again.0.name(), "tun-removed");
}

#[test]
fn an_adapter_that_is_there_is_opened_and_serves_one_program() {
    let Some((first, host)) = adapter("tun-second") else { return };
    match Tun::open(&TunConfig::new("tun-second")) {
        Err(AdapterError::Busy { name }) => assert_eq!(name, "tun-second"),
        other => panic!("expected an adapter in use, got {other:?}"),
    }
    assert_eq!(host.counts().sessions, 1);
    drop(first);
    let (second, _) = adapter("tun-second").unwrap();
    assert_eq!(stand_in::guid(second.luid()), Some(guid::of_name("tun-second")), "Windows sees the same network");
}

#[test]
fn a_name_of_another_identity_is_taken() {
    let Some(_) = stand_in() else { return };
    let library = Library::load().unwrap();
    let _theirs = Device::create(&library, "tun-theirs", "Other", 7).unwrap();
    match Tun::open(&TunConfig::new("tun-theirs")) {
        Err(AdapterError::Taken { name }) => assert_eq!(name, "tun-theirs"),
        other => panic!("expected a taken name, got {other:?}"),
    }
    assert!(matches!(Tun::open(&TunConfig::new("a/b")), Err(AdapterError::Name { .. })));
}

#[test]
fn an_interface_of_another_kind_is_in_the_way() {
    let Some(_) = stand_in() else { return };
    // Wine's name for the loopback interface; Windows' own is longer than ours may be.
    let name = "lo";
    if interface::guid_of_alias(name).is_none() {
        println!("skipped: no interface has a name that an adapter may have");
        return;
    }
    match Tun::open(&TunConfig::new(name)) {
        Err(AdapterError::Taken { name: taken }) => assert_eq!(taken, name),
        other => panic!("expected a taken name, got {other:?}"),
    }
}

/// A file of this name and content, in a folder of its own, until it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let folder = std::env::temp_dir().join(format!("vestibule-wintun-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("wintun.dll"), content).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("wintun.dll")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_missing_library_is_told_with_its_place() {
    let path = Path::new("C:\\no\\such\\folder\\wintun.dll");
    match Library::load_from(path, true) {
        Err(error @ LibraryError::Missing { .. }) => assert!(error.to_string().contains("no\\such\\folder"), "{error}"),
        other => panic!("expected a missing library, got {other:?}"),
    }
}

#[test]
fn what_is_no_library_or_for_another_processor_is_told_before_it_is_loaded() {
    let text = Scratch::new("text", b"this is no library");
    assert!(matches!(Library::load_from(&text.file(), true), Err(LibraryError::NoLibrary)));
    let mut foreign = vec![0; 512];
    foreign[..2].copy_from_slice(b"MZ");
    foreign[0x3c] = 0x80;
    foreign[0x80..0x86].copy_from_slice(b"PE\0\0\x4c\x01");
    let foreign = Scratch::new("foreign", &foreign);
    match Library::load_from(&foreign.file(), true) {
        Err(LibraryError::Architecture { got, .. }) => assert_eq!(got, "x86"),
        other => panic!("expected another architecture, got {other:?}"),
    }
}

#[test]
fn an_unsigned_library_is_refused_unless_tests_allow_it() {
    let Some(path) = stand_in() else { return };
    match Library::load_from(&path, false) {
        Err(LibraryError::Unsigned { code }) => assert_ne!(code, 0),
        other => panic!("expected an unsigned library, got {other:?}"),
    }
}

#[test]
fn a_library_without_the_functions_is_too_old() {
    // Any library of the system's will do.
    let system = PathBuf::from(std::env::var_os("SystemRoot").unwrap()).join("system32\\version.dll");
    match Library::load_from(&system, true) {
        Err(LibraryError::Old { function }) => assert_eq!(function, "WintunCreateAdapter"),
        other => panic!("expected an old library, got {other:?}"),
    }
}
