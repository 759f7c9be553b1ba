"""Runs test programs that cargo has built for Windows, under Wine, and counts what they say.

    units.py BUILT.json WINE [CRATE...]      of these crates, or of all; BUILT.json is what `cargo test --no-run --message-format=json` printed

Prints each program's output, then a table: passed, failed and skipped per crate, and each skipped test with its reason.
A program that ends without its result line has failed. Exit status 1 when anything has.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The slowest program takes two minutes on two cores that do nothing else.
LIMIT = 1200
RESULT = re.compile(r"^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
SKIPPED = re.compile(r"^(?:test (\S+) \.\.\. ignored,? ?(.*)|left out: (.*))$", re.MULTILINE)


def programs(path):
    """Crate, directory and test program of each target."""
    for line in path.read_text().splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            manifest = Path(message["manifest_path"])
            yield manifest.parent, message["target"]["name"], message["executable"]


def crate(directory):
    return re.search(r'^name = "(.*)"', (directory / "Cargo.toml").read_text(), re.MULTILINE)[1]


def run(wine, directory, program):
    """Exit status (None: too slow) and output."""
    # A file, not a pipe: Wine's own services begin with the first program, inherit its output and stay.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [wine, program], cwd=directory, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
            )
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = None
        output.seek(0)
        return status, output.read().decode(errors="replace").replace("\r\n", "\n")


def main():
    built, wine, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    counts, skipped, broken = {}, [], []
    for directory, target, program in programs(built):
        name = crate(directory)
        if wanted and name not in wanted:
            continue
        print(f"     Running {name} {target}", flush=True)
        status, output = run(wine, directory, program)
        print(output, flush=True)
        tally = counts.setdefault(name, [0, 0, 0])
        result = RESULT.search(output)
        for column in range(3):
            tally[column] += int(result[column + 1]) if result else 0
        if status != 0 and not (result and int(result[2])):
            tally[1] += 1
            broken.append(f"{name} {target}: " + (f"no end in {LIMIT} s" if status is None else f"exit status {status}"))
        for test, reason, left_out in SKIPPED.findall(output):
            skipped.append(f"{name}: {left_out or test + ': ' + (reason or 'no reason given')}")
            if left_out:  # The harness takes a test that returns for one that passed.
                tally[0] -= 1
                tally[2] += 1
    print(f"{'':24}  passed  failed  skipped")
    for name, (passed, failed, ignored) in sorted(counts.items()):
        print(f"{name:24}  {passed:6}  {failed:6}  {ignored:7}")
    for line in skipped:
        print(f"skipped: {line}")
    for line in broken:
        print(f"broken: {line}")
    if not counts:
        print("broken: no test programs")
        return 1
    passed, failed, ignored = (sum(column) for column in zip(*counts.values()))
    print(f"windows result: counted. {passed} passed; {failed} failed; {ignored} skipped")
    return 1 if broken or failed else 0


sys.exit(main())
