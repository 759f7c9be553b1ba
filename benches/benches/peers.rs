//! What a packet costs a gateway with many peers, beside what it costs with one.
//!
//! `cargo bench -p vestibule-benches --bench peers`. The gateways are measured in turns, batch by batch, and the
//! least time of every batch over all turns counts: on a machine with other work the ratio holds still where the times
//! do not. The many peers are served round robin, which is the worst a cache can meet. One peer is measured with a single flow, and
//! with as many flows as the many peers have together: what is left then is the price of the peers.
#![allow(clippy::expect_used)]

use mimalloc::MiMalloc;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use vestibule_benches::crowd::{Crowd, Shape, behind, inside};
use vestibule_benches::parcel::Parcel;
use vestibule_benches::traffic::{Batch, Load};
use vestibule_engine::core::PeerKind;

/// The product's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Peers of the gateway with many.
const CONFIGURED: u32 = 10_000;
const ACTIVE: u32 = 1_000;
/// Frames that an adapter lends at a time.
const BATCH: usize = 16;
/// Frames in one measured turn: each of the active peers has its turn once.
const FRAMES: usize = ACTIVE as usize;
const TURNS: usize = 25;
const BATCHES: usize = FRAMES.div_ceil(BATCH);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| name.contains(argument.as_str()));
    let began = Instant::now();
    let mut many = Side::new(CONFIGURED, ACTIVE, 1);
    println!("{CONFIGURED} peers configured, {ACTIVE} of them connected, in {:.2?}, both ends", began.elapsed());
    set_up();
    let (mut single, mut few) = (Side::new(1, 1, 1), Side::new(1, 1, FRAMES as u32));
    println!(
        "| ns per packet | 1 peer, 1 flow | 1 peer, {ACTIVE} flows | {ACTIVE} of {CONFIGURED} peers | to 1 flow | to the flows |"
    );
    println!("|---|---|---|---|---|---|");
    for load in [Load::Tcp(40), Load::Tcp(4), Load::Udp(1200), Load::Udp(64)] {
        for (name, measure) in [("out", Side::outbound as fn(&mut Side, Load) -> Times), ("in", Side::inbound as _)] {
            if !wanted(name) && !wanted(&format!("{load:?}")) {
                continue;
            }
            let mut least = [[Duration::MAX; BATCHES]; 3];
            for turn in 0..TURNS {
                for (least, side) in least.iter_mut().zip([&mut single, &mut few, &mut many]) {
                    let taken = measure(side, load);
                    // The first turn makes the flows.
                    if turn > 0 {
                        least.iter_mut().zip(taken).for_each(|(least, taken)| *least = taken.min(*least));
                    }
                }
            }
            let [one, flows, peers] =
                least.map(|times| times.iter().sum::<Duration>().as_nanos() as f64 / (FRAMES * load.packets()) as f64);
            let (to_one, to_flows) = (peers / one, peers / flows);
            println!("| {load:?} {name} | {one:.0} | {flows:.0} | {peers:.0} | {to_one:.2} | {to_flows:.2} |");
        }
    }
}

/// Ten thousand peers by themselves.
fn set_up() {
    let mut crowd = Crowd::empty(PeerKind::Device);
    let began = Instant::now();
    for number in 0..CONFIGURED {
        crowd.configure(number, false).expect("a new peer");
    }
    println!("{CONFIGURED} peers configured in {:.2?}", began.elapsed());
}

/// The time of every batch of a turn.
type Times = [Duration; BATCHES];

/// One gateway with its devices, and the frames for one turn.
struct Side {
    crowd: Crowd,
    active: u32,
    /// Flows of each peer.
    flows: u32,
    outbound: Option<(Load, Batch)>,
    inbound: Option<(Load, Batch)>,
}

impl Side {
    fn new(configured: u32, active: u32, flows: u32) -> Self {
        let crowd = Crowd::new(Shape { configured, active, kind: PeerKind::Device }).expect("a crowd");
        Self { crowd, active, flows, outbound: None, inbound: None }
    }

    /// The frames of one turn: peer by peer, and flow by flow of each.
    fn frames(&self, load: Load, towards_devices: bool) -> Batch {
        let address = |net: ipnet::IpNet| -> IpAddr { net.addr() };
        let pairs = (0..FRAMES as u32).map(|number| {
            let device = address(inside(number % self.active));
            let other = address(behind(number % self.active));
            let port = 1024 + (number / self.active % self.flows) as u16;
            if towards_devices { (other, device, port) } else { (device, other, port) }
        });
        Batch::new(load, pairs)
    }

    /// Gateway: adapter to socket.
    fn outbound(&mut self, load: Load) -> Times {
        if self.outbound.as_ref().is_none_or(|(former, _)| *former != load) {
            self.outbound = Some((load, self.frames(load, true)));
        }
        let Some((_, frames)) = &mut self.outbound else { return [Duration::MAX; BATCHES] };
        let now = self.crowd.now;
        let sealed = self.crowd.gateway.counters().sealed.get();
        let mut times = [Duration::MAX; BATCHES];
        for (first, time) in (0..FRAMES).step_by(BATCH).zip(&mut times) {
            let began = Instant::now();
            self.crowd.gateway.handle_frames(&mut frames.lend(first, BATCH.min(FRAMES - first)), now);
            black_box(self.crowd.gateway.transmits().len());
            self.crowd.gateway.transmits().release(usize::MAX);
            *time = began.elapsed();
        }
        let sealed = self.crowd.gateway.counters().sealed.get() - sealed;
        assert_eq!(sealed, (FRAMES * load.packets()) as u64, "every packet was sealed");
        times
    }

    /// Gateway: socket to adapter. A datagram opens once, so that each needs its own, sealed while nobody counts.
    fn inbound(&mut self, load: Load) -> Times {
        if self.inbound.as_ref().is_none_or(|(former, _)| *former != load) {
            self.inbound = Some((load, self.frames(load, false)));
        }
        let Some((_, frames)) = &mut self.inbound else { return [Duration::MAX; BATCHES] };
        let now = self.crowd.now;
        let mut parcels: Vec<Parcel> = (0..FRAMES)
            .step_by(BATCH)
            .map(|first| {
                let mut parcel = Parcel::default();
                for frame in first..FRAMES.min(first + BATCH) {
                    // One by one: with one peer they would share a datagram, with many they cannot.
                    self.crowd.devices.handle_frames(&mut frames.lend(frame, 1), now);
                    parcel.add(&mut self.crowd.devices);
                }
                parcel
            })
            .collect();
        let delivered = self.crowd.gateway.counters().delivered.get();
        let mut times = [Duration::MAX; BATCHES];
        for (parcel, time) in parcels.iter_mut().zip(&mut times) {
            let began = Instant::now();
            self.crowd.gateway.handle_datagrams(&mut parcel.lend(), now);
            black_box(self.crowd.gateway.deliveries().frames().count());
            self.crowd.gateway.deliveries().clear();
            *time = began.elapsed();
        }
        let delivered = self.crowd.gateway.counters().delivered.get() - delivered;
        assert_eq!(delivered, (FRAMES * load.packets()) as u64, "every packet was delivered");
        times
    }
}
