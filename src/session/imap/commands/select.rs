//! SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2, RFC 7162 3.1.1, 3.1.8).

use bytes::BytesMut;

use crate::mail::flags::SystemFlag;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::MailboxName;
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::selected::Selected;
use crate::session::imap::write;
use crate::state::command::Command;
use crate::state::record::MailboxRecord;

enum Stage {
    /// What is \Recent in the mailbox that is let go is being claimed.
    Leave,
    Mailbox,
    View(MailboxRecord),
    Claim,
}

pub struct Select {
    mailbox: MailboxName,
    read_only: bool,
    condstore: bool,
    stage: Stage,
}

impl Select {
    pub fn new(mailbox: MailboxName, read_only: bool, condstore: bool) -> Self {
        Self { mailbox, read_only, condstore, stage: Stage::Leave }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        // RFC 3501 6.3.1: the old mailbox is let go, even when the new one cannot be opened.
        if core.selected.take().is_some() {
            io.out.extend_from_slice(b"* OK [CLOSED] The previous mailbox is closed\r\n");
        }
        match self.mailbox.0.take() {
            Some(name) => Next::Ask(Question::Mailbox(core.account(), name)),
            None => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn selected(&self) -> Next {
        let reply = if self.read_only {
            Reply::ok("Opened for reading").with_code("READ-ONLY")
        } else {
            Reply::ok("Opened").with_code("READ-WRITE")
        };
        Next::Done(reply)
    }
}

impl Task for Select {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Mailbox), answer) {
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
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) => {
                let ask = Question::View(record.id);
                self.stage = Stage::View(record);
                Next::Ask(ask)
            }
            (Stage::View(_), Some(Answer::View(None))) => Next::Done(Reply::no_such_mailbox()),
            (Stage::View(record), Some(Answer::View(Some(view)))) => {
                core.condstore |= self.condstore;
                let selected = Selected::open(view, &record, self.read_only);
                write_state(&selected, io.out);
                // RFC 3501 2.3.2: what is \Recent to this session is so to no later one. EXAMINE claims nothing.
                let claim = !self.read_only && selected.recent() > 0;
                let up_to = selected.next_uid();
                core.selected = Some(selected);
                if !claim {
                    return self.selected();
                }
                self.stage = Stage::Claim;
                Next::Ask(Question::Try(Command::ClaimRecent { mailbox: record.id, up_to }))
            }
            // Reading does not depend on the claim: without a majority the mail is merely recent once more.
            (Stage::Claim, Some(_)) => self.selected(),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn write_state(selected: &Selected, out: &mut BytesMut) {
    selected.view().read(|view| {
        out.extend_from_slice(b"* FLAGS ");
        write::known_flags(&view.keywords, out);
        out.extend_from_slice(b")\r\n");
        selected.write_permanent_flags(view, out);
        let exists = selected.exists();
        let recent = selected.recent();
        out.extend_from_slice(format!("* {exists} EXISTS\r\n* {recent} RECENT\r\n").as_bytes());
        let unseen = view.messages().iter().find(|message| !message.flags.has(SystemFlag::Seen));
        if let Some(sequence) = unseen.and_then(|message| selected.sequence_of(message.uid)) {
            out.extend_from_slice(
                format!("* OK [UNSEEN {sequence}] The first unseen message\r\n").as_bytes(),
            );
        }
        let validity = view.uid_validity;
        let next = selected.next_uid();
        out.extend_from_slice(format!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n").as_bytes());
        out.extend_from_slice(format!("* OK [UIDNEXT {next}] The next UID\r\n").as_bytes());
        let modseq = view.highest_modseq;
        out.extend_from_slice(
            format!("* OK [HIGHESTMODSEQ {modseq}] The highest mod-sequence\r\n").as_bytes(),
        );
        let id = mailbox_id(view.id);
        out.extend_from_slice(format!("* OK [MAILBOXID ({id})] Kept when it is renamed\r\n").as_bytes());
    });
}
