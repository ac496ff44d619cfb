"""The two sides of the comparison: how each is started, where it listens, and which processes are its."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

HZ = os.sysconf("SC_CLK_TCK")
MAILLOAD = os.environ["MAILLOAD"]
BASE = 20000
PEER = {"smtp": "127.0.0.1:2525", "lmtp": "127.0.0.1:2124", "imap": "127.0.0.1:2143", "imaps": "127.0.0.1:2993",
        "pop3": "127.0.0.1:2110", "user": "u%d@test.local", "pass": "pw%d"}


def node_port(node, standard):
    return f"127.0.0.1:{BASE + (node - 1) * 1000 + standard}"


OURS = {"smtp": node_port(1, 25), "lmtp": node_port(1, 24), "imap": node_port(1, 143), "imaps": node_port(1, 993),
        "pop3": node_port(1, 110), "user": "user%d@example.test", "pass": "demo-user%d"}
# LMTP serves on one node at first; IMAP reads the other node, so that "visible" means on both.
READING = {"read": node_port(2, 143), "reads": node_port(2, 993), "read_pop3": node_port(2, 110)}
NODES = ("node1", "node2", "witness")


def processes():
    """What /proc says of each: its parent, and its processor time, waited-for children included."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = open(f"/proc/{entry}/stat").read()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2:].split()
            table[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / HZ)
    return table


def descend(table, roots):
    """Those of the table that are `roots` or descend from them."""
    for pid in table:
        at, depth = pid, 0
        while at in table and at not in roots and depth < 50:
            at, depth = table[at][0], depth + 1
        if at in roots:
            yield pid


def family(roots):
    return list(descend(processes(), roots))


def cpu_seconds(roots):
    """Processor time of these processes and all their descendants."""
    table = processes()
    return sum(table[pid][1] for pid in descend(table, roots))


def pss_mib(pid):
    try:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # it ended meanwhile
    return 0.0


class Server:
    """One side of the comparison: where it listens, which processes are its, and how what reads is started anew."""

    def __init__(self, ports, roots, start_anew=lambda: None):
        self.ports, self.roots, self.start_anew = ports, roots, start_anew

    def cpu_seconds(self):
        return cpu_seconds(self.roots())

    def pss_mib(self):
        """Of all its processes."""
        return sum(pss_mib(pid) for pid in family(self.roots()))

    def load(self, mode, *arguments, drain=None):
        command = [MAILLOAD, mode, "--user", self.ports["user"], "--pass", self.ports["pass"], "--users", "20"]
        command += [str(argument) for argument in arguments]
        if drain:
            command += ["--drain-imap", drain]
        before = self.cpu_seconds()
        done = subprocess.run(command, text=True, capture_output=True, timeout=580)
        time.sleep(0.2)  # sessions that just ended are reaped; their CPU time is counted at the parent
        spent = self.cpu_seconds() - before
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise SystemExit(f"bench: {' '.join(command)}: {done.stderr[-400:]}")
        result = lines[-1]
        count = operations(result)
        result["cpu_ms"] = spent * 1000 / count if count else 0.0
        if result.get("errors"):
            print(f"  errors: {result['errors']} {result.get('last_error', '')}", file=sys.stderr)
        return result


def operations(result):
    return result.get("acked") or result.get("ops") or (result.get("lag") or {}).get("n") or result.get("retr_s", 0) * result.get("secs", 0)


class Pollux:
    """Our own cluster, as `pollux demo` starts it."""

    def __init__(self, binary, work):
        self.binary, self.dir = binary, pathlib.Path(work) / "ours"
        self.process = None
        self.restarted = []

    def start(self):
        arguments = [self.binary, "demo", "--dir", str(self.dir), "--base-port", str(BASE), "--users", "30", "--no-tour", "--keep"]
        log = open(self.dir.with_suffix(".log"), "w")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.DEVNULL)
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
        else:
            raise SystemExit(f"bench: the demo did not start: {open(log.name).read()}")
        self.command("node1", "policy", "set", "auth.plaintext_without_tls", "true")
        self.command("node1", "policy", "set", "listener.lmtp.enabled", "true")
        wait_for_port(OURS["lmtp"])

    def command(self, node, *arguments):
        config = str(self.dir / node / "pollux.toml")
        done = subprocess.run([self.binary, *arguments, "--config", config], text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"bench: pollux {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def pid(self, node):
        return int((self.dir / node / "pid").read_text())

    def server(self):
        return Server({**OURS, **READING}, lambda: {self.pid(node) for node in NODES}, self.start_reader_anew)

    def memory_mib(self):
        return {node: pss_mib(self.pid(node)) for node in NODES}

    def start_reader_anew(self):
        """The node that is read from, stopped in order and started with nothing in memory."""
        pid = self.pid("node2")
        os.kill(pid, signal.SIGTERM)
        deadline = time.time() + 30
        while is_running(pid):
            if time.time() > deadline:
                raise SystemExit("bench: node2 does not stop")
            time.sleep(0.02)
        self.restart("node2")
        wait_for_port(READING["read"])
        wait_protected(self)

    def restart(self, node):
        """Starts a node that was killed; the demo knows only those it started itself."""
        log = open(self.dir / node / "log", "a")
        config = str(self.dir / node / "pollux.toml")
        self.restarted.append(subprocess.Popen([self.binary, "serve", "--config", config], stdout=log, stderr=log))

    def stop(self):
        for process in self.restarted:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)


class Peers:
    def __init__(self, folder):
        self.folder = folder

    def start(self):
        subprocess.run(["./up.sh", "solo"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        time.sleep(1)

    def server(self):
        out = subprocess.run(["bash", "-c", ". ./lib.sh; dovecot_pid solo; postfix_pid solo"], cwd=self.folder,
                             text=True, capture_output=True).stdout.split()
        pids = {int(pid) for pid in out}
        # Each connection is served by a process of its own: nothing is to be started anew.
        reading = {"read": PEER["imap"], "reads": PEER["imaps"], "read_pop3": PEER["pop3"]}
        return Server({**PEER, **reading}, lambda: pids)

    def stop(self):
        subprocess.run(["./down.sh", "--purge"], cwd=self.folder)


def wait_for_port(where, patience=30):
    host, port = where.split(":")
    deadline = time.time() + patience
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            if time.time() > deadline:
                raise SystemExit(f"bench: nothing listens on {where}")
            time.sleep(0.05)


def is_running(pid):
    """Not a zombie that its parent has yet to look at."""
    try:
        text = open(f"/proc/{pid}/stat").read()
    except OSError:
        return False
    return text[text.rindex(")") + 2] != "Z"


def wait_protected(ours, patience=60):
    deadline = time.time() + patience
    while time.time() < deadline:
        for node in ("node1", "node2"):
            config = str(ours.dir / node / "pollux.toml")
            done = subprocess.run([ours.binary, "cluster", "status", "--json", "--config", config], text=True, capture_output=True)
            if done.returncode == 0:
                status = json.loads(done.stdout)
                calm = all(n["state"] != "down" and n.get("lag_entries", 0) == 0 for n in status["nodes"])
                if status["protection"] == "protected" and status["leader"] and calm:
                    return status
        time.sleep(0.1)
    raise SystemExit("bench: not protected within the patience")
