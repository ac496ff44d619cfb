"""Whether a mail's ARC chain and its author's DKIM signatures hold, as dkimpy sees it.

    verify_arc.py RECORDS.json < MAIL        prints e.g. `arc=pass dkim=pass,pass`

RECORDS.json is an object of TXT records by name.
"""

import json
import sys

import dkim

with open(sys.argv[1], encoding="utf-8") as file:
    RECORDS = json.load(file)


def txt(name, timeout=None):
    name = name.decode() if isinstance(name, bytes) else name
    text = RECORDS.get(name.rstrip(".").lower())
    return text.encode() if text else None


def verifies(mail, at):
    try:
        return dkim.DKIM(mail, minkey=1024).verify(idx=at, dnsfunc=txt)
    except dkim.DKIMException as why:
        print(why, file=sys.stderr)
        return False


mail = sys.stdin.buffer.read()
chain, _, why = dkim.arc_verify(mail, dnsfunc=txt)
count = sum(1 for name, _ in dkim.DKIM(mail).headers if name.lower() == b"dkim-signature")
words = ["pass" if verifies(mail, at) else "fail" for at in range(count)]
print(f"arc={chain.decode()} dkim={','.join(words)}")
if chain != b"pass":
    print(why, file=sys.stderr)
