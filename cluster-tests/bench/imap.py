"""An IMAP client that costs little: one connection, one command at a time, its answer read as bytes and thrown away."""
import re
import socket
import ssl

TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname = False
TRUSTING.verify_mode = ssl.CERT_NONE
READ_BYTES = 1 << 18
ENDED = re.compile(rb"(?:^|\r\n)(t\d+) (OK|NO|BAD)[^\r\n]*\r\n\Z")


class Imap:
    def __init__(self, where, user, password, tls=False):
        host, port = where.split(":")
        self.wire = socket.create_connection((host, int(port)), timeout=300)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.wire = TRUSTING.wrap_socket(self.wire)
        self.tag = 0
        while not self.wire.recv(READ_BYTES).endswith(b"\r\n"):
            pass
        self.command(f'LOGIN "{user}" "{password}"')

    def command(self, line):
        """Sends one command (text, or bytes with what its literals hold); gives the whole answer once it says OK."""
        self.tag += 1
        tag = f"t{self.tag}".encode()
        line = line.encode() if isinstance(line, str) else line
        self.wire.sendall(tag + b" " + line + b"\r\n")
        answer = bytearray()
        while True:
            piece = self.wire.recv(READ_BYTES)
            if not piece:
                raise OSError(f"closed in the middle of {line[:60]!r}")
            answer += piece
            # Only the end of what has come can be the tagged line; it is short.
            ended = ENDED.search(bytes(answer[-2048:]))
            if ended and ended.group(1) == tag:
                if ended.group(2) != b"OK":
                    raise OSError(f"{line[:60]!r}: {bytes(answer[-300:])!r}")
                return bytes(answer)

    def exists(self, mailbox):
        return int(re.findall(rb"\* (\d+) EXISTS", self.command(f"SELECT {mailbox}"))[-1])

    def close(self):
        try:
            self.command("LOGOUT")
        except OSError:
            pass
        self.wire.close()
