#!/usr/bin/env python3
"""Measures Pollux (two data nodes and a witness) beside Postfix + Dovecot (one server), step by step in turn.

Every step runs on the peer, then on ours, --reps times; the table gives medians and the ratio of the medians of each
pair of runs. Server CPU is the servers' own processor time for one operation, over all their processes. The disk and
the two cores are shared with the load generator and with strangers: read ratios, not rates.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import statistics
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
OTHER_IMAP = node_port(2, 143)


def cpu_seconds(roots):
    """Processor time of these processes and all their descendants, waited-for children included."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = open(f"/proc/{entry}/stat").read()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2:].split()
            table[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / HZ)
    total = 0.0
    for pid, (_, seconds) in table.items():
        at, depth = pid, 0
        while at in table and at not in roots and depth < 50:
            at, depth = table[at][0], depth + 1
        total += seconds if at in roots else 0.0
    return total


def pss_mib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Server:
    """One side of the comparison: where it listens and which processes are its."""

    def __init__(self, ports, roots):
        self.ports, self.roots = ports, roots

    def load(self, mode, *arguments, drain=None):
        command = [MAILLOAD, mode, "--user", self.ports["user"], "--pass", self.ports["pass"], "--users", "20"]
        command += [str(argument) for argument in arguments]
        if drain:
            command += ["--drain-imap", drain]
        before = cpu_seconds(self.roots)
        done = subprocess.run(command, text=True, capture_output=True, timeout=580)
        time.sleep(0.2)  # sessions that just ended are reaped; their CPU time is counted at the parent
        spent = cpu_seconds(self.roots) - before
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise SystemExit(f"bench: {' '.join(command)}: {done.stderr[-400:]}")
        result = lines[-1]
        count = operations(result)
        result["cpu_ms"] = spent * 1000 / count if count else 0.0
        if result.get("errors"):
            print(f"  errors: {result['errors']} {result.get('last_error', '')}", file=sys.stderr)
        return result


def figure(result, kind):
    if kind == "rate":
        return result.get("msgs_s") or result.get("ops_s") or result.get("retr_s")
    if kind in ("p50", "p99"):
        return result["lag"][kind]
    return result[kind]


def operations(result):
    return result.get("acked") or result.get("ops") or (result.get("lag") or {}).get("n") or result.get("retr_s", 0) * result.get("secs", 0)


