"""Programs that people use: curl, swaks, mbsync, offlineimap, fetchmail, mpop, mutt, sieve-connect, each when it is installed."""

import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections import Counter

from common import ok, password, real_mail, same

MAIL = b"From: {to}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nThe first line.\r\n.\r\n..two dots\r\n"


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
            pull(there, user, home)
            wanted, got = everything(here, user), pulled(os.path.join(home, "mail"), TUID)
            # mbsync passes over a header with lone CRs, and mends CR CR LF.
            odd = {found for found in wanted if b"\r" in found[1]}
            missing = {found: count for found, count in (wanted - got).items() if found not in odd}
            extra = got - wanted
            assert not missing and extra.total() <= len(odd), (
                f"{user}: {sum(missing.values())} mails missing, {extra.total()} too many; for example "
                f"{[(box, text[:300]) for box, text in [*missing, *extra][:2]]}")


def all_there(what, wanted, got, regular=bytes, odd_max=0):
    """Each mail is there once and as it was, but for what the client is known to mend: `regular` makes that the same, and
    so many may be odder still."""
    def regulars(found):
        return Counter({(box, regular(text)): count for (box, text), count in found.items()})

    assert wanted.total() == got.total(), f"{what}: {got.total()} mails, not {wanted.total()}"
    wanted, got = regulars(wanted), regulars(got)
    missing, extra = wanted - got, got - wanted
    assert missing.total() <= odd_max, (
        f"{what}: {missing.total()} mails missing; for example {[text[:300] for _, text in [*missing, *extra][:2]]}")


def without(fields):
    """Leaves lines out of the header: those that begin with one of `fields`."""
    lines = re.compile(rb"^(%s)[^\n]*\n" % fields, re.IGNORECASE | re.MULTILINE)

    def regular(text):
        header, end, rest = text.partition(b"\n\n")
        return lines.sub(b"", header + b"\n") + end + rest

    return regular


def pull(node, user, home, login="", patterns="*"):
    """By mbsync, into `home`/mail. `login`: lines on how it logs in."""
    os.mkdir(os.path.join(home, "mail"))
    config = os.path.join(home, "config")
    with open(config, "w") as file:
        file.write(MBSYNC.format(host=node.host, port=node.port(993), user=user, home=home, password=password(user),
                                 ca=node.ca, login=login, patterns=patterns))
    run_tool("mbsync", "-c", config, "-a", config={"HOME": home})


MBSYNC = """
FSync no

IMAPAccount pollux
Host {host}
Port {port}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {ca}
{login}

IMAPStore far
Account pollux

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns {patterns}
Create Near
Sync Pull
SyncState {home}/
"""


def everything(node, user):
    """Each mailbox's messages with LF for CRLF, as a Maildir holds them."""
    imap = node.imap(user)
    names = [line.decode().rsplit(' "/" ', 1)[1] for line in ok(imap.list())]
    imap.logout()
    return everything_in(node, user, *names)


def everything_in(node, user, *names):
    imap = node.imap(user)
    found = Counter()
    for name in names:
        ok(imap.select(name, readonly=True))
        for part in ok(imap.fetch("1:*", "(BODY.PEEK[])")) if int(imap.untagged_responses["EXISTS"][-1]) else ():
            if isinstance(part, tuple):
                found[(name.strip('"'), part[1].replace(b"\r\n", b"\n"))] += 1
    imap.logout()
    return found


# How mbsync marks what it stores.
TUID = re.compile(rb"X-TUID: \S{12}\n")


def pulled(root, added=None):
    """What is in the Maildirs below `root`; `added` is what the client puts into each mail."""
    found = Counter()
    for place, _, names in os.walk(root):
        if os.path.basename(place) in ("cur", "new"):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    text = file.read()
                if added:
                    text = added.sub(b"", text, count=1)
                found[(os.path.relpath(os.path.dirname(place), root), text)] += 1
    return found


