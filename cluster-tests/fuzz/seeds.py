#!/usr/bin/env python3
"""Writes what the fuzzer starts from into DIR/TARGET/: our own transcripts and golden bytes, and the corpora that others
made where they are present (../shared/corpora beside the project, or POLLUX_CORPORA). None of it is kept in the repository."""

import hashlib, os, pathlib, re, sys

root = pathlib.Path(__file__).resolve().parents[2]
out = pathlib.Path(sys.argv[1])
corpora = pathlib.Path(os.environ.get("POLLUX_CORPORA", root.parent / "shared" / "corpora"))
SEED_BYTES_MAX = 16 * 1024


def put(target, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    if len(data) <= SEED_BYTES_MAX:
        (folder / ("seed-" + hashlib.sha1(data).hexdigest()[:16])).write_bytes(data)


def client_lines(protocol):
    """The client's side of each transcript, as bytes."""
    for path in sorted((root / "src/session" / protocol / "transcripts").glob("*.txt")):
        lines = [re.match(r"(?:\d+ ?)?C: ?(.*)", line) for line in path.read_text().splitlines()]
        yield [match.group(1).encode() for match in lines if match]


def messages():
    for folder in ("mail-parser", "sisimai", "spamassassin", "arc"):
        for path in sorted((corpora / folder).rglob("*")):
            if path.is_file() and path.suffix in (".eml", ".txt", ".msg"):
                yield path.read_bytes()


def dialogues():
    for path in sorted((corpora / "chasquid").glob("*.cmy")):
        yield [line[5:].encode() for line in path.read_text(errors="replace").splitlines() if line.startswith("c ->")]


def scripts():
    for path in sorted((corpora / "imaptest").glob("*")):
        if path.is_file() and path.suffix == "":
            lines = path.read_bytes().splitlines()
            yield [re.sub(rb"^(ok|no|bad|\"\"|\d+ \w+) ", b"", line) for line in lines if re.match(rb"(ok|no|bad|\"\") ", line)]


length = lambda data: len(data).to_bytes(2, "big")

for lines in list(client_lines("imap")) + list(scripts()):
    put("imap", b"\x02" + b"\r\n".join(b"t " + line for line in lines) + b"\r\n")
    put("imap", b"\x16" + b"\r\n".join(lines) + b"\r\n")
    put("imap", b"\x01" + b"\n".join(re.sub(rb"^\w+ (?=[A-Z])", b"", line) for line in lines) + b"\n")
    for line in lines:
        put("imap_grammar", b"t " + line)
        put("imap_grammar", line)
for lines in list(client_lines("smtp")) + list(dialogues()):
    for mode in (0x00, 0x11, 0x15, 0x28):
        put("smtp", bytes([mode]) + b"\r\n".join(lines) + b"\r\n")
for text in (b"Subject: x\r\n\r\nHi.\r\n", b"A: b\r\n\r\n.\r\n..dot\r\n", b"x\r\n.\r\nMAIL FROM:<c@d.example>\r\n", b"\r.\r\n\n.\n", b"Received: a\r\n" * 4):
    for kind in range(4):
        for how in range(3):
            head = bytes([kind, 3, 0, 4, 0, 1, 1, how])
            put("smtp_bodies", head + length(text) + text + b"\1" + bytes([how]) + length(text) + text + b"\1")
letter = b"\x0e\x00\x01\x03\x00\x03\x04\x09" + length(b"Subject: x\r\n\r\nHi.") + b"Subject: x\r\n\r\nHi."
for flavor in range(4):
    for flags in (0x00, 0x02, 0x0A, 0x3F, 0x42, 0x4A, 0xD2):
        put("smtp_commands", bytes([flavor, flags]) + letter * 2)
        put("smtp_commands", bytes([flavor, flags]) + bytes(byte | 0x80 for byte in letter[:7]) + letter[7:] + b"\x16" + letter + b"\x0c\0\2ab\1\x13\x14\x14\x14\x1a")
for lines in client_lines("pop3"):
    message = b"Subject: one\r\n\r\n.dot\r\n..\r\nend"
    for mode in (0, 1, 2, 6):
        put("pop3", bytes([mode]) + length(message) + message + b"\r\n".join(lines) + b"\r\n")
sieve_tests = "".join(path.read_text() for path in sorted((root / "src/sieve/tests").glob("*.rs")))
unescape = lambda text: re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match.group(1), match.group(1)), text)
scripts_of_ours = [unescape(text) for text in re.findall(r'"((?:[a-z]+ )(?:[^"\\]|\\.)*[;}])"', sieve_tests)]
scripts_of_ours += [f"if {test} {{ keep; }}" for test in re.findall(r'r#"([a-z]+ .*?)"#', sieve_tests)]
letter = b"From: a@b.example\r\nTo: Alice <alice+x@example.test>\r\nSubject: =?utf-8?q?x=C3=A4?=\r\nDate: Thu, 26 Nov 2026 01:02:03 +0200\r\n\r\ntext\r\n"
for script in scripts_of_ours:
    put("sieve", b"\x01" + length(script.encode()) + script.encode() + letter)
