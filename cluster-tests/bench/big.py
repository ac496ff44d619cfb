"""Tables of what a big folder costs: each step at its size, and how it grows; and of folders that are only opened."""
import sys

from folder import Folder, copies, steps
from imap import Imap

COLD = "SELECT, cold"
POP3 = "POP3 RETR of all, each"
# Users of their own: what the other steps bring must not be counted here.
FOLDER_ACCOUNT = 21
LARGE_ACCOUNT = 22
LARGE_SEED = 10_000


def step_names():
    return [COLD] + [step.name for step in steps()] + [POP3]


def folder_tables(servers, chosen, sizes):
    """One table for the first size; if there are more, one that shows how each step grows."""
    folders = {label: Folder(server, FOLDER_ACCOUNT) for label, server in servers.items()}
    found = {}
    for size in sizes:
        for folder in folders.values():
            folder.grow(size)
        for name, measure in measures(chosen):
            for label, folder in folders.items():
                found[name, size, label] = measure(folder)
            print(size, name, {label: found[name, size, label] for label in folders}, file=sys.stderr, flush=True)
    names = [name for name, _ in measures(chosen)]
    return folder_table(found, names, sizes[0]) + growth_table(found, names, sizes, list(folders))


def measures(chosen):
    all_of_them = [(COLD, lambda folder: folder.cold_select())]
    all_of_them += [(step.name, lambda folder, step=step: folder.measure(step)) for step in steps()]
    all_of_them.append((POP3, retrieve))
    return [(name, measure) for name, measure in all_of_them if chosen(name)]


def retrieve(folder):
    result = folder.server.load("pop3", "--to", folder.server.ports["read_pop3"], "--keep", "--first-user", folder.account,
                                "--users", 1, "--conns", 1, "--sessions", 1)
    return 1000 / result["retr_s"], result["cpu_ms"]


def folder_table(found, names, size):
    out = [f"| a folder of {size:,} messages, 1 connection: ms each | Dovecot | Pollux pair | ahead by (ratio) | server CPU ms each: theirs | ours |",
           "|---|---|---|---|---|---|"]
    for name in names:
        theirs, ours = (found.get((name, size, label)) for label in ("peer", "ours"))
        show = lambda pair, at: "" if pair is None else f"{pair[at]:.2f}"
        ratio = f"{theirs[0] / ours[0]:.2f}" if theirs else ""
        out.append(f"| {name} | {show(theirs, 0)} | {show(ours, 0)} | {ratio} | {show(theirs, 1)} | {show(ours, 1)} |")
    return out


def growth_table(found, names, sizes, labels):
    if len(sizes) < 2:
        return []
    head = "".join(f" {label} {size:,} |" for label in labels for size in sizes)
    out = ["", f"| as the folder grows: ms each |{head}", "|---|" + "---|" * (len(sizes) * len(labels))]
    for name in names:
        out.append(f"| {name} |" + "".join(f" {found[name, size, label][0]:.2f} |" for label in labels for size in sizes))
    return out


def large_table(servers, sizes, peer_max):
    """SELECT alone, of folders that copies fill; and what ours keeps in memory for one."""
    out = ["| a folder of copies, only opened | SELECT cold, ms: Dovecot | Pollux | warm, ms: Dovecot | Pollux | memory for it, MiB: Pollux |",
           "|---|---|---|---|---|---|"]
    folders = {label: Folder(server, LARGE_ACCOUNT) for label, server in servers.items()}
    for folder in folders.values():
        folder.grow(LARGE_SEED)
    for size in sizes:
        cells = {}
        for label, folder in folders.items():
            if label == "peer" and size > peer_max:
                continue
            copies(folder.connection, "INBOX", f"Large{size}", size)
            cells[label] = opened(folder, f"Large{size}")
            print(size, label, cells[label], file=sys.stderr, flush=True)
        show = lambda label, at: f"{cells[label][at]:.1f}" if label in cells else ""
        out.append(f"| {size:,} | {show('peer', 0)} | {show('ours', 0)} | {show('peer', 1)} | {show('ours', 1)} | {show('ours', 2)} |")
    return out


def opened(folder, mailbox):
    """(ms cold, ms warm, MiB that the servers' memory grew by)"""
    folder.connection.command("SELECT INBOX")
    before = folder.server.pss_mib()
    folder.connection.command(f"SELECT {mailbox}")
    grown = folder.server.pss_mib() - before
    warm = folder.measure_line(f"SELECT {mailbox}", 10)
    return folder.cold_select(mailbox)[0], warm, grown