def steps(scale):
    """(rows of the table as (name, figure), what to run)"""
    n = lambda count: max(20, count // scale)
    imap = lambda name, scenario, count, *more: (
        [(name, "rate")], lambda s: s.load("imap", "--to", s.ports["imap"], "--scenario", scenario, "--ops", n(count), *more))
    mail = lambda name, port, count, *more: (
        [(f"{name}: acknowledged", "rate"), (f"{name}: visible in the mailbox", "delivered_s")],
        lambda s: s.load("smtp", "--to", s.ports[port], "--messages", n(count), *more, drain=s.ports["read"]))
    return [
        mail("SMTP 4 KiB, 10 connections", "smtp", 2000),
        mail("SMTP 4 KiB, 1 connection", "smtp", 400, "--conns", 1),
        mail("LMTP 4 KiB, 10 connections", "lmtp", 2000, "--lmtp"),
        imap("APPEND 4 KiB, 10 connections", "append", 1500, "--mailbox", "App"),
        imap("STORE, 10 connections", "store", 4000),
        imap("FETCH BODY[] at random, 10 connections", "fetchbody", 8000),
        imap("STATUS, 10 connections", "status", 8000),
        imap("NOOP, 10 connections", "noop", 20000),
        imap("login, repeated, 8 connections", "login", 300, "--conns", 8),
        ([("POP3 RETR, 4 connections", "rate")], lambda s: s.load("pop3", "--to", s.ports["pop3"], "--keep")),
        ([("250 to EXISTS by IDLE, ms, p50", "p50"), ("250 to EXISTS by IDLE, ms, p99", "p99")],
         lambda s: s.load("idlelag", "--to", s.ports["read"], "--deliver", s.ports["smtp"], "--count", n(200))),
    ]


class Pollux:
    """Our own cluster, as `pollux demo` starts it."""

    def __init__(self, binary, work):
        self.binary, self.dir = binary, pathlib.Path(work) / "ours"
        self.process = None
        self.restarted = []

    def start(self):
        arguments = [self.binary, "demo", "--dir", str(self.dir), "--base-port", str(BASE), "--users", "23", "--no-tour", "--keep"]
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
        pids = {self.pid(node) for node in ("node1", "node2", "witness")}
        return Server({**OURS, "read": OTHER_IMAP}, pids)

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
        return Server({**PEER, "read": PEER["imap"]}, {int(pid) for pid in out})

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


def first_answer(port, greet, started):
    """Milliseconds until this port takes one mail (SMTP) or one login (IMAP)."""
    while time.time() - started < 30:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
                if greet(connection.makefile("rwb", buffering=0)):
                    return (time.time() - started) * 1000
        except OSError:
            pass
        time.sleep(0.002)
    raise SystemExit("bench: no fail-over within 30 s")


def smtp_once(wire):
    def say(line, code):
        wire.write(line)
        while True:
            answer = wire.readline()
            if answer[3:4] != b"-":
                return answer.startswith(code)
    return (wire.readline().startswith(b"220") and say(b"EHLO bench\r\n", b"250")
            and say(b"MAIL FROM:<a@load.test>\r\n", b"250") and say(b"RCPT TO:<alice@example.test>\r\n", b"250")
            and say(b"DATA\r\n", b"354") and say(b"Subject: fail-over\r\n\r\nx\r\n.\r\n", b"250"))


def imap_once(wire):
    if not wire.readline().startswith(b"* OK"):
        return False
    wire.write(b"a LOGIN alice demo-alice\r\n")
    while True:
        line = wire.readline()
        if not line:
            return False
        if line.startswith(b"a "):
            return line.startswith(b"a OK")


def fail_over(ours, kills):
    """kill -9 of the leader, `kills` times; milliseconds to the first 250 on the survivor."""
    smtp, imap = [], []
    for _ in range(kills):
        status = wait_protected(ours)
        leader = next(node["name"] for node in status["nodes"] if node["id"] == status["leader"])
        survivor = 2 if leader == "node1" else 1
        os.kill(ours.pid(leader), signal.SIGKILL)
        started = time.time()
        with concurrent.futures.ThreadPoolExecutor() as both:
            base = BASE + (survivor - 1) * 1000
            accepted = both.submit(first_answer, base + 25, smtp_once, started)
            answered = both.submit(first_answer, base + 143, imap_once, started)
        smtp.append(accepted.result())
        imap.append(answered.result())
        ours.restart(leader)
    wait_protected(ours)
    return sorted(smtp), sorted(imap)


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


# An EXISTS that overtakes its 250 came after 0 ms: that is not told apart from this.
TOLD_APART_MS = 0.01


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def compare(ours, peers, reps, scale):
    rows = []
    servers = {"peer": peers.server()} if peers else {}
    servers["ours"] = ours.server()
    for figures, run in steps(scale):
        results = {label: [] for label in servers}
        for _ in range(reps):
            for label, server in servers.items():
                results[label].append(run(server))
        for name, kind in figures:
            row = {"name": name}
            for label, got in results.items():
                row[label] = statistics.median(figure(result, kind) for result in got)
                row[label + "_cpu"] = statistics.median(result["cpu_ms"] for result in got)
            if peers:
                pairs = [(figure(mine, kind), figure(theirs, kind)) for mine, theirs in zip(results["ours"], results["peer"])]
                # Of times, less is better: the ratio says by how much ours is ahead in both cases.
                times = kind in ("p50", "p99")
                row["ratio"] = statistics.median(b / max(a, TOLD_APART_MS) if times else a / b for a, b in pairs)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def table(rows):
    out = ["| step | Postfix + Dovecot | Pollux pair | ahead by (ratio) | server CPU ms each: theirs | ours |", "|---|---|---|---|---|---|"]
    show = lambda value, digits=1: "" if value is None else f"{value:.{digits}f}"
    for row in rows:
        ratio = "" if "ratio" not in row else f"{row['ratio']:.2f}"
        out.append(f"| {row['name']} | {show(row.get('peer'))} | {show(row['ours'])} | {ratio} | {show(row.get('peer_cpu'), 2)} | {show(row['ours_cpu'], 2)} |")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scale", type=int, default=1, help="divides the number of operations of each step")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--out", default="docs/benchmarks.md")
    options = parser.parse_args()
    binary = os.environ.get("POLLUX_BIN", str(pathlib.Path("target/release/pollux").resolve()))
    ours = Pollux(binary, options.work)
    peers = None if options.ours_only else Peers(options.peers)
    try:
        ours.start()
        idle = {node: pss_mib(ours.pid(node)) for node in ("node1", "node2", "witness")}
        if peers:
            peers.start()
        rows = compare(ours, peers, options.reps, options.scale)
        busy = {node: pss_mib(ours.pid(node)) for node in ("node1", "node2", "witness")}
        smtp, imap = fail_over(ours, options.kills) if options.kills else ([], [])
    finally:
        if peers:
            peers.stop()
        ours.stop()
    text = pathlib.Path(__file__).with_name("benchmarks.head.md").read_text().splitlines()
    command = f"make bench BENCH_ARGS='--reps {options.reps} --scale {options.scale} --kills {options.kills}'"
    text += ["", f"Command: `{command}`", ""] + table(rows)
    text += ["", "Rates are per second, unless the step says ms.", "", "| memory (PSS, MiB) | node1 | node2 | witness |", "|---|---|---|---|"]
    text += [f"| {label} | {m['node1']:.1f} | {m['node2']:.1f} | {m['witness']:.1f} |" for label, m in (("fresh, 23 users", idle), ("after the load", busy))]
    if smtp:
        text += ["", f"| fail-over, {len(smtp)} kills -9 of the leader | p50 ms | p99 ms | max ms |", "|---|---|---|---|"]
        text += [f"| {label} | {percentile(v, 0.5):.0f} | {percentile(v, 0.99):.0f} | {v[-1]:.0f} |" for label, v in (("to the first 250", smtp), ("to the first IMAP OK", imap))]
    pathlib.Path(options.out).write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
