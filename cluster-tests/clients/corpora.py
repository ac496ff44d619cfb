"""Every mail of the corpora crosses the pair byte for byte, once: by APPEND and FETCH, by SMTP and POP3."""

from common import appended, compress, in_parallel, ok, real_mail, same

SECURITY = ("implicit", "starttls", "none")


def append_crosses(here, there, user, mails):
    """APPEND on one node, FETCH on the other, both ways, by four clients at the same time, two of them compressed."""
    first = here.imap(user)
    ok(first.create("Real"))

    def append(number, share):
        imap = (here, there)[number % 2].imap(user, SECURITY[number % 3])
        if number > 1:
            compress(imap)
        uids = [(appended(imap, "Real", content), path, content, number % 2) for path, content in share]
        imap.logout()
        return uids

    wanted = in_parallel(append, mails)

    def fetch(number, share):
        imaps = [node.imap(user, SECURITY[(number + 1) % 3]) for node in (there, here)]
        for imap in imaps:
            if number > 1:
                compress(imap)
            ok(imap.select("Real", readonly=True))
        for uid, path, content, came_to in share:
            imap = imaps[came_to]
            data = ok(imap.uid("FETCH", str(uid), "(RFC822.SIZE BODY.PEEK[])"))
            head, body = next(part for part in data if isinstance(part, tuple))
            same(path, body, content)
            assert f"RFC822.SIZE {len(content)} ".encode() in head, f"{path}: {head} for {len(content)} octets"
            # Every part is found again where the structure says it is.
            ok(imap.uid("FETCH", str(uid), "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[1])"))
        for imap in imaps:
            imap.logout()
        return []

    in_parallel(fetch, wanted)
    for node in (here, there):
        imap = node.imap(user)
        ok(imap.select("Real", readonly=True))
        uids = ok(imap.uid("SEARCH", "ALL"))[0].split()
        assert sorted(map(int, uids)) == sorted(uid for uid, *_ in wanted), "each mail is there once"
        imap.logout()
    return len(wanted)


def smtp_crosses(here, there, user, mails):
    """SMTP to one node, POP3 from the other, in the order sent."""
    # RFC 5321 2.3.8: a lone CR does not travel; a NUL neither (4.5.2 of RFC 5322).
    mails = [(path, content) for path, content in mails
             if b"\r" not in content.replace(b"\r\n", b"") and b"\0" not in content]
    smtp = here.smtp("starttls")
    for path, content in mails:
        refused = smtp.sendmail("sender@example.test", [f"{user}@example.test"], content)
        assert not refused, (path, refused)
    smtp.quit()
    pop = there.pop3(user)
    count, octets = pop.stat()
    assert count == len(mails), f"{count} mails, not {len(mails)}"
    sizes = 0
    for number, (path, content) in enumerate(mails, 1):
        _, lines, _ = pop.retr(number)
        got = b"\r\n".join(lines) + b"\r\n"
        sizes += len(got)
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        same(path, got[-len(content):], content)
        head = got[:-len(content)].lower()
        assert b"received: " in head and head.count(b"\r\n\r\n") == 0, (path, head)
    assert octets == sizes, f"STAT says {octets} octets, RETR gave {sizes}"
    unique = {line.split()[1] for line in pop.uidl()[1]}
    assert len(unique) == count, "every mail has an id of its own"
    pop.quit()
    return len(mails)


def run(here, there):
    mails = real_mail()
    if mails:
        yield f"{append_crosses(here, there, 'alice', mails)} mails by APPEND and FETCH"
        yield f"{smtp_crosses(here, there, 'bob', mails)} mails by SMTP and POP3"
