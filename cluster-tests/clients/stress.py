"""Clients on both nodes that change one mailbox at random; each keeps the picture that the server told it.

RFC 3501 7.4.1, 5.2: every FETCH must fit the message numbers that EXISTS and EXPUNGE have led to, and in the end the
picture of every client, flags and all, must be what the mailbox holds.
"""

import random
import re
import threading

from dialogues import MAIL, Raw

CLIENTS, OPERATIONS = 6, 150
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "$Work", "$Later")


class Client(Raw):
    def __init__(self, node, user, seed):
        super().__init__(node, user)
        self.dice = random.Random(seed)
        # Message number n is messages[n - 1]: its UID and flags, as far as they were told.
        self.messages, self.log = [], []

    def do(self, command, numbers_hold=False, literal=None):
        """Runs a command to its end and takes in what is told. Returns the tagged line."""
        self.log.append(command)
        self.send(command)
        if literal is not None:
            assert self.line().startswith("+")
            self.socket.sendall(literal + b"\r\n")
        while not (line := self.line()).startswith(f"t{self.tags} "):
            self.log.append(line)
            self.take_in(line, numbers_hold)
        self.log.append(line)
        return line

    def take_in(self, line, numbers_hold):
        if found := re.fullmatch(r"\* (\d+) EXISTS", line):
            assert int(found[1]) >= len(self.messages), f"{line}, but {len(self.messages)} were there"
            self.messages += [[None, None] for _ in range(int(found[1]) - len(self.messages))]
        elif found := re.fullmatch(r"\* (\d+) EXPUNGE", line):
            assert not numbers_hold, f"{line} while message numbers are in use"
            del self.messages[int(found[1]) - 1]
        elif found := re.match(r"\* (\d+) FETCH \((.*)\)", line):
            message = self.messages[int(found[1]) - 1]
            if uid := re.search(r"UID (\d+)", found[2]):
                assert message[0] in (None, int(uid[1])), f"{line}, but that was UID {message[0]}"
                message[0] = int(uid[1])
                known = [uid for uid, _ in self.messages if uid is not None]
                assert known == sorted(set(known)), f"UIDs do not ascend: {known}"
            if flags := re.search(r"FLAGS \(([^)]*)\)", found[2]):
                message[1] = set(flags[1].split()) - {"\\Recent"}

    def operate(self):
        count, dice = len(self.messages), self.dice
        number = dice.randint(1, count) if count else None
        span = f"{number}:{min(count, number + dice.randint(0, 3))}" if count else None
        kind = dice.choice("AAASSSQQQFFEMCNNU")
        if kind == "A" and count < 40:
            mail = MAIL % (dice.randint(0, 10), 0)
            self.do(f"APPEND Stress ({dice.choice(FLAGS)}) {{{len(mail)}}}", literal=mail)
        elif kind == "E":
            self.do("EXPUNGE")
        elif kind == "N" or not count:
            self.do("NOOP")
        elif kind == "S":
            self.do(f"STORE {span} {dice.choice('+-')}FLAGS ({dice.choice(FLAGS)})", numbers_hold=True)
        elif kind == "Q":
            self.store_silently(span, dice.choice("+-"), dice.choice(FLAGS))
        elif kind == "F":
            self.do(f"FETCH {span} (UID FLAGS)", numbers_hold=True)
        elif kind == "U":
            self.do("UID FETCH 1:* (FLAGS)")
        elif kind == "M":
            self.do(f"MOVE {number} Stress")
        elif kind == "C":
            self.do(f"COPY {number} Stress")

    def store_silently(self, span, sign, flag):
        """Of .SILENT the client takes its own change for granted, unless it is told more."""
        first, last = map(int, span.split(":"))
        known = self.messages[first - 1:last]
        before = [(message, message[1]) for message in known if message[1] is not None]
        if self.do(f"STORE {span} {sign}FLAGS.SILENT ({flag})", numbers_hold=True).split()[1] == "OK":
            for message, flags in before:
                if message[1] is flags:
                    message[1] = flags | {flag} if sign == "+" else flags - {flag}

    def work(self):
        try:
            for _ in range(OPERATIONS):
                self.operate()
            self.failed = None
        except Exception as failure:
            self.failed = failure


def run(here, there, user="bob"):
    seed = random.randrange(1 << 32)
    maker = Raw(here, user)
    maker.says("CREATE Stress")
    maker.until("STATUS Stress (MESSAGES)", r".*\(MESSAGES 0\)")
    clients = [Client((here, there)[number % 2], user, seed + number) for number in range(CLIENTS)]
    for client in clients:
        client.until("STATUS Stress (MESSAGES)", r".*\(MESSAGES 0\)")
        client.do("SELECT Stress")
    threads = [threading.Thread(target=client.work) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        assert client.failed is None, f"seed {seed}: {client.failed!r}; the last words were {client.log[-30:]}"
    settle(clients)
    for number, client in enumerate(clients):
        told = [flags for _, flags in client.messages]
        client.do("UID FETCH 1:* (FLAGS)")
        fresh = Client((there, here)[number % 2], user, 0)
        fresh.do("EXAMINE Stress")
        fresh.do("UID FETCH 1:* (FLAGS)")
        assert client.messages == fresh.messages, f"seed {seed}: {client.messages} is not {fresh.messages}"
        for (uid, flags), heard in zip(fresh.messages, told):
            # What came unasked must do: a message that was never shown has none yet.
            assert heard in (None, flags), f"seed {seed}: UID {uid} has {flags}, told was {heard}; {client.log[-40:]}"
    maker.says("DELETE Stress")
    yield f"{CLIENTS} clients changed one mailbox {CLIENTS * OPERATIONS} times, and agree on what is in it"


def settle(clients):
    """NOOP until nobody hears anything new: a marker that each client sets is seen by all."""
    for number, client in enumerate(clients):
        mail = MAIL % (number, 0)
        client.do(f"APPEND Stress ($Marker{number}) {{{len(mail)}}}", literal=mail)
    for client in clients:
        while True:
            client.do("NOOP")
            client.do("UID SEARCH " + " ".join(["OR"] * (CLIENTS - 1)
                      + [f"KEYWORD $Marker{number}" for number in range(CLIENTS)]))
            if len(client.log[-2].split()) - 2 == CLIENTS:
                client.do("NOOP")
                break
