"""What all the clients share: the pair's addresses, the real mail to send, and comparing with words."""

import imaplib
import io
import os
import poplib
import re
import smtplib
import ssl
import zlib
from concurrent.futures import ThreadPoolExecutor

ANSWER_SECONDS = 60
# Real mail has longer lines than these libraries expect of a server.
imaplib._MAXLINE = poplib._MAXLINE = smtplib._MAXLINE = 10_000_000


class Node:
    """One node's services, each by its standard port."""

    def __init__(self, address_and_offset, ca):
        self.host, offset = address_and_offset.rsplit(":", 1)
        self.offset = int(offset)
        self.ca = ca

    def port(self, standard):
        return self.offset + standard

    def tls(self):
        return ssl.create_default_context(cafile=self.ca)

    def imap(self, user, security="implicit"):
        imap = self.connected_imap(security)
        imap.login(user, password(user))
        return imap

    def connected_imap(self, security="implicit"):
        if security == "implicit":
            imap = imaplib.IMAP4_SSL(self.host, self.port(993), ssl_context=self.tls(), timeout=ANSWER_SECONDS)
        else:
            imap = imaplib.IMAP4(self.host, self.port(143), timeout=ANSWER_SECONDS)
            if security == "starttls":
                imap.starttls(self.tls())
        return imap

    def pop3(self, user, security="implicit"):
        pop = self.connected_pop3(security)
        pop.user(user)
        pop.pass_(password(user))
        return pop

    def connected_pop3(self, security="implicit"):
        if security == "implicit":
            pop = poplib.POP3_SSL(self.host, self.port(995), context=self.tls(), timeout=ANSWER_SECONDS)
        else:
            pop = poplib.POP3(self.host, self.port(110), timeout=ANSWER_SECONDS)
            if security == "starttls":
                pop.stls(self.tls())
        return pop

    def smtp(self, security="starttls", user=None):
        if security == "implicit":
            smtp = smtplib.SMTP_SSL(self.host, self.port(465), context=self.tls(), timeout=ANSWER_SECONDS)
        else:
            smtp = smtplib.SMTP(self.host, self.port(587 if user else 25), timeout=ANSWER_SECONDS)
            if security == "starttls":
                smtp.starttls(context=self.tls())
        if user:
            smtp.login(user, password(user))
        return smtp


class Deflated(io.RawIOBase):
    """A socket's bytes, compressed by zlib in both directions (RFC 4978), in the forms that imaplib uses."""

    def __init__(self, sock):
        self.sock = sock
        self.out = zlib.compressobj(wbits=-15)
        self.into = zlib.decompressobj(wbits=-15)
        self.left = b""

    def sendall(self, data):
        self.sock.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def shutdown(self, how):
        self.sock.shutdown(how)
        self.sock.close()

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.left:
            came = self.sock.recv(65536)
            if not came:
                return 0
            self.left = self.into.decompress(came)
        count = min(len(buffer), len(self.left))
        buffer[:count], self.left = self.left[:count], self.left[count:]
        return count


def compress(imap):
    """All that follows is compressed."""
    imaplib.Commands.setdefault("COMPRESS", ("AUTH", "SELECTED"))
    ok(imap._simple_command("COMPRESS", "DEFLATE"))
    imap.sock = Deflated(imap.sock)
    imap.file = io.BufferedReader(imap.sock)
    return imap


def password(user):
    return f"demo-{user}"


def corpora():
    """The folder of real mail, or None, with a word."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.environ.get("POLLUX_CORPORA") or os.path.join(here, "../../../shared/corpora")
    if os.path.isdir(root):
        return root
    print(f"skipped: no mail to test with in {root} (set POLLUX_CORPORA)", flush=True)
    return None


def real_mail():
    """Every distinct message of the corpora as it travels: line ends are CRLF, all else is left as it is."""
    root = corpora()
    found = {}
    for folder in ("spamassassin", "mail-parser", "sisimai") if root else ():
        for place, _, names in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(name for name in names if name.endswith(".eml")):
                with open(os.path.join(place, name), "rb") as file:
                    found.setdefault(re.sub(rb"\r?\n", b"\r\n", file.read()), os.path.join(place, name))
    return [(path, content) for content, path in found.items() if content]


def appended(imap, mailbox, content, flags="()"):
    """APPEND as it is: `IMAP4.append` would make a lone CR a line end. Returns the UID."""
    imap.literal = content
    ok(imap._simple_command("APPEND", mailbox, flags, None))
    return int(imap.untagged_responses.pop("APPENDUID")[-1].split()[1])


def ok(answer):
    status, data = answer
    assert status == "OK", f"{status} {data}"
    return data


def same(what, got, wanted):
    if got == wanted:
        return
    at = next((at for at, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    context = slice(max(0, at - 40), at + 40)
    raise AssertionError(f"{what}: {len(got)} bytes, not {len(wanted)}; from {at} on "
                         f"{got[context]!r} instead of {wanted[context]!r}")


def in_parallel(work, items, workers=4):
    """Deals the items to the workers; each gets every n-th. The first failure is everybody's."""
    with ThreadPoolExecutor(workers) as pool:
        shares = [pool.submit(work, number, items[number::workers]) for number in range(workers)]
        return [result for share in shares for result in share.result()]