def offlineimap(here, there, users):
    """As mbsync, compressed, and by a library of its own."""
    for user in users:
        with tempfile.TemporaryDirectory() as home:
            config = os.path.join(home, "config")
            with open(config, "w") as file:
                file.write(OFFLINEIMAP.format(host=there.host, port=there.port(993), user=user, home=home,
                                              password=password(user), ca=there.ca))
            run_tool("offlineimap", "-c", config, "-o", "-1", "-u", "basic", config={"HOME": home})
            wanted, got = everything(here, user), pulled(os.path.join(home, "mail"))
            # It writes each mail anew by Python's own library, which knows better where blanks go, and what MIME is.
            mended = without(b"From ")
            all_there(f"offlineimap, {user}", wanted, got, lambda text: b"".join(mended(text).split()),
                      wanted.total() // 10)


OFFLINEIMAP = """
[general]
accounts = pollux
metadata = {home}/state
fsync = False

[Account pollux]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {home}/mail
sep = /

[Repository far]
type = IMAP
remotehost = {host}
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {ca}
usecompress = yes
auth_mechanisms = PLAIN
readonly = True
"""


def of_inbox(node, user):
    """By POP3, with LF for CRLF, as Maildirs hold it."""
    return Counter(("INBOX", text.replace(b"\r\n", b"\n")) for text in inbox(node, user))


def fetchmail(here, there, user):
    """POP3 with STLS, all mail kept on the server, each handed to a program."""
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(os.path.join(home, "INBOX", "new"))
        config = os.path.join(home, "config")
        with open(config, "w") as file:
            file.write(f'poll {there.host} protocol pop3 service {there.port(110)} auth password '
                       f'user "{user}" password "{password(user)}" is root here sslproto tls1.2+ sslcertck '
                       f'sslcertfile "{there.ca}" keep fetchall norewrite nodropstatus nomimedecode '
                       f'mda "cat > {home}/INBOX/new/$(date +%s%N)"\n')
        os.chmod(config, 0o600)
        run_tool("fetchmail", "-f", config, "--pidfile", os.path.join(home, "pid"), "--invisible", "--nosyslog",
                 config={"HOME": home, "FETCHMAILHOME": home})
        # Some mails bring the line of an mbox within their header; fetchmail leaves it out, and ends a header that is none.
        all_there("fetchmail", of_inbox(there, user), pulled(home), without(b"From "), 10)


def mpop(here, there, user):
    """POP3 over TLS from the start into a Maildir."""
    with tempfile.TemporaryDirectory() as home:
        for folder in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(home, "INBOX", folder))
        run_tool("mpop", f"--host={there.host}", f"--port={there.port(995)}", "--tls=on", "--tls-starttls=off",
                 f"--tls-trust-file={there.ca}", "--auth=plain", f"--user={user}", f"--passwordeval=echo {password(user)}",
                 "--keep=on", "--received-header=off", f"--uidls-file={home}/uidls",
                 f"--delivery=maildir,{home}/INBOX", config={"HOME": home})
        all_there("mpop", of_inbox(there, user), pulled(home))


def mutt(here, there, user):
    """Compressed IMAP over TLS from the start; all of INBOX is copied into a Maildir."""
    with tempfile.TemporaryDirectory() as home:
        config = os.path.join(home, "config")
        with open(config, "w") as file:
            file.write(MUTT.format(host=there.host, port=there.port(993), user=user, password=password(user),
                                   ca=there.ca, home=home))
        at_a_terminal(["mutt", "-n", "-F", config], home)
        # It writes some fields of its own, and mends a header that is none.
        all_there("mutt", everything_in(here, user, "INBOX"), pulled(home),
                  without(b"From |content-length:|lines:|status:|x-status:"), 10)


MUTT = """
set folder="imaps://{user}@{host}:{port}/" spoolfile="imaps://{user}@{host}:{port}/INBOX"
set imap_user="{user}" imap_pass="{password}" imap_deflate=yes imap_authenticators="scram-sha-256:plain"
set certificate_file="{home}/accepted" ssl_ca_certificates_file="{ca}"
set mbox_type=Maildir confirmcreate=no confirmappend=no copy=no header_cache="" wait_key=no quit=yes
push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{home}/INBOX<enter><exit>"
"""

def sieve_connect(here, there, user):
    """ManageSieve with STARTTLS: a script put on one node is listed, made active and read on the other."""
    with tempfile.TemporaryDirectory() as home:
        script, copy = os.path.join(home, "script"), os.path.join(home, "copy")
        with open(script, "wb") as file:
            file.write(SCRIPT)

        def at(node, *rest):
            return run_tool("sieve-connect", "--server", node.host, "--port", str(node.port(4190)), "--user", user,
                            "--passwordfd", "0", "--tlscafile", node.ca, "--authmech", "PLAIN", *rest,
                            given=password(user).encode() + b"\n")

        at(here, "--localsieve", script, "--remotesieve", "by tool", "--upload")
        listed = at(there, "--list")
        assert b'"by tool"' in listed, listed
        at(there, "--remotesieve", "by tool", "--activate")
        listed = at(here, "--list")
        assert b'"by tool" ACTIVE' in listed, listed
        at(here, "--localsieve", copy, "--remotesieve", "by tool", "--download")
        with open(copy, "rb") as file:
            same("sieve-connect", file.read(), SCRIPT)
        at(there, "--deactivate")
        at(here, "--remotesieve", "by tool", "--delete")
        listed = at(there, "--list")
        assert b"by tool" not in listed, listed


SCRIPT = b'require "fileinto";\r\nif header :contains "subject" "spam" {\r\n  fileinto "Junk";\r\n}\r\n'


def at_a_terminal(command, home):
    """Runs a program that wants one, to its end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(HOME=home, TERM="vt100")
        os.execvp(command[0], command)
    said, until = b"", time.monotonic() + 120
    while time.monotonic() < until:
        if select.select([terminal], [], [], 1)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:  # it has ended
                break
    else:
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{command[0]}: status {status}\n{said[-3000:].decode(errors='replace')}"


def run(here, there, user="carol", accounts=("alice", "bob", "carol")):
    tools = {
        "curl": lambda: curl(here, there, user),
        "swaks": lambda: swaks(here, there, user),
        "mbsync": lambda: mbsync(here, there, accounts),
        "offlineimap": lambda: offlineimap(here, there, accounts),
        "fetchmail": lambda: fetchmail(here, there, "bob"),
        "mpop": lambda: mpop(here, there, "bob"),
        "sieve-connect": lambda: sieve_connect(here, there, user),
        "mutt": lambda: mutt(here, there, "bob"),
    }
    for name, tool in tools.items():
        if shutil.which(name):
            tool()
            yield f"{name} is content"
        else:
            yield f"skipped: {name} is not installed (make tools)"
