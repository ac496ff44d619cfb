//! SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2, RFC 9051 6.3.2, RFC 7162 3.1.1, 3.1.8, 3.2.5).

use bytes::BytesMut;

use super::fetch::Fetch;
use super::list::{attributes_of, list_line};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, Resync};
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::selected::Selected;
use crate::session::imap::sequence_set::SequenceSet;
use crate::session::imap::write;
use crate::state::command::Command;
use crate::state::record::MailboxRecord;
use crate::state::view::MailboxView;

enum Stage {
    /// What is \Recent in the mailbox that is let go is being claimed.
    Leave,
    Mailbox,
    /// What stands around it is asked for, for its LIST.
    Around(MailboxRecord),
    View(MailboxRecord),
    Claim,
    /// What changed since the client was here last is being told.
    Resync(Box<Fetch>),
}

pub struct Select {
    mailbox: MailboxName,
    read_only: bool,
    condstore: bool,
    qresync: Option<Resync>,
    stage: Stage,
}

impl Select {
    pub fn new(mailbox: MailboxName, read_only: bool, (condstore, qresync): (bool, Option<Resync>)) -> Self {
        Self { mailbox, read_only, condstore, qresync, stage: Stage::Leave }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        // RFC 3501 6.3.1: the old mailbox is let go, even when the new one cannot be opened.
        if core.selected.take().is_some() {
            io.out.extend_from_slice(b"* OK [CLOSED] The previous mailbox is closed\r\n");
        }
        match self.mailbox.0.clone() {
            Some(name) => Next::Ask(core.reach(name, Rights::READ)),
            None => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn open(&mut self, record: MailboxRecord) -> Next {
        let ask = Question::Open(record.id);
        self.stage = Stage::View(record);
        Next::Ask(ask)
    }

    /// Tells what changed since the client was here last, if it said so of this very mailbox (RFC 7162 3.2.5).
    fn resync(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let resync = self.qresync.take();
        let Some((resync, selected)) = resync.zip(core.selected.as_ref()) else { return selected(core) };
        if selected.view().read(|view| view.uid_validity.0) != resync.uid_validity {
            return self::selected(core);
        }
        let all = || SequenceSet::between(1, selected.next_uid().0.saturating_sub(1).max(1));
        let set = resync.known_uids.unwrap_or_else(all);
        let matching = resync.matching.as_ref();
        let known_from = matching.map_or(Uid(1), |(sequences, uids)| selected.known_from(sequences, uids));
        let mut fetch = Box::new(Fetch::since(set, resync.modseq, known_from));
        let next = fetch.step(core, None, io);
        self.resyncing(fetch, next, core)
    }

    fn resyncing(&mut self, fetch: Box<Fetch>, next: Next, core: &Core) -> Next {
        match next {
            // Some went meanwhile: that is told when the command ends.
            Next::Done(_) => selected(core),
            other => {
                self.stage = Stage::Resync(fetch);
                other
            }
        }
    }
}

fn selected(core: &Core) -> Next {
    let reply = if core.selected.as_ref().is_some_and(|selected| selected.read_only) {
        Reply::ok("Opened for reading").with_code("READ-ONLY")
    } else {
        Reply::ok("Opened").with_code("READ-WRITE")
    };
    Next::Done(reply)
}

impl Task for Select {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Mailbox), answer) {
            // RFC 7162 3.2.5: nothing is done then.
            (Stage::Leave, None) if self.qresync.is_some() && !core.qresync => {
                Next::Done(Reply::bad("ENABLE QRESYNC comes first"))
            }
            (Stage::Leave, None) => match core.claim_recent() {
                Some(claim) => {
                    self.stage = Stage::Leave;
                    Next::Ask(claim)
                }
                None => self.begin(core, io),
            },
            (Stage::Leave, Some(_)) => self.begin(core, io),
            (Stage::Mailbox, Some(Answer::Mailbox(None))) => Next::Done(Reply::no_such_mailbox()),
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) if record.no_select => {
                Next::Done(Reply::no("CANNOT", "The mailbox cannot be selected"))
            }
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) if core.rev2 => {
                self.stage = Stage::Around(record);
                Next::Ask(Question::Visible(core.account()))
            }
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) => self.open(record),
            (Stage::Around(record), Some(Answer::Mailboxes(mailboxes))) => {
                let attributes = attributes_of(&record, &mailboxes);
                let name = self.mailbox.0.as_deref().unwrap_or(&record.name);
                list_line((name, self.mailbox.old_name()), &attributes, core.names, io.out);
                self.open(record)
            }
            (Stage::View(_), Some(Answer::View(None))) => Next::Done(Reply::no_such_mailbox()),
            (Stage::View(record), Some(Answer::View(Some(view)))) => {
                let selected = Selected::open(view, &record, core.account(), (self.read_only, !core.rev2));
                if !selected.may(Rights::READ) {
                    // Withdrawn meanwhile.
                    return Next::Done(Reply::no_such_mailbox());
                }
                core.condstore |= self.condstore;
                write_state(core, &selected, io.out);
                // RFC 3501 2.3.2: what is \Recent to this session is so to no later one. EXAMINE claims nothing.
                let claim = selected.claims() && selected.recent() > 0;
                let up_to = selected.next_uid();
                core.selected = Some(selected);
                if !claim {
                    return self.resync(core, io);
                }
                self.stage = Stage::Claim;
                Next::Ask(Question::Try(Command::ClaimRecent { mailbox: record.id, up_to }))
            }
            // Reading does not depend on the claim: without a majority the mail is merely recent once more.
            (Stage::Claim, Some(_)) => self.resync(core, io),
            (Stage::Resync(mut fetch), answer) => {
                let next = fetch.step(core, answer, io);
                self.resyncing(fetch, next, core)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn write_state(core: &Core, selected: &Selected, out: &mut BytesMut) {
    selected.view().read(|view| {
        selected.write_flags(view, out);
        out.extend_from_slice(format!("* {} EXISTS\r\n", selected.exists()).as_bytes());
        // RFC 9051 E: neither is there any more; RFC 9586: nor a message number.
        if !core.rev2 {
            out.extend_from_slice(format!("* {} RECENT\r\n", selected.recent()).as_bytes());
        }
        if !core.rev2 && !core.uid_only {
            write_unseen(selected, view, out);
        }
        let validity = view.uid_validity;
        let next = selected.next_uid();
        out.extend_from_slice(format!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n").as_bytes());
        out.extend_from_slice(format!("* OK [UIDNEXT {next}] The next UID\r\n").as_bytes());
        write::highest_modseq(view.highest_modseq, "The highest mod-sequence", out);
        let id = mailbox_id(view.id);
        out.extend_from_slice(format!("* OK [MAILBOXID ({id})] Kept when it is renamed\r\n").as_bytes());
    });
}

fn write_unseen(selected: &Selected, view: &MailboxView, out: &mut BytesMut) {
    let unseen = view.messages().iter().find(|message| !message.flags.has(SystemFlag::Seen));
    if let Some(sequence) = unseen.and_then(|message| selected.sequence_of(message.uid)) {
        out.extend_from_slice(format!("* OK [UNSEEN {sequence}] The first unseen message\r\n").as_bytes());
    }
}
