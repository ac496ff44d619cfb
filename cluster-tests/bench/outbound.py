"""Mail to another server: how fast it goes through, beside Postfix, and what a long queue for a dead host costs."""
import concurrent.futures
import pathlib
import socket
import statistics
import subprocess
import sys
import time

import servers

SINK, POSTFIX, DEAD = 2526, 2627, 2999
STEPS = (("submission to the sink, 4 KiB, 10 connections", 4096, 2000), ("submission to the sink, 64 KiB, 10 connections", 65536, 600))
LONG_QUEUE = "a long queue for a dead host"
PATIENCE = 300
LINE = b"x" * 70 + b"\r\n"


def step_names():
    return [*(name for name, _, _ in STEPS), LONG_QUEUE]


class Sink:
    def __init__(self):
        here = pathlib.Path(__file__).parent / "sink.py"
        self.process = subprocess.Popen([sys.executable, here, str(SINK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def taken(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait_for(self, count):
        deadline = time.time() + PATIENCE
        while self.taken() < count:
            if time.time() > deadline:
                raise SystemExit(f"bench: the sink has {self.taken()} of {count} mails")
            time.sleep(0.01)

    def stop(self):
        self.process.communicate()


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
    """All of it is taken when this returns."""
    share = [count // connections + (at < count % connections) for at in range(connections)]
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(converse, port, mails, to, size) for mails in share]:
            done.result()


def converse(port, mails, to, size):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = connection.makefile("rwb")
        text = b"From: a@example.test\r\nSubject: bench\r\n\r\n" + LINE * (size // len(LINE)) + b".\r\n"

        def heard(code):
            while True:
                line = wire.readline()
                if line[3:4] != b"-":
                    break
            if not line.startswith(code):
                raise SystemExit(f"bench: {line.decode(errors='replace')}")
        heard(b"220")
        wire.write(b"EHLO bench.test\r\n")
        wire.flush()
        heard(b"250")
        for _ in range(mails):
            wire.write(b"MAIL FROM:<a@example.test>\r\nRCPT TO:<" + to + b">\r\nDATA\r\n")
            wire.flush()
            heard(b"250")
            heard(b"250")
            heard(b"354")
            wire.write(text)
            wire.flush()
            heard(b"250")
        wire.write(b"QUIT\r\n")
        wire.flush()


def through(sink, port, count, size):
    """Mails in a second, from the first word until the sink has the last."""
    before, started = sink.taken(), time.time()
    submit(port, count, b"b@far.test", size)
    sink.wait_for(before + count)
    return count / (time.time() - started)


def tables(ours, work, chosen, reps, scale, queued):
    sink, port = Sink(), servers.BASE + 25
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
    submit(port, queued, b"b@dead.test", 1024)
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
