"""Another port for a server, as a router forwards it: udp_forward.py ADDRESS PORT TO. It says `ready`."""

import selectors
import socket
import sys

address, port, to = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
outside.bind((address, port))
ready = selectors.DefaultSelector()
ready.register(outside, selectors.EVENT_READ)
inside, clients = {}, {}
print("ready", flush=True)
while True:
    for key, _ in ready.select():
        if key.fileobj is outside:
            datagram, client = outside.recvfrom(65535)
            if client not in inside:
                inside[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                inside[client].connect((address, to))
                clients[inside[client]] = client
                ready.register(inside[client], selectors.EVENT_READ)
            inside[client].send(datagram)
        else:
            try:
                outside.sendto(key.fileobj.recv(65535), clients[key.fileobj])
            except OSError:
                pass
