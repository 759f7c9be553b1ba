"""Keeps a file open over SMB by Kerberos: writes a record, reads one that was written before, until told to stop.

One line for each: its number and how many microseconds both took.
"""

import os
import smbc
import sys
import time

url, stop = sys.argv[1:]
RECORD = 64


def record(number):
    return b"%063d\n" % number


context = smbc.Context()
context.optionUseKerberos = True
context.optionFallbackAfterKerberos = False
file = context.open(url, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
number = 0
while not os.path.exists(stop):
    began = time.monotonic()
    file.seek(number * RECORD)
    if file.write(record(number)) != RECORD:
        sys.exit("record %d was not written" % number)
    earlier = number // 2
    file.seek(earlier * RECORD)
    if file.read(RECORD) != record(earlier):
        sys.exit("record %d is not what was written" % earlier)
    print(number, int((time.monotonic() - began) * 1e6), flush=True)
    number += 1
    time.sleep(0.005)
file.close()
