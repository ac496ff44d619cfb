#!/usr/bin/env python3
"""The far side of deliveries: takes every mail and forgets it. sink.py PORT; each line on standard input is answered with
the number of mails taken so far, and by standard input's end it ends."""
import asyncio
import sys

taken = 0


class Session(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.input, self.text = transport, b"", False
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data):
        self.input += data
        while self.text_taken() if self.text else self.line_taken():
            pass

    def text_taken(self):
        global taken
        end = self.input.find(b"\r\n.\r\n")
        if end < 0:
            return False
        self.input, self.text = self.input[end + 5:], False
        taken += 1
        self.transport.write(b"250 2.0.0 taken\r\n")
        return True

    def line_taken(self):
        line, found, rest = self.input.partition(b"\r\n")
        if not found:
            return False
        self.input, verb = rest, line[:4].upper()
        if verb == b"EHLO":
            self.transport.write(b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 100000000\r\n250 DSN\r\n")
        elif verb == b"DATA":
            self.text = True
            self.transport.write(b"354 go on\r\n")
        elif verb == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
        else:
            self.transport.write(b"250 2.0.0 fine\r\n")
        return True


async def main(port):
    loop = asyncio.get_running_loop()
    await loop.create_server(Session, "127.0.0.1", port, backlog=512)
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    print("ready", flush=True)
    while await asked.readline():
        print(taken, flush=True)

asyncio.run(main(int(sys.argv[1])))
