"""kill -9 of the leader, again and again: how long until the survivor takes mail and answers."""
import concurrent.futures
import os
import signal
import socket
import time

from servers import BASE, wait_protected


def first_answer(port, greet, started):
    """Milliseconds until this port takes one mail (SMTP) or one login (IMAP)."""
    while time.time() - started < 30:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
                if greet(connection.makefile("rwb", buffering=0)):
                    return (time.time() - started) * 1000
        except OSError:
            pass
        time.sleep(0.002)
    raise SystemExit("bench: no fail-over within 30 s")


def smtp_once(wire):
    def say(line, code):
        wire.write(line)
        while True:
            answer = wire.readline()
            if answer[3:4] != b"-":
                return answer.startswith(code)
    return (wire.readline().startswith(b"220") and say(b"EHLO bench\r\n", b"250")
            and say(b"MAIL FROM:<a@load.test>\r\n", b"250") and say(b"RCPT TO:<alice@example.test>\r\n", b"250")
            and say(b"DATA\r\n", b"354") and say(b"Subject: fail-over\r\n\r\nx\r\n.\r\n", b"250"))


def imap_once(wire):
    if not wire.readline().startswith(b"* OK"):
        return False
    wire.write(b"a LOGIN alice demo-alice\r\n")
    while True:
        line = wire.readline()
        if not line:
            return False
        if line.startswith(b"a "):
            return line.startswith(b"a OK")


def fail_over(ours, kills):
    """kill -9 of the leader, `kills` times; milliseconds to the first 250 on the survivor."""
    smtp, imap = [], []
    for _ in range(kills):
        status = wait_protected(ours)
        leader = next(node["name"] for node in status["nodes"] if node["id"] == status["leader"])
        survivor = 2 if leader == "node1" else 1
        os.kill(ours.pid(leader), signal.SIGKILL)
        started = time.time()
        with concurrent.futures.ThreadPoolExecutor() as both:
            base = BASE + (survivor - 1) * 1000
            accepted = both.submit(first_answer, base + 25, smtp_once, started)
            answered = both.submit(first_answer, base + 143, imap_once, started)
        smtp.append(accepted.result())
        imap.append(answered.result())
        ours.restart(leader)
    wait_protected(ours)
    return sorted(smtp), sorted(imap)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def table(ours, kills):
    smtp, imap = fail_over(ours, kills)
    out = [f"| fail-over, {kills} kills -9 of the leader | p50 ms | p99 ms | max ms |", "|---|---|---|---|"]
    return out + [f"| {label} | {percentile(v, 0.5):.0f} | {percentile(v, 0.99):.0f} | {v[-1]:.0f} |"
                  for label, v in (("to the first 250", smtp), ("to the first IMAP OK", imap))]
