"""Steps that many clients take at once: what a server does in a second."""
import statistics
import sys

def figure(result, kind):
    if kind == "rate":
        return result.get("msgs_s") or result.get("ops_s") or result.get("retr_s")
    if kind in ("p50", "p99"):
        return result["lag"][kind]
    return result[kind]


# An EXISTS that overtakes its 250 came after 0 ms: that is not told apart from this.
TOLD_APART_MS = 0.01


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


def compare(servers, chosen, reps, scale):
    """Rows of the table, of the steps that are chosen by name."""
    rows = []
    for figures, run in steps(scale):
        figures = [(name, kind) for name, kind in figures if chosen(name)]
        if not figures:
            continue
        results = {label: [] for label in servers}
        for _ in range(reps):
            for label, server in servers.items():
                results[label].append(run(server))
        for name, kind in figures:
            row = {"name": name}
            for label, got in results.items():
                row[label] = statistics.median(figure(result, kind) for result in got)
                row[label + "_cpu"] = statistics.median(result["cpu_ms"] for result in got)
            if "peer" in servers:
                pairs = [(figure(mine, kind), figure(theirs, kind)) for mine, theirs in zip(results["ours"], results["peer"])]
                # Of times, less is better: the ratio says by how much ours is ahead in both cases.
                times = kind in ("p50", "p99")
                row["ratio"] = statistics.median(b / max(a, TOLD_APART_MS) if times else a / b for a, b in pairs)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows
