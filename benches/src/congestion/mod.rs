//! `congestion`: controllers of a MASQUE tunnel, over seeded paths in virtual time.
//!
//! Real QUIC connections of the engine at both ends carry a model of TCP (CUBIC) in real IP packets, over a path of
//! which delay, loss, rate and queue are known; a bare flow takes the same path beside them or instead of them.

mod flow;
mod world;

use std::process::ExitCode;
use std::time::Duration;
use vestibule_engine::masque::session::Congestion;
use vestibule_platform::sandbox::path::Shape;
use world::{Load, Outcome, World};

/// What is compared; the first is no tunnel at all.
const WAYS: [(&str, Option<Congestion>); 5] = [
    ("bare", None),
    ("off", Some(Congestion::Off)),
    ("breaker", Some(Congestion::Breaker)),
    ("cubic", Some(Congestion::Cubic)),
    ("bbr", Some(Congestion::Bbr)),
];
/// One way. A round trip is twice that.
const DELAY: Duration = Duration::from_millis(20);
/// Of the bottleneck where there is one.
const RATE: u64 = 50_000_000;
/// What comes before is not counted,
const SETTLE: Duration = Duration::from_secs(10);
/// and so long is.
const TIME: Duration = Duration::from_secs(40);

struct Scene {
    name: &'static str,
    shape: Shape,
    load: Load,
}

fn scenes() -> Vec<Scene> {
    let full = Shape::bandwidth_delay_product(RATE, DELAY);
    let lossy = |loss| Shape { rate: Some(1_000_000_000), queue: 5_000_000, delay: DELAY, loss, seed: 7 };
    let narrow = |queue| Shape { rate: Some(RATE), queue, delay: DELAY, loss: 0.0, seed: 7 };
    let tcp = |inside| Load { inside, ..Load::default() };
    let scene = |name, shape, load| Scene { name, shape, load };
    vec![
        scene("1 flow, 0.1 % loss", lossy(0.001), tcp(1)),
        scene("4 flows, 0.1 % loss", lossy(0.001), tcp(4)),
        scene("4 flows, 1 % loss", lossy(0.01), tcp(4)),
        scene("4 flows, 3 % loss", lossy(0.03), tcp(4)),
        scene("1 flow, 50 Mb/s, queue 1 BDP", narrow(full), tcp(1)),
        scene("4 flows, 50 Mb/s, queue 1/4 BDP", narrow(full / 4), tcp(4)),
        scene("4 flows, 50 Mb/s, queue 4 BDP", narrow(full * 4), tcp(4)),
        scene("1 inside, 1 bare, 50 Mb/s", narrow(full), Load { inside: 1, beside: 1, flood: 0.0 }),
        scene("4 inside, 4 bare, 50 Mb/s", narrow(full), Load { inside: 4, beside: 4, flood: 0.0 }),
        scene("flood 100 Mb/s, 1 bare, 50 Mb/s", narrow(full), Load { inside: 0, beside: 1, flood: 1e8 }),
        scene("flood 100 Mb/s, 1 inside, 50 Mb/s", narrow(full), Load { inside: 1, beside: 0, flood: 1e8 }),
    ]
}

/// Prints the comparison, a table in Markdown.
pub(crate) fn run() -> ExitCode {
    println!("| path and load | control | inside Mb/s | bare Mb/s | flood Mb/s | RTT ms (most) | lost % |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut told = false;
    for scene in scenes() {
        for (name, way) in WAYS {
            let load = match way {
                Some(_) => scene.load,
                // What would be inside goes beside. A flood without a tunnel says nothing of tunnels.
                None if scene.load.flood > 0.0 => continue,
                None => Load { inside: 0, beside: scene.load.inside + scene.load.beside, flood: 0.0 },
            };
            let Some(world) = World::new(way.unwrap_or_default(), scene.shape, load) else {
                return ExitCode::FAILURE;
            };
            if !std::mem::replace(&mut told, true) {
                eprintln!("the tunnel stands after {:?}, at a round trip time of {:?}", world.stood, 2 * DELAY);
            }
            let Outcome { inside, beside, flood, average_rtt, longest_rtt, lost } = world.run(SETTLE, TIME);
            println!(
                "| {} | {name} | {inside:.1} | {beside:.1} | {flood:.1} | {average_rtt:.0} ({longest_rtt:.0}) | {lost:.2} |",
                scene.name
            );
        }
    }
    ExitCode::SUCCESS
}
