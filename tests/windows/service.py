"""The service in Wine's service manager, with a gateway that it reaches over the loopback: install, status over the named
pipe, a second instance, a kill, stop, uninstall.

    service.py WINE PROGRAM      vestibule.exe of a build with the feature `stand-in`, the stand-in wintun.dll beside it

Prints what does not hold, and one line of counts. WINEPREFIX is a prefix for this alone: what it makes in its ProgramData it
takes away. Exit status 1 when anything has failed.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# Far longer than anything takes: what does not come at all ends the wait.
PATIENCE = 120
WINE, PROGRAM = sys.argv[1:3]
DRIVE = Path(os.environ["WINEPREFIX"]) / "drive_c"
STATE = DRIVE / "ProgramData/Vestibule"
MDM = DRIVE / "ProgramData/Cloudflare/mdm.xml"
WORK = DRIVE / "vestibule-service"
SERVICE = "Vestibule"
BEFORE_LOGIN = "non_identity@mycompany.cloudflareaccess.com"
SESSIONS = r"\\.\pipe\vestibule-service-sessions"


class Tally:
    """What held and what did not."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, claim, holds, said=""):
        """Counts `claim`; `said` explains a failure."""
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {claim}" + (f": {said}" if said else ""), flush=True)
        return holds

    def wait(self, claim, what, holds):
        """Counts whether `holds(what())` comes true, and gives the last answer."""
        until = time.monotonic() + PATIENCE
        answer = what()
        while not holds(answer) and time.monotonic() < until:
            time.sleep(0.2)
            answer = what()
        self.check(claim, holds(answer), answer)
        return answer


class Ended:
    """A program that has ended: its exit status, and what it printed."""

    def __init__(self, *words):
        # Files, not pipes: Wine's own services keep a pipe open that they inherit.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            done = subprocess.run(
                [WINE, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=errors, timeout=PATIENCE, check=False
            )
            self.status = done.returncode
            self.out, self.errors = (stream.read().decode(errors="replace") for stream in map(rewound, (out, errors)))

    def __str__(self):
        return f"exit status {self.status} {self.out.strip()} {self.errors.strip()}"

    def json(self):
        """What it printed, as JSON; None if that is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None


def rewound(stream):
    stream.seek(0)
    return stream


def vestibule(*words):
    return Ended(PROGRAM, *words)


def status():
    """What `vestibule status` says; an empty one where nobody answers."""
    return vestibule("status", "--json").json() or {}


def connected(seen):
    return seen.get("state") == "connected" and seen.get("identity") == BEFORE_LOGIN


def manager_says():
    """The service's state in the manager, as `sc` shows it; empty when it knows none."""
    said = Ended("sc.exe", "query", SERVICE).out
    return next((word for word in ("RUNNING", "STOPPED", "START_PENDING", "STOP_PENDING") if word in said), "")


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own_processes(*words):
    """Runs of the program in this prefix whose command line holds all of these words, by their number here."""
    mark = f"WINEPREFIX={os.environ['WINEPREFIX']}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and command[0].endswith(Path(PROGRAM).name) and all(word in command for word in words):
            found.append(int(process.name))
    return found


class Gateway:
    """A gateway under Wine, its network interface the stand-in's."""

    def __init__(self):
        https, tunnel = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        self.log = open(WORK / "gateway.log", "w+b")
        self.process = subprocess.Popen(
            [
                WINE, PROGRAM, "gateway", "--data", r"C:\vestibule-service\gateway", "--organization", "mycompany",
                "--https", f"127.0.0.1:{https}", "--tunnel", f"127.0.0.1:{tunnel}", "--advertise",
                f"127.0.0.1:{tunnel}", "--interface", "gateway0", "--route", "10.20.0.0/24",
            ],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
        )
        self.facts = {}

    def read_facts(self):
        """Its facts once it serves; None before."""
        try:
            self.facts = json.loads((WORK / "gateway/gateway.json").read_text())
        except (OSError, ValueError):
            return None
        return self.facts

    def ask(self, method, path, body=None):
        """An answer of its API."""
        token = (WORK / "gateway/admin-token").read_text().strip()
        url = f"{self.facts['url']}/client/v4/accounts/{self.facts['account_id']}/{path}"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        # Its certificate is of its own making.
        trusting = ssl._create_unverified_context()
        with urllib.request.urlopen(request, timeout=PATIENCE, context=trusting) as answer:
            return json.load(answer)["result"]

    def admit_devices(self):
        """Lets whoever shows a new service token enrol; the token."""
        token = self.ask("POST", "access/service_tokens", {"name": "Pre-login", "duration": "24h"})
        application = self.ask("GET", "access/apps")[0]["id"]
        include = [{"service_token": {"token_id": token["id"]}}]
        policy = {"name": "Devices", "decision": "non_identity", "precedence": 1, "include": include}
        self.ask("POST", f"access/apps/{application}/policies", policy)
        return token

    def said(self):
        return rewound(self.log).read().decode(errors="replace")


def install(tally, gateway):
    facts = gateway.facts
    words = ["service", "install", "--json", "--now", "--gateway", facts["url"], "--pin", facts["certificate_sha256"]]
    installed = vestibule(*words, "--sessions", SESSIONS)
    told = installed.json() or {}
    tally.check("the service installs and starts", told.get("started") is True, installed)
    tally.check("it is new", told.get("replaced") is False, installed)
    tally.wait("the manager says that it runs", manager_says, lambda said: said == "RUNNING")
    key = rf"HKLM\SYSTEM\CurrentControlSet\Services\{SERVICE}"
    start = Ended("reg.exe", "query", key, "/v", "Start")
    tally.check("it starts with the system", "0x2" in start.out, start)


