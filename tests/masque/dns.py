"""A name server for one name: dns.py ADDRESS NAME ANSWER. It says `ready`; whatever else it is asked does not exist."""

import socket
import sys

address, name, answer = sys.argv[1:]
wanted = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(512)
    end = query.index(b"\0", 12) + 1
    question, kind = query[12:end + 4], query[end:end + 2]
    known = query[12:end].lower() == wanted
    record = b""
    if known and kind == b"\0\1":
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(answer)
    head = query[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0" * 4
    server.sendto(head + question + record, client)
