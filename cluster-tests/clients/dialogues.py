"""What mail programs say when they open an account, and what two of them see of each other on two nodes."""

import re
import socket
import time

from common import ANSWER_SECONDS, appended, ok, password

MAIL = b"From: a@example.test\r\nSubject: number %d\r\nMessage-ID: <%d@example.test>\r\n\r\nHello.\r\n"


class Raw:
    """A client that sees every line; `imaplib` hides the order of things."""

    def __init__(self, node, user):
        self.socket = socket.create_connection((node.host, node.port(143)), timeout=ANSWER_SECONDS)
        self.reader = self.socket.makefile("rb")
        self.tags = 0
        assert self.line().startswith("* OK")
        self.says(f"LOGIN {user} {password(user)}")

    def line(self):
        line = b""
        while not re.search(rb"\r\n\Z", line) or re.search(rb"\{\d+\}\r\n\Z", line):
            octets = re.search(rb"\{(\d+)\}\r\n\Z", line)
            read = self.reader.read(int(octets[1])) + self.reader.readline() if octets else self.reader.readline()
            assert read, "the server closed"
            line += read
        return line[:-2].decode(errors="surrogateescape")

    def send(self, command):
        self.tags += 1
        self.socket.sendall(f"t{self.tags} {command}\r\n".encode())

    def ends(self, status="OK"):
        """The untagged lines up to the tagged one."""
        lines = []
        while not (line := self.line()).startswith(f"t{self.tags} "):
            lines.append(line)
        assert line.split()[1] == status, f"{line} after {lines}"
        return lines

    def says(self, command, status="OK"):
        self.send(command)
        return self.ends(status)

    def until(self, command, wanted):
        """Repeats `command` until a line matches: what happens on one node is heard on the other a moment later."""
        lines, deadline = [], time.monotonic() + ANSWER_SECONDS
        while not any(re.fullmatch(wanted, line) for line in lines):
            assert time.monotonic() < deadline, f"{wanted} never came: {lines}"
            lines += self.says(command)
        return lines

    def hears(self, wanted):
        """Reads lines of IDLE until one matches; the clock is the socket's."""
        while not re.fullmatch(wanted, line := self.line()):
            assert line.startswith("* "), line


def opening(node, user):
    """Thunderbird's and Outlook's first words, and what they cannot do without in the answers."""
    raw = Raw(node, user)
    capabilities = raw.says("CAPABILITY")[0].split()
    assert {"IMAP4rev1", "IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "SPECIAL-USE", "CONDSTORE"} <= set(capabilities)
    assert raw.says('ID ("name" "Thunderbird" "version" "115")')[0].startswith("* ID (")
    assert raw.says("NAMESPACE") == ['* NAMESPACE (("" "/")) (("user/" "/")) NIL']
    assert raw.says('LIST "" ""') == ['* LIST (\\Noselect) "/" ""']
    listed = raw.says('LIST "" "*" RETURN (SPECIAL-USE)')
    for name, use in (("Drafts", "\\Drafts"), ("Sent", "\\Sent"), ("Trash", "\\Trash"), ("Junk", "\\Junk")):
        assert any(line.endswith(f'"/" "{name}"') and use in line for line in listed), listed
    assert len(raw.says('LSUB "" "*"')) == len(listed)
    raw.says("ENABLE CONDSTORE")
    state = raw.says("SELECT INBOX")
    assert any("UIDVALIDITY" in line for line in state) and any("PERMANENTFLAGS" in line for line in state)
    fields = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Reply-To"
    count = len(raw.says("UID FETCH 1:* (FLAGS)"))
    heads = raw.says(f"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({fields})])")
    assert len(heads) == count > 0 and all(f"BODY[HEADER.FIELDS ({fields})]" in head for head in heads), heads
    raw.says("STATUS Drafts (UIDNEXT MESSAGES UNSEEN RECENT HIGHESTMODSEQ)")
    assert raw.says("GETQUOTAROOT INBOX")[0] == '* QUOTAROOT "INBOX" "User quota"'
    # Programs try what is not there, and go on.
    raw.says('XLIST "" "*"', "BAD")
    raw.says('CREATE "Sent"', "NO")
    raw.says("UID FETCH 4294967295:* FLAGS")
    raw.says("LOGOUT")


def crossing(here, there, user):
    """Flags, expunges and moves of one client as the other sees them."""
    a, b = Raw(here, user), Raw(there, user)
    a.says("CREATE Shared")
    imap = here.imap(user)
    for number in range(1, 6):
        appended(imap, "Shared", MAIL % (number, number))
    imap.logout()
    a.says("SELECT Shared")
    b.until("STATUS Shared (MESSAGES)", r".*\(MESSAGES 5\)")
    b.says("SELECT Shared")
    a.says("STORE 1 +FLAGS ($Label1)")
    b.until("NOOP", r"\* 1 FETCH \(FLAGS \(\$Label1.*\)\)")
    b.says("STORE 1:2 +FLAGS.SILENT (\\Seen)")
    a.until("NOOP", r"\* 2 FETCH \(FLAGS \(\\Seen.*\)\)")

    # No EXPUNGE while numbers are in use; the next command that may, tells it.
    a.says("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    assert a.says("EXPUNGE") == ["* 4 EXPUNGE", "* 2 EXPUNGE"]
    assert not [line for line in b.says("SEARCH ALL") if "EXPUNGE" in line]
    told = b.until("NOOP", r"\* 2 EXPUNGE")
    assert "* 4 EXPUNGE" in told and not [line for line in told if line == "* 5 EXISTS"], told
    moved = a.says("UID MOVE 5 Archive")
    assert "COPYUID" in moved[0] and moved[1:] == ["* 3 EXPUNGE"], moved
    b.until("NOOP", r"\* 3 EXPUNGE")
    b.says("UID MOVE 5 Archive")

    # IDLE on one node hears what the other does.
    b.send("IDLE")
    assert b.line().startswith("+")
    a.says("STORE 1 -FLAGS (\\Seen)")
    b.hears(r"\* 1 FETCH \(FLAGS \(\$Label1.*\)\)")
    imap = here.imap(user)
    appended(imap, "Shared", MAIL % (6, 6))
    b.hears(r"\* 3 EXISTS")
    b.socket.sendall(b"DONE\r\n")
    b.ends()

    # A mailbox that is renamed stays selected; one that is deleted ends the session that has it.
    ok(imap.rename("Shared", "Renamed"))
    b.says("STORE 1 +FLAGS (\\Flagged)")
    b.until("STATUS Renamed (MESSAGES)", r".*\(MESSAGES 3\)")
    b.send("IDLE")
    assert b.line().startswith("+")
    ok(imap.delete("Renamed"))
    b.ends()
    assert b.line().startswith("* BYE")
    imap.logout()


def run(here, there, user="bob"):
    for node in (here, there):
        imap = node.imap(user)
        appended(imap, "INBOX", MAIL % (0, 0), "(\\Seen)")
        imap.logout()
        opening(node, user)
    yield "mail programs open their accounts"
    crossing(here, there, user)
    crossing(there, here, user)
    yield "two clients on two nodes see each other's changes"
