//! A client that does what it is told, right or wrong, on QUIC that is right.

use super::h3;
use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    ReadError, StreamEvent, StreamId, TransportConfig, VarInt,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(crate) quic: Connection,
    drained: bool,
    /// It hears nothing any more, and so acknowledges nothing.
    pub(crate) deaf: bool,
    /// It does not read what streams bring.
    pub(crate) reads: bool,
    pub(crate) connected: bool,
    pub(crate) lost: Option<ConnectionError>,
    /// Streams that the gateway has reset, and with what.
    pub(crate) resets: BTreeMap<u64, u64>,
    /// What its streams have brought.
    pub(crate) read: BTreeMap<u64, Vec<u8>>,
    pub(crate) datagrams: Vec<Bytes>,
}

/// How QUIC is set up where nothing else is said.
pub(crate) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.initial_mtu(1350).min_mtu(1332).max_concurrent_uni_streams(VarInt::from_u32(16));
    transport
}

impl Raw {
    /// Begins a connection.
    pub(crate) fn connect(
        (address, gateway): (SocketAddr, SocketAddr),
        tls: rustls::ClientConfig,
        transport: TransportConfig,
        now: Instant,
    ) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(Arc::new(tls)).unwrap()));
        config.transport_config(Arc::new(transport));
        let (handle, quic) = endpoint.connect(now, config, gateway, "gateway.example").unwrap();
        Self {
            address,
            endpoint,
            handle,
            quic,
            drained: false,
            deaf: false,
            reads: true,
            connected: false,
            lost: None,
            resets: BTreeMap::new(),
            read: BTreeMap::new(),
            datagrams: Vec::new(),
        }
    }

    /// A stream to the gateway with these bytes.
    pub(crate) fn uni(&mut self, bytes: &[u8]) -> u64 {
        let id = self.quic.streams().open(Dir::Uni).unwrap();
        assert_eq!(self.quic.send_stream(id).write(bytes).unwrap(), bytes.len());
        id.into()
    }

    /// A request stream with these bytes.
    pub(crate) fn bidi(&mut self, bytes: &[u8]) -> u64 {
        let id = self.quic.streams().open(Dir::Bi).unwrap();
        assert_eq!(self.quic.send_stream(id).write(bytes).unwrap(), bytes.len());
        id.into()
    }

    /// More bytes on a stream; gives how many were taken.
    pub(crate) fn write(&mut self, stream: u64, bytes: &[u8]) -> usize {
        self.quic.send_stream(id(stream)).write(bytes).unwrap_or(0)
    }

    /// Ends a stream in good order.
    pub(crate) fn finish(&mut self, stream: u64) {
        self.quic.send_stream(id(stream)).finish().unwrap();
    }

    /// Capsules, or what are none, on a request stream.
    pub(crate) fn capsules(&mut self, stream: u64, bytes: &[u8]) {
        let frame = h3::data(bytes);
        assert_eq!(self.write(stream, &frame), frame.len());
    }

    /// A QUIC datagram.
    pub(crate) fn datagram(&mut self, bytes: &[u8]) {
        self.quic.datagrams().send(Bytes::copy_from_slice(bytes), false).unwrap();
    }

    /// The code with which the gateway closed the connection.
    pub(crate) fn closed_with(&self) -> Option<u64> {
        match self.lost.as_ref()? {
            ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            ConnectionError::ConnectionClosed(close) => Some(close.error_code.into()),
            other => panic!("{other:?}"),
        }
    }

    /// Takes a datagram from the gateway.
    pub(crate) fn receive(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) {
        if self.deaf {
            return;
        }
        let event = self.endpoint.handle(now, source, None, None, BytesMut::from(bytes), &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.quic.handle_event(event);
            self.drive();
        }
    }

    pub(crate) fn handle_deadline(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
            self.drive();
        }
    }

    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        if self.drained { None } else { self.quic.poll_timeout() }
    }

    /// What it wants to send.
    pub(crate) fn transmit(&mut self, now: Instant) -> VecDeque<Vec<u8>> {
        let mut out = VecDeque::new();
        let mut buffer = Vec::new();
        while !self.drained
            && let Some(sent) = self.quic.poll_transmit(now, 10, &mut buffer)
        {
            out.extend(buffer.chunks(sent.segment_size.unwrap_or(sent.size)).map(<[u8]>::to_vec));
            buffer.clear();
        }
        self.endpoint_events();
        out
    }

    fn endpoint_events(&mut self) {
        while let Some(event) = self.quic.poll_endpoint_events() {
            self.drained |= event.is_drained();
            if let Some(back) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(back);
            }
        }
    }

    fn drive(&mut self) {
        self.endpoint_events();
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    self.resets.insert(id.into(), error_code.into_inner());
                }
                _ => {}
            }
        }
        self.datagrams.extend(std::iter::from_fn(|| self.quic.datagrams().recv()));
        if !self.reads {
            return;
        }
        while let Some(id) = self.quic.streams().accept(Dir::Uni) {
            self.read.entry(id.into()).or_default();
        }
        let open: Vec<u64> = self.read.keys().copied().chain((0..64).map(|n| n * 4)).collect();
        for stream in open {
            self.read_stream(stream);
        }
    }

    fn read_stream(&mut self, stream: u64) {
        let mut recv = self.quic.recv_stream(id(stream));
        let Ok(mut chunks) = recv.read(true) else { return };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => self.read.entry(stream).or_default().extend_from_slice(&chunk.bytes),
                Err(ReadError::Reset(code)) => {
                    self.resets.insert(stream, code.into_inner());
                    break;
                }
                _ => break,
            }
        }
        let _ = chunks.finalize();
    }
}

fn id(stream: u64) -> StreamId {
    StreamId::from(VarInt::from_u64(stream).unwrap())
}
