//! How wide a path is: found out, noticed when it changes, and not mistaken.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::{ended, number, packet};
use super::wire::{Node, World};
use super::*;
use crate::masque::ip::{BelowIpv6Minimum, Refusal};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What QUIC, HTTP datagrams and contexts take of a UDP payload.
const OVERHEAD: usize = 40;

/// As the product's ends are set up for an adapter of 1420 bytes.
fn product() -> Settings {
    let talk = Some(IpAddr::V4([192, 0, 0, 9].into()));
    Settings { initial_mtu: 1200, min_mtu: 1200, max_mtu: 1460, talk, ..Settings::default() }
}

/// What a search may find of a path, less the overhead.
fn found(path: usize) -> std::ops::RangeInclusive<usize> {
    if path >= 1460 { 1420..=1420 } else { path - 33 - OVERHEAD..=path - OVERHEAD }
}

/// The newest news of how long a packet may be: out, and back.
fn widths(node: &Node, of: TunnelId) -> (usize, usize) {
    let newest = |mtu: fn(&Event) -> Option<(TunnelId, u16)>| {
        let all = node.events.iter().filter_map(mtu);
        all.filter(|(id, _)| *id == of).last().map_or(0, |(_, mtu)| usize::from(mtu))
    };
    let out = newest(|event| if let Event::MtuChanged(id, mtu) = event { Some((*id, *mtu)) } else { None });
    let back = newest(|event| if let Event::ReachedBy(id, mtu) = event { Some((*id, *mtu)) } else { None });
    (out, back)
}

/// Sends a packet of `len` bytes up.
fn up(world: &mut World, near: TunnelId, number: u32, len: usize) -> Result<(), SendError> {
    let mut packet = packet("10.0.0.1", "203.0.113.1", number, len - 28);
    world.client.endpoint.send(near, &mut packet, Origin::Local)
}

/// Runs for `time`, in which the client sends a packet each millisecond, as long as it is told they may be and `most` at
/// most. Gives the lengths of those that were sent.
fn busy(world: &mut World, near: TunnelId, time: Duration, most: usize) -> Vec<usize> {
    let (end, mut len, mut sent) = (world.now + time, most, Vec::new());
    while world.now < end {
        match up(world, near, sent.len() as u32, len) {
            Ok(()) => sent.push(len),
            Err(SendError::Refused(Refusal::TooBig { mtu })) => len = mtu.into(),
            Err(SendError::Full) => {}
            Err(error) => panic!("{error:?}"),
        }
        world.run(Duration::from_millis(1));
        len = len.max(widths(&world.client, near).0.min(most));
    }
    sent
}

#[test]
fn both_ends_find_out_what_the_path_carries_and_how_far_the_other_is() {
    for path in [1472, 1464, 1452, 1440, 1400, 1372] {
        let mut world = World::new(71, product());
        world.path_mtu = path;
        let (near, far) = world.tunnel();
        world.run(Duration::from_secs(5));
        for (node, id) in [(&world.client, near), (&world.gateway, far)] {
            let (out, back) = widths(node, id);
            assert!(found(path).contains(&out), "{path}: {out}");
            assert!(found(path).contains(&back), "{path}: {back}");
        }
        let (fits, _) = widths(&world.client, near);
        let mtu = fits as u16;
        let refused = up(&mut world, near, 1, fits + 1);
        assert_eq!(refused, Err(SendError::Refused(Refusal::TooBig { mtu })));
        up(&mut world, near, 2, fits).unwrap();
        assert_eq!(number(&world.until(|w| w.gateway.packets.pop()).1), 2);
    }
}

#[test]
fn the_client_knows_of_the_gateway_s_search_no_sooner_than_it_is_over() {
    let mut world = World::new(72, product());
    let (near, far) = world.tunnel();
    let most = world.client.endpoint.most(near).unwrap();
    assert_eq!(most, 1420);
    world.until(|w| (widths(&w.client, near).1 >= 1420).then_some(()));
    // What it sends now arrives after its acknowledgement.
    up(&mut world, near, 1, 100).unwrap();
    world.until(|w| w.gateway.packets.pop());
    let mut down = packet("203.0.113.1", "10.0.0.1", 2, 1420 - 28);
    assert_eq!(world.gateway.endpoint.send(far, &mut down, Origin::Local), Ok(()));
}

#[test]
fn a_path_over_ipv6_is_not_searched_beyond_what_ethernet_leaves() {
    let mut world = World::new(73, Settings { max_mtu: 1472, ..product() });
    world.client.address = "[2001:db8::2]:50000".parse().unwrap();
    world.gateway.address = "[2001:db8::1]:443".parse().unwrap();
    let (near, far) = world.tunnel();
    world.run(Duration::from_secs(5));
    for (node, id) in [(&mut world.client, near), (&mut world.gateway, far)] {
        assert_eq!((node.longest, widths(node, id)), (1452, (1452 - OVERHEAD, 1452 - OVERHEAD)));
        assert_eq!(node.endpoint.most(id), Some(1452 - OVERHEAD as u16));
    }
}

