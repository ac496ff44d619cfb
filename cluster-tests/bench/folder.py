"""Steps on one big folder, over one connection: what a command takes, in ms, and how that grows with the folder.

Every message is another, of 4 KiB. What changes the folder is undone: after all steps it holds what it held.
"""
import random
import time

from imap import Imap

WORDS = ("alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
         "sierra tango uniform victor whiskey xray yankee zulu budget invoice meeting report summer winter").split()
MESSAGE_BYTES = 4096
APPENDED_AT_ONCE = 100
# Messages that one COPY, MOVE or EXPUNGE touches.
TOUCHED = 1000
META = "FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE)"


def message(number, dice):
    words = lambda count: " ".join(dice.choice(WORDS) for _ in range(count))
    day, hour = 1 + number % 28, number % 24
    # Every fourth answers the one before it, so that there are threads.
    parent = f"In-Reply-To: <bench-{number - 1}@load.test>\r\nReferences: <bench-{number - 1}@load.test>\r\n" if number % 4 else ""
    head = (f"From: {dice.choice(WORDS).title()} Sender <{dice.choice(WORDS)}@load.test>\r\nTo: <reader@load.test>\r\n"
            f"Subject: {words(3)} {number}\r\nDate: {day} Oct 2025 {hour:02}:{number % 60:02}:00 +0000\r\n"
            f"Message-ID: <bench-{number}@load.test>\r\n{parent}MIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n\r\n")
    lines = [head]
    room = MESSAGE_BYTES - len(head)
    while room > 0:
        lines.append(words(10) + "\r\n")
        room -= len(lines[-1])
    return "".join(lines).encode()


def fill(connection, mailbox, have, want):
    """Appends distinct messages until there are `want` (RFC 3502: many in one command)."""
    dice = random.Random(have)
    for first in range(have, want, APPENDED_AT_ONCE):
        line = f"APPEND {mailbox}".encode()
        for number in range(first, min(want, first + APPENDED_AT_ONCE)):
            text = message(number, dice)
            line += b" {%d+}\r\n%s" % (len(text), text)
        connection.command(line)


def copies(connection, source, mailbox, want):
    """Fills `mailbox` with copies of what `source` holds until there are `want`, in portions that every server takes."""
    connection.command(f"CREATE {mailbox}")
    have, portion = 0, connection.exists(source)
    while have < want:
        portion = min(portion, want - have)
        connection.command(f"COPY 1:{portion} {mailbox}")
        have += portion


class Step:
    """`run(connection, number)` is measured; `before` is not."""

    def __init__(self, name, run, times=1, before=None):
        self.name, self.run, self.times, self.before = name, run, times, before


def say(line):
    return lambda connection, number: connection.command(line)


def body_at_random(connection, number):
    connection.command(f"FETCH {random.Random(number).randrange(1, connection.count)} (BODY.PEEK[])")


def store_one(connection, number):
    connection.command(f"STORE {1 + number} {'-' if number % 2 else '+'}FLAGS (\\Flagged)")


def append_one(connection, number):
    text = connection.texts[number]
    connection.command(b"APPEND Scratch {%d+}\r\n%s" % (len(text), text))


def emptied(connection, *mailboxes):
    """Makes them anew, and opens the folder."""
    for mailbox in mailboxes:
        try:
            connection.command(f"DELETE {mailbox}")
        except OSError:
            pass
        connection.command(f"CREATE {mailbox}")
    connection.command("SELECT INBOX")


def moved_from(connection, source):
    """Opens `source`, which holds what the COPY before brought."""
    connection.command(f"SELECT {source}")


def doomed(connection):
    connection.command("SELECT Other")
    connection.command(f"STORE 1:{TOUCHED} +FLAGS.SILENT (\\Deleted)")


def steps():
    some = f"1:{TOUCHED}"
    return [
        Step("SELECT, warm", lambda c, _: c.command("SELECT INBOX"), 20),
        Step("FETCH of flags, size and envelope of all, first", say(META)),
        Step("FETCH of flags, size and envelope of all, again", say(META), 5),
        Step("FETCH BODY[] at random", body_at_random, 1000),
        Step("SEARCH UNSEEN", say("SEARCH UNSEEN"), 20),
        Step("SEARCH SINCE", say("SEARCH SINCE 1-Oct-2025"), 20),
        Step("SEARCH SUBJECT, first", say("SEARCH SUBJECT zulu")),
        Step("SEARCH SUBJECT, again", say("SEARCH SUBJECT yankee"), 10),
        Step("SEARCH HEADER Message-ID", say("SEARCH HEADER Message-ID bench-77@"), 5),
        Step("SEARCH TEXT", say("SEARCH TEXT qzqzq"), 3),
        Step("SORT (DATE), first", say("SORT (DATE) UTF-8 ALL")),
        Step("SORT (DATE), again", say("SORT (DATE) UTF-8 ALL"), 5),
        Step("SORT (SUBJECT), again", say("SORT (SUBJECT) UTF-8 ALL"), 5),
        Step("THREAD REFERENCES", say("THREAD REFERENCES UTF-8 ALL"), 3),
        Step("STORE of one", store_one, 500),
        Step("STORE of 1,000", lambda c, n: c.command(f"STORE {some} {'-' if n % 2 else '+'}FLAGS.SILENT (\\Answered)"), 6),
        Step("APPEND of 4 KiB", append_one, 200, lambda c: emptied(c, "Scratch", "Copies", "Other")),
        Step("COPY of 1,000", lambda c, n: c.command(f"COPY {some} Copies")),
        Step("MOVE of 1,000", lambda c, n: c.command(f"MOVE {some} Other"), 1, lambda c: moved_from(c, "Copies")),
        Step("EXPUNGE of 1,000", say("EXPUNGE"), 1, doomed),
    ]


class Folder:
    """The folder on one server, grown from size to size."""

    def __init__(self, server, account):
        self.server, self.account = server, account
        self.connection = self.open()

    def open(self):
        ports = self.server.ports
        name, password = (ports[key].replace("%d", str(self.account)) for key in ("user", "pass"))
        return Imap(ports["read"], name, password)

    def grow(self, size):
        have = self.connection.exists("INBOX")
        fill(self.connection, "INBOX", have, size)
        dice = random.Random(-size)
        self.connection.texts = [message(size * 1000 + number, dice) for number in range(200)]
        self.connection.count = self.connection.exists("INBOX")

    def measure(self, step):
        """(ms, server CPU ms) of one command: means over all of them."""
        if step.before:
            step.before(self.connection)
        before = self.server.cpu_seconds()
        started = time.perf_counter()
        for number in range(step.times):
            step.run(self.connection, number)
        wall = time.perf_counter() - started
        spent = self.server.cpu_seconds() - before
        return wall * 1000 / step.times, spent * 1000 / step.times

    def measure_line(self, line, times):
        return self.measure(Step(line, say(line), times))[0]

    def cold_select(self, mailbox="INBOX"):
        """The first SELECT after whatever serves it was started anew."""
        self.connection.close()
        self.server.start_anew()
        kept = self.connection
        self.connection = self.open()
        self.connection.texts, self.connection.count = kept.texts, kept.count
        return self.measure(Step("SELECT, cold", say(f"SELECT {mailbox}")))