for lines in client_lines("managesieve"):
    for mode in (0, 1, 2, 6):
        put("managesieve", bytes([mode]) + b"\r\n".join(lines) + b"\r\n")
for number, raw in enumerate(messages()):
    if len(raw) > 6 * 1024:
        continue
    put("mime", raw)
    if b"delivery-status" in raw:
        put("notices", raw)
    put("text", b"\x02" + raw[:2000])
    if number % 10 == 0:
        put("smtp", b"\x02\x00" + raw)
        put("smtp", b"\x0b\x01" + length(raw[: len(raw) // 2]) + raw[: len(raw) // 2] + length(raw[len(raw) // 2 :]) + raw[len(raw) // 2 :])
        put("pop3", b"\x01" + length(raw) + raw + b"RETR 1\nTOP 1 3\nLIST\nDELE 1\nRETR 2\nQUIT\n")
        put("imap", b"\x01!" + raw.replace(b"\n", b" ") + b"\nFETCH 1:* (ENVELOPE BODYSTRUCTURE BODY[1.MIME] FLAGS)\nSEARCH TEXT x\n")
part = lambda kind, body: b"--b\r\nContent-Type: " + kind + b"\r\n\r\n" + body + b"\r\n"
mixed = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
for raw in [
    b"Subject: x\r\n\r\ny",
    mixed + b"before\r\n" + part(b"text/plain", b"one") + part(b"text/html", b"<p>") + b"--b--\r\nafter",
    mixed + part(b"message/rfc822", b"Subject: in\r\nFrom: a@b\r\n\r\nbody") + part(b"message/rfc822", mixed.replace(b"=b", b"=c") + b"--c\r\n\r\nx\r\n--c--"),
    mixed.replace(b"mixed", b"digest") + b"--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b\r\n\r\nSubject: two\r\n\r\ny\r\n--b--",
    b"Content-Type: text/plain; charset*0=utf-; charset*1=8; a*=utf-8'en'%e2%82%ac\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=",
    b"Content-Transfer-Encoding: quoted-printable\nContent-Disposition: inline; filename=\"a\\\"b\"\nContent-Language: en, de\nContent-Location: x\n\n=C3=BC=\nz",
    b"From: \"A B\" <a@b>, g: c@d, <@r:e@f>;\r\nSender: x\r\nReply-To: (c) y@z\r\nTo:\r\nCc: ,,\r\nDate: Mon,\r\n 1 Jan 2024\r\nMessage-ID: <1@2>\r\nIn-Reply-To: <0@2>\r\n\r\n",
    b"\r\n" + mixed, mixed + b"--b", mixed + b"--b--", b"Content-Type: message/rfc822\r\n\r\n" * 4, b"", b"\n", b"no header at all",
]:
    put("mime", raw)
field = b"Final-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no\nRemote-MTA: dns; b\n"
mixed = b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
status = lambda body, kind=b"message/delivery-status": part(kind, body).replace(b"\r\n", b"\n")
returned = status(b"Message-ID: <1@2>\nSubject: x\n\ny", b"message/rfc822")
for raw in [
    mixed + status(b"Reporting-MTA: dns; c\n\n" + field + b"\n" + field) + returned + b"--b--",
    mixed + status(b"Reporting-MTA: dns; c\n" + field + field) + returned,
    mixed + returned + status(b"Original-Recipient: rfc822;<a@b>\nAction: Delayed (c)\n \nFinal-Recipient: x\n"),
    mixed + status(field, b"message/global-delivery-status") + status(b"Message-ID: <1@2>\n", b"text/rfc822-headers"),
    b"Content-Type: message/delivery-status\n\n" + field.replace(b"\n", b"\r\n"),
    b"Content-Type: message/rfc822\n\n" + mixed + status(field),
    b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\nRmluYWwtUmVjaXBpZW50OiBhQGIudGVzdAo=",
]:
    put("notices", raw)
sts = b"version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n"
for text in (b"v=STSv1; id=1;", b"v=spf1 -all\nv=STSv1 ; id=20160831085700Z", b"v=STSv1; id=1;\nv=STSv1; id=2;"):
    put("sts", b"\0" + text)
for text in (sts, b"version: STSv1\nmode: none\nmax_age: 1", sts.replace(b"mx: mx", b"x: y\n\nmx:b\xc3\xbccher")):
    put("sts", b"\1" + text)
head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
for answer in (
    head + b"Content-Length: %d\r\n\r\n" % len(sts) + sts, head + b"\r\n" + sts, head.replace(b"200", b"301") + b"\r\n",
    head + b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n" % len(sts) + sts + b"\r\n0\r\n\r\n",
):
    for step in (0, 6, 63):
        put("sts", b"\2" + bytes([step]) + answer)
for name, text in [
    (0, '<"a b"@[IPv6:::1]> SIZE=1'), (0, "<@a,@b:c@d.example>"), (0, "dürst@bücher.example"), (0, "<postmaster>"),
    (1, "17-Jul-1996 02:44:25 -0700"), (1, "Wed, 17 Jul 96 02:23:25 PDT (c)"), (1, "1-Feb-1994"),
    (3, 'A <a@b>, g: "c\\"d" <e@[1.2.3.4]>, x@y;, (c) z'), (3, "text/plain; charset*=utf-8''%e2%82%ac; a*0=b; a*1=\"c\""),
    (3, "=?utf-8?q?a_b=C3=BC?= =?iso-2022-jp?b?GyRCJCIbKEI=?="), (4, "aGVsbG8=\r\n=C3=BC=\r\n x"),
    (5, "\0\3Grüße an alle\5"),
]:
    put("text", bytes([name]) + text.encode())
for line in (root / "src/state/codec/golden.txt").read_text().splitlines():
    _, _, digits = line.partition(" ")
    if re.fullmatch(r"[0-9a-f]+", digits):
        record = bytes.fromhex(digits)
        put("records", record)
        if record[:2] == b"\0\1":
            put("apply", b"\1\0" + b"\x27" + length(record[8:]) + record[8:])
vote = bytes(7 for _ in range(16)) + b"\1"
log_id = b"\1" + bytes(16)
member = b"\0\1a\3b:1\3c:2"
membership = b"\2\1\1" + (1).to_bytes(8, "little") + b"\1" + (1).to_bytes(8, "little") + member
entry = bytes(16) + len(membership).to_bytes(4, "little") + membership
for kind, body in enumerate([
    vote + log_id + b"\0" + b"\1\0\0\0" + entry, b"\1" + log_id, b"\0" + log_id, vote + log_id + b"\1", vote + b"\1\0",
    vote + bytes(8) + log_id, b"\1" + vote + vote, membership, log_id + log_id + membership[1:], b"\1\x12\x34\0\0\0\x63",
    bytes(48) + b"\1", b"\0\1" + bytes(16) + b"\1\x09\x030.1\1\2\1\2\1\2\1\1", b"\0\1\0" + bytes(16) + b"\1\x09\x030.1\1\2\1\2\1\2\1\1",
    bytes(32) + b"\0\1a\1b\1c\1d\x030.1\1\2\1\2\1\2", b"\0\1" + bytes(16) + b"\1p\1q\1\2\1a\1b\1x", b"\1\2\1a\1b", b"\1" + bytes(32) + b"\0\1\0",
    bytes(40), b"\0\1a\0\1b\1c", b"\1\1k\1v", bytes(32) + b"\1\x05a:123\0" + bytes(32) + b"\xfb\x10\x27", b"pollux-join-1.AAAA",
]):
    put("wire", bytes([kind]) + body)
position = bytes(24)
records = b"\1" + vote + b"\2" + position + b"\3\0\0\0abc" + b"\3\0" + b"\4\1" + position + b"\5" + position + b"\6\0\0\0\0"
put("storage", bytes(24) + records)
put("storage", bytes(24) + b"PxLf" + bytes(40) + b"PLXB" + bytes(60))
put("settings", b"\0listener.smtp.port=25\nsmtp.message_bytes_max=50 MiB\nlistener.imap.tls=forced")
put("settings", b'\xffname = "node1"\nrole = "data"\ndir = "/var/lib/pollux"\n\n[cluster]\nlisten = "10.0.0.1:7401"\n\n[tls]\nchain = "c"\nkey = "k"\n')
