"""Drives a running pair with real clients: `run.py ca.pem ADDRESS:OFFSET ADDRESS:OFFSET [STAGE]`.

A node's services listen on the standard ports plus OFFSET; the users are the demo's. Only the standard library is
needed. Each stage says what it has seen; the first thing that is not as it should be ends the run with exit 1.
"""

import sys
import time

import corpora
import dialogues
import sasl
import stress
import tools
from common import Node

STAGES = {"corpora": corpora.run, "dialogues": dialogues.run, "sasl": sasl.run, "stress": stress.run, "tools": tools.run}


def main(ca, one, two, stage=None):
    here, there = Node(one, ca), Node(two, ca)
    for name, run in STAGES.items():
        if stage not in (None, name):
            continue
        started = time.monotonic()
        for seen in run(here, there):
            print(f"{name}: {seen} ({time.monotonic() - started:.1f} s)", flush=True)
            started = time.monotonic()


if __name__ == "__main__":
    main(*sys.argv[1:])
