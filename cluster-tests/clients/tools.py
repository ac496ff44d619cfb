"""Programs that people use: curl, swaks, mbsync, each when it is installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter

from common import ok, password, real_mail, same

MAIL = b"From: a@example.test\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nThe first line.\r\n.\r\n..two dots\r\n"


def run_tool(*command, given=None, config=None):
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, env={**os.environ, **(config or {})})
    said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{said[-3000:]}"
    return done.stdout


def mail(to, subject):
    return MAIL.replace(b"{to}", to.encode()).replace(b"{subject}", subject.encode())


def inbox(node, user):
    """Every message of INBOX by POP3."""
    pop = node.pop3(user)
    count = pop.stat()[0]
    found = [b"\r\n".join(pop.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    pop.quit()
    return found


def curl(here, there, user):
    """All six schemes: in by smtp(s) and imap APPEND, out by imap(s) and pop3(s)."""
    def at(node, scheme, standard, *rest, **options):
        url = f"{scheme}://{node.host}:{node.port(standard)}"
        common = ["curl", "-sS", "--cacert", node.ca, "--max-time", "30", "--user", f"{user}:{password(user)}"]
        return run_tool(*common, *(part.replace("URL", url) for part in rest), **options)

    to = f"{user}@example.test"
    sent = [mail(to, subject) for subject in ("curl smtp", "curl smtps", "curl imap")]
    envelope = ("--mail-from", to, "--mail-rcpt", to, "--upload-file", "-")
    at(here, "smtp", 587, "--ssl-reqd", "URL", *envelope, given=sent[0])
    at(there, "smtps", 465, "URL", *envelope, given=sent[1])
    with tempfile.NamedTemporaryFile() as file:
        file.write(sent[2])
        file.flush()
        at(here, "imap", 143, "--ssl-reqd", "URL/INBOX", "--upload-file", file.name)
    for number, content in enumerate(sent, 1):
        for got in (
            at(there, "imap", 143, "--ssl-reqd", f"URL/INBOX;MAILINDEX={number}"),
            at(here, "imaps", 993, f"URL/INBOX;UID={number}"),
            at(there, "pop3", 110, "--ssl-reqd", f"URL/{number}"),
            at(here, "pop3s", 995, f"URL/{number}"),
        ):
            same(f"curl, message {number}", got[-len(content):], content)
    listed = at(there, "imaps", 993, "URL/")
    assert b"INBOX" in listed, listed
    found = at(there, "imaps", 993, "URL/INBOX", "--request", "SEARCH SUBJECT curl")
    assert found.split()[-3:] == [b"1", b"2", b"3"], found


def swaks(here, there, user):
    """AUTH PLAIN and LOGIN, STARTTLS and TLS from the start, pipelined and not; LMTP is not among its ports here."""
    to = f"{user}@example.test"
    before = len(inbox(here, user))
    ways = [
        (25, "--tls-optional"), (25, "--pipeline"), (587, "--tls", "--auth", "PLAIN"),
        (587, "--tls", "--auth", "LOGIN", "--pipeline"), (465, "--tls-on-connect", "--auth", "PLAIN"),
    ]
    for at, (port, *options) in enumerate(ways):
        node = (here, there)[at % 2]
        auth = ["--auth-user", user, "--auth-password", password(user)] if "--auth" in options else []
        ca = ["--tls-verify", "--tls-ca-path", node.ca] if any("tls" in option for option in options) else []
        run_tool("swaks", "--ehlo", "client.example.test", "--server", node.host, "--port", str(node.port(port)), "--from", to, "--to", to,
                 "--header", f"Subject: swaks {at}", "--timeout", "30", *options, *auth, *ca)
    got = inbox(there, user)[before:]
    assert len(got) == len(ways), f"{len(got)} mails of swaks, not {len(ways)}"
    for at, content in enumerate(got):
        assert f"Subject: swaks {at}".encode() in content, content


def mbsync(here, there, users):
    """The whole of each account, pulled from `there`, holds what `here` holds, byte for byte and once."""
    for user in users:
        with tempfile.TemporaryDirectory() as home:
            os.mkdir(os.path.join(home, "mail"))
            config = os.path.join(home, "config")
            with open(config, "w") as file:
                file.write(MBSYNC.format(host=there.host, port=there.port(993), user=user, home=home,
                                         password=password(user), ca=there.ca))
            run_tool("mbsync", "-c", config, "-a", config={"HOME": home})
            wanted, got = everything(here, user), pulled(os.path.join(home, "mail"))
            # mbsync passes over a header with lone CRs, and mends CR CR LF.
            odd = {found for found in wanted if b"\r" in found[1]}
            missing = {found: count for found, count in (wanted - got).items() if found not in odd}
            extra = got - wanted
            assert not missing and extra.total() <= len(odd), (
                f"{user}: {sum(missing.values())} mails missing, {extra.total()} too many; for example "
                f"{[(box, text[:300]) for box, text in [*missing, *extra][:2]]}")


MBSYNC = """
FSync no

IMAPAccount pollux
Host {host}
Port {port}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {ca}

IMAPStore far
Account pollux

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState {home}/
"""


def everything(node, user):
    """Each mailbox's messages with LF for CRLF, as a Maildir holds them; without what mbsync passes over or mends:
    a message with a lone CR or a NUL."""
    imap = node.imap(user)
    found = Counter()
    for line in ok(imap.list()):
        name = line.decode().rsplit(' "/" ', 1)[1]
        ok(imap.select(name, readonly=True))
        for part in ok(imap.fetch("1:*", "(BODY.PEEK[])")) if int(imap.untagged_responses["EXISTS"][-1]) else ():
            if isinstance(part, tuple):
                found[(name.strip('"'), part[1].replace(b"\r\n", b"\n"))] += 1
    imap.logout()
    return found


# How mbsync marks what it stores.
TUID = re.compile(rb"X-TUID: \S{12}\n")


def pulled(root):
    found = Counter()
    for place, _, names in os.walk(root):
        if os.path.basename(place) in ("cur", "new"):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    text = TUID.sub(b"", file.read(), count=1)
                    found[(os.path.relpath(os.path.dirname(place), root), text)] += 1
    return found


def run(here, there, user="carol", accounts=("alice", "bob", "carol")):
    tools = {
        "curl": lambda: curl(here, there, user),
        "swaks": lambda: swaks(here, there, user),
        "mbsync": lambda: mbsync(here, there, accounts),
    }
    for name, tool in tools.items():
        if shutil.which(name):
            tool()
            yield f"{name} is content"
        else:
            yield f"skipped: {name} is not installed (make tools)"
