//! What carries tunnels over HTTP/2 between two engines: in order, without loss, unless nobody answers.

use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use vestibule_engine::core::{Engine, StreamInput, StreamLoss, StreamOrder, StreamTarget, TunnelEnd};
use vestibule_engine::generation::StreamKey;
use vestibule_engine::masque::request::{Head, HttpVersion, Incoming, UriTemplate};

/// Where the gateway sees the device's connections come from.
pub(crate) const FROM: ([u8; 4], u16) = ([192, 0, 2, 2], 40_000);

fn gone() -> TunnelEnd {
    TunnelEnd::Stream(StreamLoss::gone())
}

/// What one side has said.
enum Said {
    Bytes(bytes::Bytes),
    End,
    Lost,
}

/// The streams, by the device's key and the gateway's.
#[derive(Default)]
pub(crate) struct Streams {
    /// Whether connections can be made.
    pub(crate) refused: bool,
    /// How many were asked for.
    pub(crate) dialled: usize,
    to_gateway: BTreeMap<StreamKey, StreamKey>,
    to_device: BTreeMap<StreamKey, StreamKey>,
    uplink: VecDeque<(StreamKey, Said)>,
    downlink: VecDeque<(StreamKey, Said)>,
    /// Nothing arrives while it is held up.
    pub(crate) held: bool,
}

impl Streams {
    /// Moves everything once; false when there was nothing.
    pub(crate) fn turn(
        &mut self,
        device: &mut Engine,
        gateway: &mut Engine,
        client: &CertificateDer<'static>,
        now: Instant,
    ) -> bool {
        let mut moved = false;
        while let Some((key, order)) = device.poll_stream_order() {
            moved = true;
            match order {
                StreamOrder::Connect(target) => self.connect(key, &target, (device, gateway), client, now),
                StreamOrder::Finish(last) => {
                    if let Some(far) = self.to_gateway.get(&key) {
                        self.uplink.extend([(*far, Said::Bytes(last)), (*far, Said::End)]);
                    }
                }
                StreamOrder::Reset(_) => {
                    if let Some(far) = self.to_gateway.get(&key) {
                        self.uplink.push_back((*far, Said::Lost));
                    }
                }
            }
        }
        while let Some((key, order)) = gateway.poll_stream_order() {
            moved = true;
            let Some(near) = self.to_device.get(&key) else { continue };
            match order {
                StreamOrder::Connect(_) => unreachable!("gateways do not connect"),
                StreamOrder::Finish(last) => {
                    self.downlink.extend([(*near, Said::Bytes(last)), (*near, Said::End)]);
                }
                StreamOrder::Reset(_) => self.downlink.push_back((*near, Said::Lost)),
            }
        }
        collect(device, &self.to_gateway, &mut self.uplink);
        collect(gateway, &self.to_device, &mut self.downlink);
        if !self.held {
            moved |= !self.uplink.is_empty() || !self.downlink.is_empty();
            deliver(gateway, &mut self.uplink, now);
            deliver(device, &mut self.downlink, now);
        }
        moved
    }

    fn connect(
        &mut self,
        key: StreamKey,
        target: &StreamTarget,
        (device, gateway): (&mut Engine, &mut Engine),
        client: &CertificateDer<'static>,
        now: Instant,
    ) {
        self.dialled += 1;
        if self.refused {
            return device.handle_stream(key, StreamInput::Lost(gone()), now);
        }
        let fields = target.request.fields(HttpVersion::Http2);
        let field = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value.as_bytes());
        let head = Head {
            method: field(":method"),
            protocol: field(":protocol"),
            scheme: field(":scheme"),
            authority: field(":authority"),
            path: field(":path"),
            fields: fields
                .iter()
                .filter(|field| !field.name.starts_with(':'))
                .map(|field| (field.name.as_bytes(), field.value.as_bytes()))
                .collect(),
        };
        let templates = [UriTemplate::well_known("gateway.example").unwrap()];
        let incoming = Incoming::judge(&head, HttpVersion::Http2, &templates).unwrap();
        match gateway.stream_requested(&incoming, std::slice::from_ref(client), FROM.into(), now) {
            Ok(far) => {
                self.to_gateway.insert(key, far);
                self.to_device.insert(far, key);
                device.handle_stream(key, StreamInput::Opened, now);
            }
            Err(_) => device.handle_stream(key, StreamInput::Lost(gone()), now),
        }
    }

    /// All connections break.
    pub(crate) fn cut(&mut self, device: &mut Engine, gateway: &mut Engine, now: Instant) {
        for (near, far) in std::mem::take(&mut self.to_gateway) {
            device.handle_stream(near, StreamInput::Lost(gone()), now);
            gateway.handle_stream(far, StreamInput::Lost(gone()), now);
        }
        self.to_device.clear();
        self.uplink.clear();
        self.downlink.clear();
    }
}

fn collect(engine: &mut Engine, far: &BTreeMap<StreamKey, StreamKey>, line: &mut VecDeque<(StreamKey, Said)>) {
    while let Some(key) = engine.poll_stream() {
        while let Some(batch) = engine.stream_output(key) {
            line.extend(far.get(&key).map(|far| (*far, Said::Bytes(batch))));
        }
    }
}

fn deliver(engine: &mut Engine, line: &mut VecDeque<(StreamKey, Said)>, now: Instant) {
    for (key, said) in line.drain(..) {
        match said {
            Said::Bytes(bytes) => engine.handle_stream(key, StreamInput::Bytes(&bytes), now),
            Said::End => engine.handle_stream(key, StreamInput::Ended, now),
            Said::Lost => engine.handle_stream(key, StreamInput::Lost(gone()), now),
        }
    }
}
