"""Mail to another server: how fast it goes through, beside Postfix, and what a long queue for a dead host costs."""
import pathlib
import statistics
import subprocess
import sys
import time

import servers

SINK, POSTFIX, DEAD = 2526, 2627, 2999
STEPS = (("submission to the sink, 4 KiB, 10 connections", 4096, 2000), ("submission to the sink, 64 KiB, 10 connections", 65536, 600))
LONG_QUEUE = "a long queue for a dead host"
PATIENCE = 300


def step_names():
    return [*(name for name, _, _ in STEPS), LONG_QUEUE]


class Sink:
    """Postfix's own far side for tests: takes every mail, forgets it, and counts."""

    def __init__(self, work):
        self.counts = pathlib.Path(work) / "sink.counts"
        with self.counts.open("wb") as out:
            self.process = subprocess.Popen(["smtp-sink", "-u", "postfix", "-c", f"127.0.0.1:{SINK}", "100"], stdout=out, cwd="/")
        servers.wait_for_port(f"127.0.0.1:{SINK}")

    def taken(self):
        with self.counts.open("rb") as counts:
            counts.seek(max(0, counts.seek(0, 2) - 200))
            lines = counts.read().split(b"\r")
        return int(lines[-2].rpartition(b"mesg=")[2]) if len(lines) > 1 else 0

    def wait_for(self, count):
        deadline = time.time() + PATIENCE
        while self.taken() < count:
            if time.time() > deadline:
                raise SystemExit(f"bench: the sink has {self.taken()} of {count} mails")
            time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Postfix:
    """One that takes mail from here and sends it to the sink; nothing else of it is changed."""

    def __init__(self, work):
        self.home = pathlib.Path(work) / "postfix"
        for folder in ("conf", "queue", "data"):
            (self.home / folder).mkdir(parents=True)
        self.home.chmod(0o755)
        daemons = subprocess.run(["postconf", "-dh", "daemon_directory"], text=True, capture_output=True, check=True).stdout.strip()
        subprocess.run(["chown", "postfix", self.home / "data"], check=True)
        (self.home / "conf/main.cf").write_text(
            f"compatibility_level = 3.6\nqueue_directory = {self.home}/queue\ndata_directory = {self.home}/data\n"
            f"daemon_directory = {daemons}\nmail_owner = postfix\nsetgid_group = postdrop\ninet_interfaces = loopback-only\n"
            "inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmyhostname = postfix.test\nmydestination =\nalias_maps =\n"
            f"alias_database =\nrelayhost = [127.0.0.1]:{SINK}\nsmtpd_relay_restrictions = permit_mynetworks, reject\n"
            f"maillog_file = {self.home}/log\nmaillog_file_prefixes = {self.home}\n")
        services = ["cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                    "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
                    "trace unix - - n - 0 bounce", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
                    "error unix - - n - - error", "retry unix - - n - - error", "scache unix - - n - 1 scache",
                    "anvil unix - - n - 1 anvil", "postlog unix-dgram n - n - 1 postlogd"]
        lines = [f"127.0.0.1:{POSTFIX} inet n - n - - smtpd", *services]
        (self.home / "conf/master.cf").write_text("\n".join(lines) + "\n")
        self.control("start")
        servers.wait_for_port(f"127.0.0.1:{POSTFIX}")

    def control(self, word):
        done = subprocess.run(["postfix", "-c", self.home / "conf", word], text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"bench: postfix {word}: {done.stderr}")

    def roots(self):
        return {int((self.home / "queue/pid/master.pid").read_text())}


def submit(port, count, to, size, connections=10):
    """By Postfix's own load generator. All of it is taken when this returns."""
    command = ["smtp-source", "-d", "-s", str(connections), "-l", str(size), "-m", str(count), "-f", "a@example.test", "-t", to, f"127.0.0.1:{port}"]
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"bench: smtp-source: {done.stderr}")


def through(sink, port, count, size):
    """Mails in a second, from the first word until the sink has the last."""
    before, started = sink.taken(), time.time()
    submit(port, count, "b@far.test", size)
    sink.wait_for(before + count)
    return count / (time.time() - started)


def tables(ours, work, chosen, reps, scale, queued):
    sink, port = Sink(work), servers.BASE + 25
    settings = {"relay.host": f"127.0.0.1:{SINK}", "relay.open_networks": "127.0.0.0/8"}
    for key, value in settings.items():
        ours.command("node1", "policy", "set", key, value)
    postfix = Postfix(work)
    try:
        out = ["| mail in a second | Postfix | Pollux pair | ahead by (ratio) |", "|---|---|---|---|"]
        for name, size, count in STEPS:
            if chosen(name):
                out.append(row(sink, port, (name, size, max(40, count // scale)), reps))
        if chosen(LONG_QUEUE):
            out += [""] + long_queue(ours, sink, port, queued, max(40, 1000 // scale))
        return out
    finally:
        postfix.control("stop")
        sink.stop()
        for key in settings:
            ours.command("node1", "policy", "unset", key)


def row(sink, port, step, reps):
    name, size, count = step
    runs = []
    for _ in range(reps):
        runs.append((through(sink, POSTFIX, count, size), through(sink, port, count, size)))
        print(name, runs[-1], file=sys.stderr, flush=True)
    theirs, own = (statistics.median(run[at] for run in runs) for at in (0, 1))
    ratio = statistics.median(run[1] / run[0] for run in runs)
    return f"| {name} | {theirs:.1f} | {own:.1f} | {ratio:.2f} |"


def long_queue(ours, sink, port, queued, count):
    """Its cost in memory, how long a look at it takes, and what becomes of mail to others meanwhile."""
    ours.command("node1", "relay", "add", "dead", "--host", f"127.0.0.1:{DEAD}", "--for-recipient", "@dead.test", "--tls", "off")
    empty = through(sink, port, count, 4096)
    before = ours.memory_mib()
    submit(port, queued, "b@dead.test", 1024)
    full = [through(sink, port, count, 4096) for _ in range(3)]
    after = ours.memory_mib()
    started = time.time()
    listed = ours.command("node2", "queue", "list", "--limit", "100").count("\n")
    looked = (time.time() - started) * 1000
    grown = {node: after[node] - before[node] for node in before}
    return [f"| {queued} mails queued for a dead host | |", "|---|---|",
            f"| more memory, node1 / node2 / witness (PSS, MiB) | {' / '.join(f'{grown[node]:.0f}' for node in grown)} |",
            f"| `queue list --limit 100` on node2: lines, ms | {listed}, {looked:.0f} |",
            f"| mail to others in a second, as a share of the rate with an empty queue | {statistics.median(full) / empty:.2f} |"]
