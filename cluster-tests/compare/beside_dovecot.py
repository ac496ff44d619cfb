#!/usr/bin/env python3
"""Compares what two servers say of the same mail: ENVELOPE, BODY, BODYSTRUCTURE and RFC822.SIZE of every message of the
corpora, as trees. Brings up Dovecot (installed from Debian where it can be) and a node of ours on loopback, appends each
message to both, fetches from both. Prints each kind of difference with a count and an example; ends with 1 when there is
a difference that docs/imap-beside-dovecot.md does not explain.

POLLUX_BIN: our program; POLLUX_CORPORA: the mail; COMPARE_SHOW=n: examples of each kind (1 by default)."""

import collections
import os
import pathlib
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))
from common import real_mail  # noqa: E402
from explained import kind  # noqa: E402

ITEMS = "(RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)"
USER, PASSWORD = "alice", "demo-alice"
START_SECONDS = 60
APPENDS_UNDER_WAY = 50


class Gone(Exception):
    """The peer cannot be had."""


def dovecot_program():
    path = "/usr/sbin/dovecot"
    if os.path.exists(path) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return path if os.path.exists(path) else None
    # Installed and not started.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        subprocess.run(["apt-get", "update", "-qq"], env=environment, timeout=300, **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "dovecot-imapd"],
                       env=environment, timeout=600, **quiet)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if ours:
            policy.unlink()
    return path if os.path.exists(path) else None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start_dovecot(home):
    program = dovecot_program()
    if program is None or os.geteuid() != 0:
        raise Gone("Dovecot is not installed and cannot be, or we are not root")
    port, mail = free_port(), pwd.getpwnam("mail")
    for name in ("run", "state", "mail"):
        (home / name).mkdir()
    os.chown(home / "mail", mail.pw_uid, mail.pw_gid)
    home.chmod(0o755)
    (home / "passwd").write_text(f"{USER}:{{PLAIN}}{PASSWORD}::::::\n")
    (home / "dovecot.conf").write_text(f"""
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
instance_name = beside
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 8
mail_location = maildir:{home}/mail/%u
passdb {{
  driver = passwd-file
  args = {home}/passwd
}}
userdb {{
  driver = static
  args = uid={mail.pw_uid} gid={mail.pw_gid} home={home}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
""")
    server = subprocess.Popen([program, "-F", "-c", str(home / "dovecot.conf")])
    return server, port, None


def start_ours(home):
    beside = HERE.parent.parent / "target" / "debug" / "pollux"
    program = os.environ.get("POLLUX_BIN") or (beside if beside.exists() else None)
    if program is None:
        raise Gone(f"{beside} is not there: run `cargo build --bin pollux` first, or set POLLUX_BIN")
    base = free_port() // 1000 * 1000
    server = subprocess.Popen(
        [str(program), "demo", "--dir", str(home / "demo"), "--nodes", "1", "--no-witness", "--no-tour", "--keep",
         "--base-port", str(base)], stdout=subprocess.DEVNULL)
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return server, base + 993, tls


class Imap:
    """As little of a client as is needed: it keeps each response whole, with its literals."""

    def __init__(self, server, port, tls):
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                wire = socket.create_connection(("127.0.0.1", port), timeout=60)
                self.wire = tls.wrap_socket(wire) if tls else wire
                self.file = self.wire.makefile("rb")
                if self.file.readline().startswith(b"* OK"):
                    self.command(f"LOGIN {USER} {PASSWORD}")
                    return
            except (OSError, RuntimeError):
                pass
            if server.poll() is not None or time.monotonic() > until:
                raise Gone(f"nothing serves port {port}")
            time.sleep(0.2)

    def command(self, line):
        self.wire.sendall(f"t {line}\r\n".encode())
        return self.until_tagged()

    def until_tagged(self):
        untagged = []
        while True:
            response = self.response()
            if response.startswith(b"t "):
                if not response.startswith(b"t OK"):
                    raise RuntimeError(response.decode(errors="replace"))
                return untagged
            untagged.append(response)

    def response(self):
        whole = b""
        while True:
            line = self.file.readline()
            if not line:
                raise RuntimeError("the server hung up")
            whole += line
            if not line.endswith(b"}\r\n"):
                return whole
            whole += self.file.read(int(line[line.rindex(b"{") + 1:-3]))

    def append_all(self, mails):
        """Returns what was refused, by place."""
        refused = {}
        for start in range(0, len(mails), APPENDS_UNDER_WAY):
            share = mails[start:start + APPENDS_UNDER_WAY]
            for at, (_, content) in enumerate(share, start):
                self.wire.sendall(b"a%d APPEND Compare {%d+}\r\n%s\r\n" % (at, len(content), content))
            for at, _ in enumerate(share, start):
                tag = b"a%d " % at
                response = self.response()
                while not response.startswith(tag):
                    response = self.response()
                if not response.startswith(tag + b"OK"):
                    refused[at] = response.decode(errors="replace").strip()
        return refused


