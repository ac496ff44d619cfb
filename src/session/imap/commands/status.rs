//! STATUS (RFC 3501 6.3.10, RFC 7162 3.1.7, RFC 7889, RFC 8438, RFC 9208 4.1.4): one row, unless messages must be
//! looked at.

use bytes::BytesMut;

use crate::mail::flags::SystemFlag;
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

    fn finish(&self, (record, counted): (&MailboxRecord, Counted), core: &Core, out: &mut BytesMut) -> Next {
        write_status((record, counted), &self.items, core, out);
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
                if !must_count(&record, &self.items) {
                    return self.finish((&record, Counted::default()), core, io.out);
                }
                let ask = Question::View(record.id);
                self.record = Some(record);
                Next::Ask(ask)
            }
            (Some(record), Some(Answer::View(view))) => {
                let counted = view.map_or(Counted::default(), |view| count(&record, &self.items, &view));
                self.finish((&record, counted), core, io.out)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

/// What the mailbox's row does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    recent: usize,
    /// Octets of the messages that are \Deleted.
    deleted_bytes: u64,
}

/// True when the mailbox's view must be looked at for `items`.
pub fn must_count(record: &MailboxRecord, items: &[StatusItem]) -> bool {
    let unclaimed = record.recent_from < record.uid_next && record.messages > 0;
    (unclaimed && items.contains(&StatusItem::Recent)) || must_weigh_deleted(record, items)
}

fn must_weigh_deleted(record: &MailboxRecord, items: &[StatusItem]) -> bool {
    record.deleted > 0 && items.contains(&StatusItem::DeletedStorage)
}

pub fn count(record: &MailboxRecord, items: &[StatusItem], view: &SharedView) -> Counted {
    let recent_from = view.recent_from().max(record.recent_from);
    view.read(|view| {
        let recent = view.messages().uids_from(recent_from).count();
        let weigh = must_weigh_deleted(record, items);
        let deleted = view.messages().iter().filter(|it| weigh && it.flags.has(SystemFlag::Deleted));
        Counted { recent, deleted_bytes: deleted.map(|message| u64::from(message.size)).sum() }
    })
}

pub fn write_status(
    (record, counted): (&MailboxRecord, Counted),
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
            StatusItem::Recent => ("RECENT ", counted.recent as u64),
            StatusItem::UidNext => ("UIDNEXT ", u64::from(record.uid_next.0)),
            StatusItem::UidValidity => ("UIDVALIDITY ", u64::from(record.uid_validity.0)),
            StatusItem::Unseen => ("UNSEEN ", u64::from(record.unseen)),
            StatusItem::Deleted => ("DELETED ", u64::from(record.deleted)),
            StatusItem::DeletedStorage => ("DELETED-STORAGE ", counted.deleted_bytes),
            StatusItem::Size => ("SIZE ", record.bytes),
            StatusItem::AppendLimit => ("APPENDLIMIT ", core.terms.append_bytes_max()),
            StatusItem::HighestModSeq => ("HIGHESTMODSEQ ", record.highest_modseq.0),
        };
        out.extend_from_slice(name.as_bytes());
        write::number(value, out);
    }
    out.extend_from_slice(b")\r\n");
}
