"""What is known of Cloudflare WARP's edge over HTTP/3, on aioquic: an echo for one device's key.

warp_edge.py DIRECTORY KEY    says `ready at PORT`; KEY is the SHA-256 of the device's SubjectPublicKeyInfo

It offers no extended CONNECT and wants it all the same, as `cf-connect-ip` at a place of its own; wants to see the draft's
setting for datagrams; sends no capsules and takes none; knows the device by its P-256 key in a certificate of a day at most.
A packet to 203.0.113.99 stands for a long silence: then it closes the connection with H3_NO_ERROR.
"""

import asyncio
import hashlib
import sys

from aioquic.asyncio import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, DatagramReceived, HeadersReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ProtocolNegotiated
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aioquic_peer import H3_DATAGRAM, Peer, configuration, echo

DRAFT_H3_DATAGRAM, ENABLE_CONNECT_PROTOCOL = 0x276, 0x08
NO_ERROR, LONG_SILENCE = 0x100, bytes([203, 0, 113, 99])
REQUEST = {
    b":method": b"CONNECT",
    b":protocol": b"cf-connect-ip",
    b":scheme": b"https",
    b":authority": b"cloudflareaccess.com",
    b":path": b"/",
}


class Asking(QuicConnection):
    """Asks its clients for certificates, which aioquic has for its own tests."""

    def _initialize(self, *args):
        super()._initialize(*args)
        self.tls._request_client_certificate = True


class Http3(H3Connection):
    def _get_local_settings(self):
        settings = super()._get_local_settings() | {H3_DATAGRAM: 1, DRAFT_H3_DATAGRAM: 1}
        del settings[ENABLE_CONNECT_PROTOCOL]
        return settings


class Edge(Peer):
    key = ""

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http, self.asked = Http3(self._quic), []
        if self.http:
            for told in self.http.handle_event(event):
                self.told(told)
            # Settings may come behind the request.
            while self.asked and self.http.received_settings:
                self.requested(*self.asked.pop())
                self.transmit()

    def told(self, event):
        if isinstance(event, HeadersReceived):
            self.asked.append((event.stream_id, dict(event.headers)))
        elif isinstance(event, DataReceived) and event.data:
            print(f"capsules: {event.data.hex()}", flush=True)
        elif isinstance(event, DatagramReceived):
            assert event.data[0] == 0, "no Context ID"
            packet = event.data[1:]
            if packet[16:20] == LONG_SILENCE:
                print("idle", flush=True)
                self._quic.close(error_code=NO_ERROR)
            else:
                self.http.send_datagram(event.stream_id, b"\0" + echo(packet))
        self.transmit()

    def requested(self, stream: int, head: dict):
        wrong = {name: head.get(name) for name, value in REQUEST.items() if head.get(name) != value}
        settings = self.http.received_settings
        if wrong or settings.get(DRAFT_H3_DATAGRAM) != 1 or settings.get(H3_DATAGRAM) != 1:
            print(f"wrong: {wrong} {settings}", flush=True)
            return self.http.send_headers(stream, [(b":status", b"400")], True)
        known = self.knows(self._quic.tls._peer_certificate)
        print("tunnel" if known else "stranger", flush=True)
        self.http.send_headers(stream, [(b":status", b"200" if known else b"403")], not known)

    def knows(self, certificate) -> bool:
        if certificate is None:
            return False
        public = certificate.public_key()
        of_a_day = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() <= 24 * 3600
        curve = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
        name = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        return of_a_day and curve and name == self.key


async def main(directory: str, key: str):
    Edge.key = key
    import aioquic.asyncio.server as server

    server.QuicConnection = Asking
    running = await serve("127.0.0.1", 0, configuration=configuration(directory, "gateway", is_client=False),
                          create_protocol=Edge)
    print(f"ready at {running._transport.get_extra_info('sockname')[1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