def parsed(response):
    """A FETCH response as its items: strings are bytes, NIL is None, the rest lists and text."""
    at = response.index(b"FETCH (") + 6
    tree, _ = parse(response, at)
    return dict(zip(tree[::2], tree[1::2]))


def parse(text, at):
    byte = text[at:at + 1]
    if byte == b"(":
        items, at = [], at + 1
        while text[at:at + 1] != b")":
            if text[at:at + 1] == b" ":
                at += 1
                continue
            item, at = parse(text, at)
            items.append(item)
        return items, at + 1
    if byte == b'"':
        out, at = bytearray(), at + 1
        while text[at:at + 1] != b'"':
            at += text[at:at + 1] == b"\\"
            out += text[at:at + 1]
            at += 1
        return bytes(out), at + 1
    if byte == b"{":
        end = text.index(b"}\r\n", at)
        start, length = end + 3, int(text[at + 1:end])
        return text[start:start + length], start + length
    end = at
    while text[end:end + 1] not in (b" ", b")", b"(", b"\r", b""):
        end += 1
    atom = text[at:end].decode()
    return (None if atom.upper() == "NIL" else atom), end


def differences(path, one, other):
    """Where two trees part: (place, ours, theirs)."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other)):
            yield from differences(path + (at,), *pair)
    elif one != other:
        yield path, one, other


def compare(mails, ours, theirs):
    found = collections.defaultdict(list)
    equal = 0
    for (path, content), one, other in zip(mails, ours, theirs):
        apart = collections.defaultdict(list)
        for item in one:
            for difference in differences((), one[item], other.get(item)):
                apart[kind(content, item, *difference)].append((item, *difference))
        equal += not apart
        for name, some in apart.items():
            found[name].append((path, some))
    return equal, found


def main():
    mails = real_mail()
    if not mails:
        return 0
    servers = []
    with tempfile.TemporaryDirectory(prefix="pollux-beside-") as home:
        # Dovecot's processes run as other users.
        os.chmod(home, 0o755)
        try:
            clients = []
            for name, start in (("theirs", start_dovecot), ("ours", start_ours)):
                place = pathlib.Path(home) / name
                place.mkdir()
                server, port, tls = start(place)
                servers.append(server)
                clients.append(Imap(server, port, tls))
            theirs, ours = clients
            refused = {}
            for client in clients:
                client.command("CREATE Compare")
                refused.update(client.append_all(mails))
            for at in sorted(refused):
                print(f"not taken: {mails[at][0]}: {refused[at]}")
            if refused:
                return 1
            answers = []
            for client in clients:
                client.command("SELECT Compare")
                lines = client.command(f"FETCH 1:* {ITEMS}")
                answers.append([parsed(line) for line in lines if b" FETCH (" in line[:40]])
            return told(mails, *compare(mails, answers[1], answers[0]))
        except Gone as why:
            print(f"skipped: {why}")
            return 0
        finally:
            for server in servers:
                server.send_signal(signal.SIGTERM)
                server.wait()


def told(mails, equal, found):
    show, unexplained = int(os.environ.get("COMPARE_SHOW", "1")), 0
    print(f"{len(mails)} messages: {equal} alike in all of {ITEMS}")
    for name in sorted(found, key=lambda name: -len(found[name])):
        print(f"{len(found[name]):6} {name}")
        unexplained += name.startswith("?")
        for path, apart in found[name][:show if name.startswith("?") else 0]:
            print(f"       {path}")
            for item, place, one, other in apart[:3]:
                print(f"         {item} {place}\n           ours   {one!r:.300}\n           theirs {other!r:.300}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
