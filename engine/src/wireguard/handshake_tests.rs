//! Handshakes against boringtun's, in both roles.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::random::Seed;
use crate::wireguard::cookie::{Jar, is_for};
use crate::wireguard::message::data_head;
use crate::wireguard::transport::Keypair;
use boringtun::noise::{Tunn, TunnResult};
use std::time::Instant;
use vestibule_aead::{Open, Seal};
use x25519_dalek::PublicKey as Point;

const PACKET: [u8; 28] = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0, 0, 0, 1, 0, 1];

struct Pair {
    ours: Parties,
    tunn: Tunn,
    random: Random,
}

fn pair(seed: u8, preshared: Option<[u8; 32]>) -> Pair {
    let mut random = Random::new(&Seed::new([seed; 32]));
    let (mine, theirs) = (random.bytes::<32>(), StaticSecret::from(*random.bytes::<32>()));
    let ours = Parties::new(
        &mine,
        Point::from(&StaticSecret::from(*mine)).to_bytes(),
        Point::from(&theirs).to_bytes(),
        preshared.as_ref(),
    );
    let tunn = Tunn::new(theirs, Point::from(ours.public), preshared, None, 99, None);
    Pair { ours, tunn, random }
}

fn sent(result: TunnResult<'_>) -> Vec<u8> {
    match result {
        TunnResult::WriteToNetwork(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Both ends' keys work, both ways.
fn talk(keypair: &mut Keypair, tunn: &mut Tunn, ours_first: bool) {
    for ours in [ours_first, !ours_first] {
        let mut buffer = [0; 256];
        if ours {
            let counter = keypair.sealing.reserve(1).unwrap();
            let mut message = data_head(keypair.sealing.receiver(), counter).to_vec();
            message.resize(16 + 28 + 16, 0);
            let seal = Seal { counter, head: &[], body: &PACKET, out: &mut message[16..] };
            keypair.sealing.key().seal(&mut [seal]);
            match tunn.decapsulate(None, &message, &mut buffer) {
                TunnResult::WriteToTunnelV4(packet, _) => assert_eq!(packet, PACKET),
                other => panic!("{other:?}"),
            }
        } else {
            let message = sent(tunn.encapsulate(&PACKET, &mut buffer));
            assert_eq!(message[4..8], keypair.opening.index().to_le_bytes());
            let counter = u64::from_le_bytes(*message[8..].first_chunk().unwrap());
            let mut out = [0; 28];
            let mut batch = [Open { counter, sealed: &message[16..], out: &mut out, authentic: false }];
            keypair.opening.key().open(&mut batch);
            assert!(batch[0].authentic && keypair.opening.window.accept(counter));
            assert_eq!(out, PACKET);
        }
    }
}

#[test]
fn boringtun_answers_our_initiation() {
    for (seed, preshared) in [(1, None), (2, Some([7; 32]))] {
        let Pair { mut ours, mut tunn, mut random } = pair(seed, preshared);
        let (now, mut message) = (Instant::now(), [0; INITIATION_LEN]);
        let initiated = ours.initiate(0x0102_0304, [1; 12], &mut random, &mut message).unwrap();
        let peer = *ours.peer();
        Jar::default().sign(&mut message, &peer, now);
        let mut buffer = [0; 256];
        let response = sent(tunn.decapsulate(None, &message, &mut buffer));
        assert!(is_for(ours.public(), &response) && !is_for(&peer, &response));
        for at in (12..60).step_by(7) {
            let mut bad = response.clone();
            bad[at] ^= 1;
            assert!(ours.finish(&initiated, &bad).is_none(), "byte {at}");
        }
        let keys = ours.finish(&initiated, &response).unwrap();
        talk(&mut Keypair::new(&keys, 0, now), &mut tunn, true);
    }
}

#[test]
fn we_answer_boringtuns_initiation() {
    for (seed, preshared) in [(3, None), (4, Some([9; 32]))] {
        let Pair { mut ours, mut tunn, mut random } = pair(seed, preshared);
        let mut buffer = [0; 256];
        let initiation = sent(tunn.format_handshake_initiation(&mut buffer, false));
        let knock = Knock::read(&initiation, &ours.secret, &ours.public).unwrap();
        assert_eq!(knock.peer, ours.peer);
        let shared = ours.shared().unwrap().clone();
        let read = knock.authenticate(&initiation, &shared).unwrap();
        let (now, mut message) = (Instant::now(), [0; RESPONSE_LEN]);
        let keys = ours.respond(read, 5, &mut random, &mut message).unwrap();
        Jar::default().sign(&mut message, &ours.peer, now);
        // The library confirms with a keepalive.
        let confirmation = sent(tunn.decapsulate(None, &message, &mut buffer));
        assert_eq!((confirmation.len(), keys.initiator), (32, false));
        talk(&mut Keypair::new(&keys, 0, now), &mut tunn, false);
    }
}

#[test]
fn another_preshared_key_finds_no_agreement() {
    let Pair { mut ours, tunn: _, mut random } = pair(5, Some([1; 32]));
    let (theirs, preshared) = (StaticSecret::from([42; 32]), Some([2; 32]));
    ours.peer = Point::from(&theirs).to_bytes();
    let mut tunn = Tunn::new(theirs, Point::from(ours.public), preshared, None, 99, None);
    let mut message = [0; INITIATION_LEN];
    let initiated = ours.initiate(1, [1; 12], &mut random, &mut message).unwrap();
    let peer = ours.peer;
    Jar::default().sign(&mut message, &peer, Instant::now());
    let mut buffer = [0; 256];
    let response = sent(tunn.decapsulate(None, &message, &mut buffer));
    assert!(ours.finish(&initiated, &response).is_none());
}

#[test]
fn points_of_low_order_are_refused() {
    let Pair { mut ours, tunn: _, mut random } = pair(6, None);
    ours.peer = [0; 32];
    assert!(ours.initiate(1, [1; 12], &mut random, &mut [0; INITIATION_LEN]).is_none());
    assert!(ours.shared().is_none());
    let (mut message, public) = ([0; INITIATION_LEN], ours.public);
    assert!(Knock::read(&message, &ours.secret, &public).is_none(), "a zero ephemeral key");
    message[8] = 1;
    assert!(Knock::read(&message, &ours.secret, &public).is_none(), "the point of order four");
}

#[test]
fn any_flipped_bit_of_an_initiation_is_refused() {
    let Pair { mut ours, mut tunn, .. } = pair(7, None);
    let mut buffer = [0; 256];
    let message = sent(tunn.format_handshake_initiation(&mut buffer, false));
    let shared = ours.shared().unwrap().clone();
    let read = |message: &[u8]| Knock::read(message, &ours.secret, &ours.public)?.authenticate(message, &shared);
    for at in 8..148 {
        let mut bad = message.clone();
        bad[at] ^= 1;
        assert_eq!(read(&bad).is_some(), at >= 116, "byte {at}");
        assert_eq!(is_for(&ours.public, &bad), at >= 132, "byte {at}");
    }
    assert!(read(&message).is_some());
}
