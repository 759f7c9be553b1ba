"""A CONNECT-IP client and an echoing gateway on aioquic: independent QUIC, TLS, HTTP/3 and QPACK.

aioquic_peer.py client PORT DIRECTORY CORPUS    ends with 0 when all is as RFC 9484 says
aioquic_peer.py server DIRECTORY CORPUS         says `ready at PORT`; at /bad/N it sends line N of the corpus
aioquic_peer.py interface HOST PORT DIRECTORY   a client whose packets are those of an interface called `peer0`

DIRECTORY holds gateway.pem and gateway.key, and client.pem and client.key. Written from the RFCs, apart from the product.
"""

import asyncio
import fcntl
import os
import re
import ssl
import struct
import subprocess
import sys
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, DatagramReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StopSendingReceived, StreamReset

H3_DATAGRAM, MESSAGE_ERROR, DATAGRAM_ERROR = 0x33, 0x10E, 0x33
ASSIGN, REQUEST, ROUTES = 1, 2, 3
HERE, FAR = bytes([10, 0, 0, 1]), bytes([203, 0, 113, 5])
PATH = b"/.well-known/masque/ip/*/*/"
BULK, LENGTH, ROUND = 2000, 1200, 20
LIMIT = 60


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0) + source + destination
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ping(sequence: int) -> bytes:
    body = struct.pack("!HH", 0x1234, sequence) + b"an echo request of the interop tests"
    return ipv4(HERE, FAR, 1, struct.pack("!BBH", 8, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body)) + body)


def numbered(number: int) -> bytes:
    return ipv4(HERE, FAR, 253, struct.pack("!I", number) + bytes([number & 0xFF]) * (LENGTH - 24))


def echo(packet: bytes) -> bytes:
    back = bytearray(packet)
    back[12:16], back[16:20] = packet[16:20], packet[12:16]
    if back[9] == 1 and back[20] == 8:
        back[20], back[22:24] = 0, b"\0\0"
        back[22:24] = struct.pack("!H", checksum(bytes(back[20:])))
    return bytes(back)


def varint(data: bytes) -> tuple[int, bytes]:
    length = 1 << (data[0] >> 6)
    return int.from_bytes(data[:length], "big") & ((1 << (8 * length - 2)) - 1), data[length:]


def capsules(data: bytes):
    """Those of one frame: here none is cut."""
    while data:
        kind, data = varint(data)
        length, data = varint(data)
        yield kind, data[:length]
        data = data[length:]


def corpus(path: str) -> list[tuple[str, bytes, bool]]:
    lines = [line for line in Path(path).read_text().splitlines() if line and not line.startswith("#")]
    columns = [[column.strip() for column in line.split("|")] for line in lines]
    return [(name, bytes.fromhex(text), "error:" in expected) for name, text, expected in columns]


class Http3(H3Connection):
    def _get_local_settings(self):
        return super()._get_local_settings() | {H3_DATAGRAM: 1}


