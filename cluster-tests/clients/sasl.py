"""Logins by SCRAM (RFC 5802, RFC 7677) in all three protocols, with and without channel binding, by a client of our own and by
those of others: gsasl, mpop, mbsync, each when it is installed."""

import base64
import hashlib
import hmac
import secrets
import shutil
import tempfile

from common import ok, password
from tools import pull, run_tool


class Scram:
    """The client's side of one exchange; checks the server's proof, too."""

    def __init__(self, user, secret, sock=None):
        self.bare = f"n={user},r={secrets.token_urlsafe(18)}"
        self.secret = secret
        self.header, self.binding = "n,,", b""
        if sock:
            # RFC 5929 4: what every TLS library can say of a connection.
            self.header, self.binding = "p=tls-server-end-point,,", hashlib.sha256(sock.getpeercert(True)).digest()
        self.wanted = None

    def first(self):
        return (self.header + self.bare).encode()

    def answer(self, challenge):
        """To the server's first message the final one of the client; to its final message nothing."""
        text = challenge.decode()
        if text.startswith("v="):
            assert text == self.wanted, f"the server does not know the password: {text}"
            self.wanted = "heard"
            return b""
        fields = dict(field.split("=", 1) for field in text.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.secret.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        channel = base64.b64encode(self.header.encode() + self.binding).decode()
        without_proof = f"c={channel},r={fields['r']}"
        signed = f"{self.bare},{text},{without_proof}".encode()

        def mac(key, message):
            return hmac.new(key, message, "sha256").digest()

        client_key = mac(salted, b"Client Key")
        signature = mac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(one ^ other for one, other in zip(client_key, signature))
        self.wanted = "v=" + base64.b64encode(mac(mac(salted, b"Server Key"), signed)).decode()
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def over_imap(node, user, secret, bound):
    imap = node.connected_imap()
    scram = Scram(user, secret, imap.sock if bound else None)
    imap.authenticate(name(bound), lambda challenge: scram.answer(challenge) if challenge else scram.first())
    assert scram.wanted == "heard"
    ok(imap.select("INBOX", readonly=True))
    imap.logout()


def over_smtp(node, user, secret, bound):
    smtp = node.smtp("implicit")
    smtp.ehlo()
    scram = Scram(user, secret, smtp.sock if bound else None)

    def answer(challenge=None):
        return (scram.answer(challenge) if challenge else scram.first()).decode()

    assert name(bound) in smtp.esmtp_features["auth"].split(), smtp.esmtp_features
    smtp.auth(name(bound), answer)
    assert scram.wanted == "heard"
    smtp.quit()


def over_pop3(node, user, secret, bound):
    pop = node.connected_pop3()
    assert name(bound) in pop.capa()["SASL"], pop.capa()
    scram = Scram(user, secret, pop.sock if bound else None)
    told = pop._shortcmd(f"AUTH {name(bound)} {base64.b64encode(scram.first()).decode()}")
    while told.startswith(b"+ "):
        told = pop._shortcmd(base64.b64encode(scram.answer(base64.b64decode(told[2:]))).decode())
    assert scram.wanted == "heard" and told.startswith(b"+OK"), told
    pop.quit()


def name(bound):
    return "SCRAM-SHA-256-PLUS" if bound else "SCRAM-SHA-256"


def refused(login, *arguments):
    try:
        login(*arguments)
    except Exception as told:  # each library has its own
        assert "AUTHENTICATIONFAILED" in str(told) or "535" in str(told) or "[AUTH]" in str(told), told
    else:
        raise AssertionError(f"let in: {arguments}")


def gsasl(node, user):
    """IMAP and SMTP, bound by what TLS 1.3 exports where this version of it knows how (RFC 9266)."""
    for standard, protocol in ((143, "--imap"), (587, "--smtp")):
        for mechanism, *options in (("SCRAM-SHA-256", "--no-cb"), ("SCRAM-SHA-256-PLUS",)):
            run_tool("gsasl", "--client", protocol, "--starttls", "--x509-ca-file", node.ca, "-m", mechanism, *options,
                     "--no-client-first", "-a", user, "-z", user, "-p", password(user), f"--connect={node.host}:{node.port(standard)}",
                     given=b"")


def mpop(node, user):
    # Debian's of today knows no -PLUS.
    run_tool("mpop", f"--host={node.host}", f"--port={node.port(995)}", "--tls=on", "--tls-starttls=off",
             f"--tls-trust-file={node.ca}", "--auth=scram-sha-256", f"--user={user}",
             f"--passwordeval=echo {password(user)}", "--auth-only", "--delivery=maildir,/nowhere")


def mbsync(node, user):
    with tempfile.TemporaryDirectory() as home:
        pull(node, user, home, login="AuthMechs SCRAM-SHA-256", patterns="INBOX")


def run(here, there, user="carol"):
    for node in (here, there):
        for login in (over_imap, over_smtp, over_pop3):
            for bound in (False, True):
                login(node, user, password(user), bound)
                refused(login, node, user, "wrong", bound)
                refused(login, node, "nobody", password(user), bound)
    yield "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS over IMAP, SMTP and POP3"
    for name, login in (("gsasl", gsasl), ("mpop", mpop), ("mbsync", mbsync)):
        if shutil.which(name):
            for node in (here, there):
                login(node, user)
            yield f"{name} logs in by SCRAM"
        else:
            yield f"skipped: {name} is not installed (make tools)"
