"""What the checks of strangers cost: one and the same signed mail, with all checks on and with all off, in turn."""
import json
import os
import statistics
import subprocess
import sys
import time

import servers

STRANGERS = os.environ.get("STRANGERS", "target/release/strangers")
NAMES = ("SMTP from a stranger, signed, 4 KiB, 10 connections", "SMTP from a stranger, signed, 4 KiB, 1 connection")
# What is asked is in the cache of the node after a few mails; greylisting knows the stranger from the first run on.
ON = {"dnsbl.zones": "bl.stranger.test", "client.hostname": "reject", "helo.must_exist": "true", "greylist.enabled": "true",
      "greylist.delay_seconds": "1", "dkim.fail": "reject", "spf.fail": "reject", "checks.exempt_networks": ""}
OFF = {"checks.exempt_networks": "127.0.0.0/8,::1/128"}


def step_names():
    return NAMES


def table(ours, chosen, reps, scale):
    dns = subprocess.Popen([STRANGERS, "dns"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        where = dns.stdout.readline().strip()
        settings(ours, {"dns.servers": where, **ON})
        out = ["| mail in a second | all checks off | all checks on | on / off | server CPU ms each: off | on |", "|---|---|---|---|---|---|"]
        for name, mails, connections in zip(NAMES, (2000, 400), (10, 1)):
            if chosen(name):
                out.append(row(ours, name, (max(40, mails // scale), connections), reps))
        return out
    finally:
        unset(ours, [*ON, "dns.servers"])
        dns.communicate("")


def row(ours, name, load, reps):
    send(ours, (40, 1))  # whatever is kept in memory is there from now on
    runs = []
    for _ in range(reps):
        settings(ours, OFF)
        off = send(ours, load)
        settings(ours, ON)
        runs.append((off, send(ours, load)))
        print(name, runs[-1], file=sys.stderr, flush=True)
    middle = lambda figures: statistics.median(figures)
    rate = lambda at: middle(run[at]["rate"] for run in runs)
    cpu = lambda at: middle(run[at]["cpu_ms"] for run in runs)
    share = middle(on["rate"] / off["rate"] for off, on in runs)
    return f"| {name} | {rate(0):.1f} | {rate(1):.1f} | {share:.2f} | {cpu(0):.2f} | {cpu(1):.2f} |"


def send(ours, load):
    mails, connections = load
    server = ours.server()
    before = server.cpu_seconds()
    command = [STRANGERS, "send", servers.OURS["smtp"], str(mails), str(connections), "20"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=580)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr[-400:]}")
    time.sleep(0.2)
    got = json.loads(done.stdout)
    return {"rate": got["acked"] / got["secs"], "cpu_ms": (server.cpu_seconds() - before) * 1000 / got["acked"]}


def settings(ours, wanted):
    for key, value in wanted.items():
        ours.command("node1", "policy", "set", key, value)


def unset(ours, keys):
    for key in keys:
        ours.command("node1", "policy", "unset", key)
