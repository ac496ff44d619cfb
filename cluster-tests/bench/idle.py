"""Clients that sit in IDLE over TLS: what each costs in memory, and how soon all of them hear of a mail."""
import subprocess
import sys
import time

from servers import MAILLOAD

LANES = 4
MAILS = 12
# Beyond 128 processes the peer tells by its poll of 30 s only.
WAIT_SECONDS = 35


def table(servers, idlers):
    out = [f"| {idlers:,} clients in IDLE over TLS | Dovecot | Pollux pair |", "|---|---|---|"]
    memory = {label: memory_each(server, idlers) for label, server in servers.items()}
    lag = {label: push(server, idlers) for label, server in servers.items()}
    rows = [("memory for each, KiB, over all processes", memory),
            ("from the 250 to EXISTS, ms, p50", {label: got["p50"] for label, got in lag.items()}),
            ("from the 250 to EXISTS, ms, p99", {label: got["p99"] for label, got in lag.items()})]
    for name, cells in rows:
        show = lambda label: f"{cells[label]:.1f}" if label in cells else ""
        out.append(f"| {name} | {show('peer')} | {show('ours')} |")
    return out


def memory_each(server, idlers):
    before = server.pss_mib()
    command = [MAILLOAD, "hold", "--to", server.ports["reads"], "--tls", "implicit", "--user", server.ports["user"],
               "--pass", server.ports["pass"], "--users", "20", "--conns", str(idlers), "--secs", "5"]
    holding = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if not holding.stdout.readline().startswith("READY"):
        raise SystemExit("bench: the idle clients did not get in")
    time.sleep(2)
    grown = server.pss_mib() - before
    holding.communicate(timeout=120)
    print("idle memory", grown, file=sys.stderr, flush=True)
    return grown * 1024 / idlers


def push(server, idlers):
    """Of every client that hears of a mail: `LANES` users, each with its share of the clients."""
    result = server.load("idlelag", "--to", server.ports["reads"], "--tls", "implicit", "--deliver", server.ports["smtp"],
                         "--lanes", LANES, "--idlers", max(1, idlers // LANES), "--count", MAILS, "--wait-secs", WAIT_SECONDS)
    print("idle push", result["lag"], file=sys.stderr, flush=True)
    return result["lag"]
