//! STATUS (RFC 3501 6.3.10, RFC 7162 3.1.7, RFC 7889, RFC 8438): one row, unless \Recent messages must be counted.

use bytes::BytesMut;

use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, StatusItem};
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::write;
use crate::state::record::MailboxRecord;
use crate::state::view::SharedView;

pub struct Status {
    mailbox: MailboxName,
    items: Vec<StatusItem>,
    record: Option<MailboxRecord>,
}

impl Status {
    pub fn new(mailbox: MailboxName, items: Vec<StatusItem>) -> Self {
        Self { mailbox, items, record: None }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        if self.items.contains(&StatusItem::HighestModSeq) {
            core.enable_condstore(io.out);
        }
        match self.mailbox.0.take() {
            Some(name) => Next::Ask(core.reach(name, Rights::READ)),
            None => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn finish(&self, (record, recent): (&MailboxRecord, usize), core: &Core, out: &mut BytesMut) -> Next {
        write_status((record, recent), &self.items, core, out);
        Next::Done(Reply::ok("That is how it stands"))
    }
}

impl Task for Status {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (self.record.take(), answer) {
            (None, None) => self.begin(core, io),
            (None, Some(Answer::Mailbox(None))) => Next::Done(Reply::no_such_mailbox()),
            (None, Some(Answer::Mailbox(Some(record)))) if record.no_select => {
                Next::Done(Reply::no("CANNOT", "The mailbox cannot be selected"))
            }
            (None, Some(Answer::Mailbox(Some(record)))) => {
                if !must_count_recent(&record, &self.items) {
                    return self.finish((&record, 0), core, io.out);
                }
                let ask = Question::View(record.id);
                self.record = Some(record);
                Next::Ask(ask)
            }
            (Some(record), Some(Answer::View(view))) => {
                let recent = view.map_or(0, |view| count_recent(&record, &view));
                self.finish((&record, recent), core, io.out)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

/// True when the mailbox's view must be looked at for `items`.
pub fn must_count_recent(record: &MailboxRecord, items: &[StatusItem]) -> bool {
    let unclaimed = record.recent_from < record.uid_next && record.messages > 0;
    unclaimed && items.contains(&StatusItem::Recent)
}

pub fn count_recent(record: &MailboxRecord, view: &SharedView) -> usize {
    let recent_from = view.recent_from().max(record.recent_from);
    view.read(|view| view.messages().uids_from(recent_from).count())
}

pub fn write_status(
    (record, recent): (&MailboxRecord, usize),
    items: &[StatusItem],
    core: &Core,
    out: &mut BytesMut,
) {
    out.extend_from_slice(b"* STATUS ");
    write::mailbox_name(&record.name, core.names, out);
    for (at, item) in items.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b" (" } else { b" " });
        let (name, value) = match item {
            StatusItem::MailboxId => {
                out.extend_from_slice(format!("MAILBOXID ({})", mailbox_id(record.id)).as_bytes());
                continue;
            }
            StatusItem::Messages => ("MESSAGES ", u64::from(record.messages)),
            StatusItem::Recent => ("RECENT ", recent as u64),
            StatusItem::UidNext => ("UIDNEXT ", u64::from(record.uid_next.0)),
            StatusItem::UidValidity => ("UIDVALIDITY ", u64::from(record.uid_validity.0)),
            StatusItem::Unseen => ("UNSEEN ", u64::from(record.unseen)),
            StatusItem::Size => ("SIZE ", record.bytes),
            StatusItem::AppendLimit => ("APPENDLIMIT ", core.terms.append_bytes_max()),
            StatusItem::HighestModSeq => ("HIGHESTMODSEQ ", record.highest_modseq.0),
        };
        out.extend_from_slice(name.as_bytes());
        write::number(value, out);
    }
    out.extend_from_slice(b")\r\n");
}