class Peer(QuicConnectionProtocol):
    """Hands HTTP/3's events and the ends of streams to `told`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.seen, self.news = [], asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = Http3(self._quic)
        if isinstance(event, (StreamReset, StopSendingReceived, ConnectionTerminated)):
            self.told(event)
        if self.http:
            for event in self.http.handle_event(event):
                self.told(event)

    def told(self, event):
        self.seen.append(event)
        self.news.set()

    async def until(self, done):
        """The first thing `done` gives of those seen, which is taken out."""
        while True:
            for event in self.seen:
                if done(event):
                    self.seen.remove(event)
                    return event
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), LIMIT)

    def ask(self, path=PATH, protocol=b"connect-ip") -> int:
        stream = self._quic.get_next_available_stream_id()
        fields = [(b":method", b"CONNECT"), (b":protocol", protocol), (b":scheme", b"https")]
        fields += [(b":authority", b"gateway.example"), (b":path", path), (b"capsule-protocol", b"?1")]
        self.http.send_headers(stream, fields)
        self.transmit()
        return stream

    def send(self, stream: int, packet: bytes):
        self.http.send_datagram(stream, b"\0" + packet)

    async def answer(self, stream: int) -> dict:
        heads = lambda event: isinstance(event, HeadersReceived) and event.stream_id == stream
        return dict((await self.until(heads)).headers)

    async def reset(self, stream: int) -> int:
        def ends(event):
            return isinstance(event, StreamReset) and event.stream_id == stream

        return (await self.until(ends)).error_code

    async def packets(self, stream: int, count: int) -> list[bytes]:
        arrives = lambda event: isinstance(event, DatagramReceived) and event.stream_id == stream
        got = [(await self.until(arrives)).data for _ in range(count)]
        assert all(data[0] == 0 for data in got)
        return [data[1:] for data in got]


def configuration(directory: str, name: str, **more) -> QuicConfiguration:
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, max_datagram_frame_size=65535, max_datagram_size=1350, **more
    )
    configuration.load_cert_chain(f"{directory}/{name}.pem", f"{directory}/{name}.key")
    return configuration


async def client(port: str, directory: str, corpus_file: str):
    settings = configuration(directory, "client", is_client=True, server_name="gateway.example")
    settings.load_verify_locations(f"{directory}/gateway.pem")
    async with connect("127.0.0.1", int(port), configuration=settings, create_protocol=Peer) as peer:
        stream = peer.ask()
        head = await peer.answer(stream)
        assert (head[b":status"], head[b"capsule-protocol"]) == (b"200", b"?1"), head
        assert peer.http.received_settings[H3_DATAGRAM] == 1 and peer.http.received_settings[8] == 1
        for path, protocol, status in [(b"/x", b"connect-ip", b"404"), (PATH, b"websocket", b"501")]:
            assert (await peer.answer(peer.ask(path, protocol)))[b":status"] == status
        assert await peer.reset(peer.ask(b"/.well-known/masque/ip/10.0.0.1%2F8/*/")) == MESSAGE_ERROR

        # Any IPv4 address, as request 7; a capsule of a type that nobody knows before it.
        peer.http.send_data(stream, bytes.fromhex("4040031234560207070400000000") + bytes([32]), False)
        peer.transmit()
        told = {}
        while not {ASSIGN, ROUTES} <= told.keys():
            data = await peer.until(lambda event: isinstance(event, DataReceived) and event.stream_id == stream)
            told |= dict(capsules(data.data))
        assert told[ASSIGN].hex() == "07040a00000120" and told[ROUTES].hex() == "0400000000ffffffff00", told

        for n in range(1, 6):
            peer.send(stream, ping(n))
            peer.transmit()
            assert await peer.packets(stream, 1) == [echo(ping(n))]
        # Round by round: datagrams that find a full socket are lost, as they may be.
        for start in range(0, BULK, ROUND):
            batch = [numbered(n) for n in range(start, start + ROUND)]
            for packet in batch:
                peer.send(stream, packet)
            peer.transmit()
            assert await peer.packets(stream, ROUND) == [echo(packet) for packet in batch]
        print(f"5 pings, {BULK} packets of {LENGTH} bytes each way")

        malformed = 0
        for name, data, bad in corpus(corpus_file):
            stream = peer.ask()
            assert (await peer.answer(stream))[b":status"] == b"200"
            peer.http.send_data(stream, data, True)
            peer.transmit()
            if bad:
                assert await peer.reset(stream) == MESSAGE_ERROR, name
                malformed += 1
            else:
                ends = lambda event: isinstance(event, DataReceived) and event.stream_id == stream
                while not (await peer.until(ends)).stream_ended:
                    pass
        print(f"{malformed} malformed streams reset with H3_MESSAGE_ERROR")

        # A Quarter Stream ID that is cut short ends the connection.
        peer._quic.send_datagram_frame(b"\x40")
        peer.transmit()
        end = await peer.until(lambda event: isinstance(event, ConnectionTerminated))
        assert end.error_code == DATAGRAM_ERROR, end
        print("a bad Quarter Stream ID closed the connection with H3_DATAGRAM_ERROR")


class Gateway(Peer):
    lines: list[tuple[str, bytes, bool]] = []

    def told(self, event):
        if isinstance(event, HeadersReceived):
            self.requested(event.stream_id, dict(event.headers))
        elif isinstance(event, DatagramReceived):
            self.send(event.stream_id, echo(event.data[1:]))
        elif isinstance(event, DataReceived):
            for kind, value in capsules(event.data):
                if kind == REQUEST:
                    answer = bytes([ASSIGN, 7, value[0], 4]) + HERE + bytes([32])
                    self.http.send_data(event.stream_id, answer, False)
            if event.stream_ended and event.stream_id not in self.bad:
                print("tunnel: ended", flush=True)
                self.http.send_data(event.stream_id, b"", True)
        elif isinstance(event, (StreamReset, StopSendingReceived)) and event.stream_id in self.bad:
            print(f"bad {self.bad.pop(event.stream_id)}: reset with {event.error_code}", flush=True)
        self.transmit()

    def requested(self, stream: int, head: dict):
        fits = (head[b":method"], head.get(b":protocol"), head.get(b"capsule-protocol"))
        if fits != (b"CONNECT", b"connect-ip", b"?1"):
            return self.http.send_headers(stream, [(b":status", b"501")], True)
        self.http.send_headers(stream, [(b":status", b"200"), (b"capsule-protocol", b"?1")])
        bad = re.fullmatch(rb"/bad/([0-9]+)", head[b":path"])
        if bad:
            self.bad[stream] = int(bad[1])
            return self.http.send_data(stream, self.lines[int(bad[1])][1], True)
        self.http.send_data(stream, bytes([ROUTES, 10]) + bytes.fromhex("0400000000ffffffff00"), False)

    @property
    def bad(self) -> dict:
        return self.__dict__.setdefault("_bad", {})


async def server(directory: str, corpus_file: str):
    Gateway.lines = corpus(corpus_file)
    settings = configuration(directory, "gateway", is_client=False)
    running = await serve("127.0.0.1", 0, configuration=settings, create_protocol=Gateway)
    print(f"ready at {running._transport.get_extra_info('sockname')[1]}", flush=True)
    await asyncio.Event().wait()


def interface() -> int:
    """An interface of IP packets, 1200 bytes at most."""
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # TUNSETIFF with IFF_TUN and IFF_NO_PI.
    fcntl.ioctl(opened, 0x400454CA, struct.pack("16sH22x", b"peer0", 0x1001))
    subprocess.run(["ip", "link", "set", "peer0", "mtu", "1200", "up"], check=True)
    return opened


async def tunnel(host: str, port: str, directory: str):
    settings = configuration(directory, "client", is_client=True, server_name="gateway.example")
    settings.verify_mode = ssl.CERT_NONE
    async with connect(host, int(port), configuration=settings, create_protocol=Peer) as peer:
        stream = peer.ask()
        head = await peer.answer(stream)
        assert head[b":status"] == b"200", head
        peer.http.send_data(stream, bytes([REQUEST, 7, 7, 4, 0, 0, 0, 0, 32]), False)
        peer.transmit()
        buffer, address = b"", None
        while address is None:
            buffer += (await peer.until(lambda event: isinstance(event, DataReceived))).data
            told = dict(capsules(buffer))
            if len(told.get(ASSIGN, b"")) == 7 and told[ASSIGN][0] == 7:
                address = ".".join(str(byte) for byte in told[ASSIGN][2:6])
        packets = interface()
        subprocess.run(["ip", "address", "add", f"{address}/24", "dev", "peer0"], check=True)

        def leave():
            peer.send(stream, os.read(packets, 2000))
            peer.transmit()

        def told(event):
            if isinstance(event, DatagramReceived) and event.data[0] == 0:
                os.write(packets, event.data[1:])

        peer.told = told
        asyncio.get_running_loop().add_reader(packets, leave)
        print(f"address {address}", flush=True)
        await peer.wait_closed()


if __name__ == "__main__":
    asyncio.run({"client": client, "server": server, "interface": tunnel}[sys.argv[1]](*sys.argv[2:]))
