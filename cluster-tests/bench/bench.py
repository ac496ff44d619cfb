#!/usr/bin/env python3
"""Measures Pollux (two data nodes and a witness) beside Postfix + Dovecot (one server), step by step in turn.

Every step runs on the peer, then on ours; the tables give medians and the ratio of the medians of each pair of runs.
Server CPU is the servers' own processor time for one operation, over all their processes. The disk and the two cores
are shared with the load generator and with strangers: read ratios, not rates.

--only takes names of groups (rates, checks, folder, large, idle, outbound, failover) or parts of names of steps, with commas between
them; what it finds is shown, and docs/benchmarks.md stays as it is.
"""
import argparse
import os
import pathlib
import sys

import big
import checks
import failover
import idle
import outbound
import rates
from servers import Peers, Pollux

GROUPS = ("rates", "checks", "folder", "large", "idle", "outbound", "failover")


class Choice:
    """What --only says."""

    def __init__(self, only):
        self.words = [word.strip().lower() for word in only.split(",") if word.strip()]

    def group(self, group):
        return not self.words or group in self.words

    def step(self, group):
        """Whether a step of that group is wanted, by its name."""
        return lambda name: self.group(group) or any(word in name.lower() for word in self.words if word not in GROUPS)

    def any_step(self, group, names):
        return any(map(self.step(group), names))


def rate_table(rows):
    out = ["| step | Postfix + Dovecot | Pollux pair | ahead by (ratio) | server CPU ms each: theirs | ours |", "|---|---|---|---|---|---|"]
    show = lambda value, digits=1: "" if value is None else f"{value:.{digits}f}"
    for row in rows:
        ratio = "" if "ratio" not in row else f"{row['ratio']:.2f}"
        out.append(f"| {row['name']} | {show(row.get('peer'))} | {show(row['ours'])} | {ratio} | {show(row.get('peer_cpu'), 2)} | {show(row['ours_cpu'], 2)} |")
    return out + ["", "Rates are per second, unless the step says ms."]


def memory_table(fresh, loaded):
    out = ["| memory (PSS, MiB) | node1 | node2 | witness |", "|---|---|---|---|"]
    return out + [f"| {label} | {m['node1']:.1f} | {m['node2']:.1f} | {m['witness']:.1f} |"
                  for label, m in (("fresh, 30 users", fresh), ("after the load", loaded))]


def run(options, choice, ours, peers):
    """The text of the report, a section for each group."""
    servers = {"peer": peers.server()} if peers else {}
    servers["ours"] = ours.server()
    fresh = ours.memory_mib()
    text = []
    rows = rates.compare(servers, choice.step("rates"), options.reps, options.scale)
    if rows:
        text += rate_table(rows) + [""] + memory_table(fresh, ours.memory_mib())
    if choice.any_step("checks", checks.step_names()):
        text += [""] + checks.table(ours, choice.step("checks"), options.reps, options.scale)
    if choice.any_step("folder", big.step_names()):
        text += [""] + big.folder_tables(servers, choice.step("folder"), options.sizes)
    if choice.group("large"):
        text += [""] + big.large_table(servers, options.large, options.peer_large_max)
    if choice.group("idle"):
        text += [""] + idle.table(servers, options.idlers)
    if choice.any_step("outbound", outbound.step_names()):
        text += [""] + outbound.tables(ours, options.work, choice.step("outbound"), options.reps, options.scale, options.queued)
    if options.kills and choice.group("failover"):
        text += [""] + failover.table(ours, options.kills)
    return text


def arguments():
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--reps", type=int, default=3, help="runs of each step of the first table")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scale", type=int, default=1, help="divides the number of operations of each step of the first table")
    parser.add_argument("--sizes", type=numbers, default=[10_000, 20_000, 40_000], help="messages of the folder, ascending")
    parser.add_argument("--large", type=numbers, default=[100_000, 1_000_000], help="messages of the folders that are only opened")
    parser.add_argument("--peer-large-max", type=int, default=100_000, help="the peer is not given larger ones")
    parser.add_argument("--idlers", type=int, default=1000)
    parser.add_argument("--queued", type=int, default=100_000, help="mails that wait for a dead host")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--out", help="docs/benchmarks.md, unless --only is given")
    return parser.parse_args()


def main():
    options = arguments()
    choice = Choice(options.only)
    binary = os.environ.get("POLLUX_BIN", str(pathlib.Path("target/release/pollux").resolve()))
    ours = Pollux(binary, options.work)
    peers = None if options.ours_only else Peers(options.peers)
    try:
        ours.start()
        if peers:
            peers.start()
        body = run(options, choice, ours, peers)
    finally:
        if peers:
            peers.stop()
        ours.stop()
    text = pathlib.Path(__file__).with_name("benchmarks.head.md").read_text().splitlines()
    given = " ".join(sys.argv[5:])  # behind --peers and --work, which run.sh gives
    text += ["", f"Command: `make bench BENCH_ARGS='{given}'`", ""] + body
    out = options.out or (None if choice.words else "docs/benchmarks.md")
    if out:
        pathlib.Path(out).write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