def second_instance(tally, facts):
    second = vestibule("service", "run", "--sessions", SESSIONS + "-2")
    tally.check("a second instance is refused", second.status == 1, second)
    refusal = r"another `vestibule service run` uses the state directory C:\ProgramData\Vestibule: stop that one first"
    tally.check("and says why, and what to do", refusal in second.errors, second)
    words = ["--state", r"C:\vestibule-service\state", "--sessions", SESSIONS + "-2", "--gateway", facts["url"]]
    elsewhere = vestibule("service", "run", *words, "--pin", facts["certificate_sha256"])
    tally.check("so is one with a state of its own and the same pipe", elsewhere.status == 1, elsewhere)
    tally.check("and says which pipe", "another process already listens on" in elsewhere.errors, elsewhere)


def configuration(tally, token):
    """The MDM file is read where the vendor has it, and again when it changes."""
    told = vestibule("mdm", "get-configs", "--json")
    tally.check("mdm.xml is the vendor's", r"C:\\ProgramData\\Cloudflare\\mdm.xml" in told.out, told)
    tally.check("its secret is not shown", token["client_secret"] not in told.out)
    before = (told.json() or {}).get("loaded_at")
    write_mdm(tally, token, "SUPPORT_URL=https://support.example")
    tally.wait("a change of it is seen", lambda: vestibule("mdm", "get-configs", "--json").json() or {},
               lambda seen: seen.get("state") == "loaded" and seen.get("loaded_at") != before)


def write_mdm(tally, token, *more):
    written = vestibule(
        "mdm", "write", r"C:\ProgramData\Cloudflare\mdm.xml", "ORGANIZATION=mycompany", "PRE_LOGIN=1",
        f"AUTH_CLIENT_ID={token['client_id']}", f"AUTH_CLIENT_SECRET={token['client_secret']}", *more,
    )
    tally.check("mdm.xml is written", written.status == 0 and MDM.exists(), written)


def killed(tally, before):
    """A service that was killed is the same device when it starts again."""
    processes = own_processes("--managed")
    tally.check("the service is one process", len(processes) == 1, processes)
    for process in processes:
        os.kill(process, signal.SIGKILL)
    tally.wait("its process is gone", lambda: own_processes("--managed"), lambda found: not found)
    absent = vestibule("status")
    tally.check("status says that nobody runs", absent.status == 1 and absent.errors.strip(), absent)
    started = Ended("net.exe", "start", SERVICE)
    tally.check("it starts again", started.status == 0, started)
    after = tally.wait("it is connected again", status, connected)
    for fact in ("device_id", "registration", "addresses"):
        tally.check(f"its {fact} is the same", after.get(fact) == before.get(fact), (before.get(fact), after.get(fact)))


def stop_and_uninstall(tally):
    stopped = Ended("net.exe", "stop", SERVICE)
    tally.check("it stops", stopped.status == 0, stopped)
    tally.wait("the manager says so", manager_says, lambda said: said == "STOPPED")
    tally.check("its process is gone", not own_processes("--managed"))
    started = Ended("net.exe", "start", SERVICE)
    tally.check("it starts after that", started.status == 0, started)
    tally.wait("it is connected after that", status, connected)
    gone = vestibule("service", "uninstall", "--json")
    tally.check("a running service is uninstalled", (gone.json() or {}).get("ran") is True, gone)
    tally.check("the manager knows it no more", manager_says() == "")
    tally.check("its process is gone then", not own_processes("--managed"))
    again = vestibule("service", "uninstall")
    tally.check("a service that is not there is told", "is not installed" in again.errors and again.status == 1, again)
    tally.check("its state stays", any(STATE.iterdir()))


def logs(tally, token):
    log = STATE / "log/daemon.log"
    told = log.read_text(errors="replace") if log.exists() else ""
    tally.check("its log tells starts and ends", "the service runs" in told and "the service has stopped" in told)
    tally.check("the token's secret is not in it", token["client_secret"] not in told)


def story(tally, gateway):
    if not tally.wait("the gateway serves", gateway.read_facts, lambda facts: facts is not None):
        return
    token = gateway.admit_devices()
    write_mdm(tally, token)
    install(tally, gateway)
    before = tally.wait("before login the device is itself, and connected", status, connected)
    tally.check("it has addresses", bool(before.get("addresses")), before.get("addresses"))
    configuration(tally, token)
    second_instance(tally, gateway.facts)
    tally.check("the first goes on", connected(status()))
    killed(tally, before)
    stop_and_uninstall(tally)
    logs(tally, token)


def clean_up():
    """However it went: no service, no process, no file of ours."""
    vestibule("service", "uninstall")
    for process in own_processes("--managed") + own_processes("gateway", "gateway0"):
        os.kill(process, signal.SIGKILL)
    for directory in (WORK, STATE, MDM.parent):
        shutil.rmtree(directory, ignore_errors=True)


def main():
    tally = Tally()
    clean_up()
    WORK.mkdir(parents=True)
    gateway = Gateway()
    try:
        story(tally, gateway)
    except (OSError, subprocess.SubprocessError, LookupError) as error:
        tally.check("the story is told to its end", False, repr(error))
    finally:
        if tally.failed:
            print(gateway.said())
            log = STATE / "log/daemon.log"
            print(log.read_text(errors="replace") if log.exists() else "the service has no log")
        clean_up()
        gateway.process.wait(PATIENCE)
        gateway.log.close()
    print(f"windows result: counted. {tally.passed} passed; {tally.failed} failed; 0 skipped")
    return 1 if tally.failed else 0


sys.exit(main())
