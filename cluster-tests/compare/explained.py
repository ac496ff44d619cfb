"""Names the differences from Dovecot that docs/imap-beside-dovecot.md explains. What has no name begins with `?`."""

import re

PLACEHOLDERS = (b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"SYNTAX_ERROR")
BARE = re.compile(rb"\r(?!\n)|\0")
LONG_BOUNDARY = re.compile(rb'boundary="?[^";\r\n]{71,}')


def kind(content, item, place, ours, theirs):
    return next((name for name, holds in RULES if holds(content, place, ours, theirs)),
                f"? {item} {'.'.join(map(str, place[:2]))}")


def is_text(*values):
    return all(isinstance(value, bytes) for value in values)


def is_number(*values):
    return all(isinstance(value, str) and value.isdigit() for value in values)


def bare(content, place, ours, theirs):
    # What is told of the whole is what was given.
    return BARE.search(content) and not is_text(ours, theirs) and (place or int(ours) == len(content))


def letter_case(content, place, ours, theirs):
    return is_text(ours, theirs) and ours.lower() == theirs.lower() and ours in content


def blanks(content, place, ours, theirs):
    squeezed = lambda text: re.sub(rb"[ \t\r]+", b" ", text).strip()
    return is_text(ours, theirs) and squeezed(ours) == squeezed(theirs)


def repeated(content, place, ours, theirs):
    """Both stand in the message under one name, ours first."""
    if not is_text(ours, theirs):
        return False
    field = rb"(?im)^(date|subject|in-reply-to|message-id):[ \t]*"
    first, second = (re.search(field + re.escape(value) + rb"\s*$", content) for value in (ours, theirs))
    return first and second and first[1].lower() == second[1].lower() and first.start() < second.start()


def no_address(content, place, ours, theirs):
    lone = is_text(theirs) and ours is None and b'"' + theirs + b'"\r\n' in content
    return theirs in PLACEHOLDERS or lone


def last_line_end(content, place, ours, theirs):
    return is_number(ours, theirs) and int(theirs) - int(ours) in (1, 2) and b"multipart/" in content.lower()


def no_type(content, place, ours, theirs):
    return isinstance(theirs, list) and theirs[:2] == [b"", b""]


def long_boundary(content, place, ours, theirs):
    return isinstance(ours, list) and LONG_BOUNDARY.search(content)


def no_encoding(content, place, ours, theirs):
    return place[-1:] == (5,) and theirs == b"7bit" and is_text(ours)


RULES = [
    ("bare CRs", bare),
    ("letter case", letter_case),
    ("blanks", blanks),
    ("repeated fields", repeated),
    ("no address", no_address),
    ("the line end before a delimiter", last_line_end),
    ("no content type", no_type),
    ("long boundaries", long_boundary),
    ("no transfer encoding", no_encoding),
]