#[test]
fn a_path_that_narrows_and_widens_in_mid_transfer_is_followed() {
    for congestion in [Congestion::Off, Congestion::default(), Congestion::Cubic] {
        let mut world = World::new(74, Settings { congestion, ..product() });
        let (near, _) = world.tunnel();
        world.run(Duration::from_secs(2));
        let sent = busy(&mut world, near, Duration::from_secs(1), 1420);
        world.run(Duration::from_secs(1));
        assert_eq!(world.gateway.packets.len(), sent.len());

        world.path_mtu = 1372;
        world.gateway.packets.clear();
        let sent = busy(&mut world, near, Duration::from_secs(4), 1420);
        let lost = sent.len() - world.gateway.packets.len();
        assert!(lost < 1000, "{congestion:?}: a second at most, not {lost} packets");
        world.run(Duration::from_secs(1));
        let (out, _) = widths(&world.client, near);
        assert!(found(1372).contains(&out), "{congestion:?}: {out}");
        world.gateway.packets.clear();
        let sent = busy(&mut world, near, Duration::from_secs(1), 1420);
        world.run(Duration::from_secs(1));
        assert!(sent.iter().all(|len| *len == out));
        assert_eq!(world.gateway.packets.len(), sent.len(), "{congestion:?}: none is lost any more");

        world.path_mtu = 1472;
        busy(&mut world, near, Duration::from_secs(62), 1420);
        let (out, _) = widths(&world.client, near);
        assert_eq!(out, 1420, "{congestion:?}");
    }
}

#[test]
fn a_new_path_is_searched_anew() {
    let mut world = World::new(75, product());
    let (near, far) = world.tunnel();
    world.run(Duration::from_secs(2));
    (world.client.address, world.path_mtu) = ("198.51.100.9:40000".parse().unwrap(), 1400);
    assert!(world.client.endpoint.local_address_changed(near.connection, world.now));
    world.run(Duration::from_secs(5));
    for (node, id) in [(&world.client, near), (&world.gateway, far)] {
        let (out, _) = widths(node, id);
        assert!(found(1400).contains(&out), "{out}");
    }
    assert!(widths(&world.client, near).1 <= 1360, "what the old path carried proves nothing");
}

/// A full queue and a bad radio lose packets in rows, of all lengths: the path is as wide as before. What QUIC takes for
/// a narrower one is mended so soon that few packets meet it.
#[test]
fn losses_of_all_lengths_narrow_little_for_moments() {
    let lengths: [fn(u32) -> usize; 4] = [
        |_| 1420,
        |n| 64 + (n as usize * 37) % 1357,
        |n| if n % 8 == 0 { 1420 } else { 60 },
        |n| 1420 - (n % 5) as usize,
    ];
    // One of 50 and of 5, and half and less of what comes by a full queue.
    let troubles = [(Some(50), None, 500), (Some(5), None, 6000), (None, Some((500_000, 30_000)), 6000)];
    for (case, length) in lengths.into_iter().enumerate() {
        for (loss, rate, most) in troubles {
            let mut world = World::new(76 + case as u64, product());
            let (near, _) = world.tunnel();
            world.run(Duration::from_secs(2));
            (world.loss, world.rate) = (loss, rate);
            let mut refused = 0;
            for n in 0..20_000 {
                if let Err(SendError::Refused(_)) = up(&mut world, near, n, length(n)) {
                    refused += 1;
                }
                if n % 4 == 0 {
                    world.run(Duration::from_millis(1));
                }
            }
            assert!(refused <= most, "{case}, {loss:?}, {rate:?}: {refused} of 20000 were found too long");
            (world.loss, world.rate) = (None, None);
            // Once for the search that trouble misled, once for the next.
            for n in 0..1200 {
                let _ = up(&mut world, near, n, 1420);
                world.run(Duration::from_millis(10));
            }
            assert_eq!(up(&mut world, near, 1, 1420), Ok(()), "{case}, {loss:?}, {rate:?}");
        }
    }
}

#[test]
fn d12_a_tunnel_that_becomes_too_narrow_for_ipv6_is_given_up_once_that_is_sure() {
    for (path, stays) in [(1340, true), (1310, false)] {
        let mut world = World::new(80, product());
        let (near, far) = world.tunnel();
        world.run(Duration::from_secs(2));
        world.path_mtu = path;
        let began = world.now;
        let mut last = Instant::now();
        while world.now - began < Duration::from_secs(20) && ended(&world.client, near).is_none() {
            let _ = up(&mut world, near, 1, 1420);
            let _ = up(&mut world, near, 2, 1290);
            last = world.now;
            world.run(Duration::from_millis(5));
        }
        if stays {
            assert!(ended(&world.client, near).is_none() && ended(&world.gateway, far).is_none());
            assert!((1280..=1300).contains(&widths(&world.client, near).0));
            continue;
        }
        let Some(Some(error)) = ended(&world.client, near) else { panic!("it is still there after 20 s") };
        assert!(matches!(error, TunnelError::Narrow(BelowIpv6Minimum { got: 1100..1280 })), "{error:?}");
        assert!(last - began < Duration::from_secs(15), "{:?}", last - began);
        world.run(Duration::from_secs(1));
        assert!(matches!(ended(&world.gateway, far), Some(Some(TunnelError::Reset { .. }))));
    }
}
