//! Writes one message's `* n FETCH (…)`.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::mail::date::{DateTime, format_imap_date_time};
use crate::mail::mime::{self, Structure};
use crate::session::imap::item::{FetchItem, SectionItem};
use crate::session::imap::object_id::email_id;
use crate::session::imap::question::Answer;
use crate::session::imap::section::{cut, is_top_level, section_bytes, top_level_bytes};
use crate::session::imap::selected::Numbered;
use crate::session::imap::write;
use crate::state::record::MessageRecord;

/// What the items need besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    pub raw: bool,
    pub summary: bool,
    /// RFC 3501 6.4.5: the fetch sets \Seen.
    pub marks_seen: bool,
}

impl Wants {
    pub fn of(items: &[FetchItem]) -> Self {
        let is_section = |item: &FetchItem| matches!(item, FetchItem::Section(_));
        let marks_seen = |item: &FetchItem| matches!(item, FetchItem::Section(section) if !section.peek);
        Self {
            raw: items.iter().any(is_section),
            summary: items.iter().any(|item| item.needs_body() && !is_section(item)),
            marks_seen: items.iter().any(marks_seen),
        }
    }
}

pub struct Line<'a> {
    pub message: Numbered,
    pub record: &'a MessageRecord,
    pub keywords: &'a [String],
    pub recent: bool,
    /// FLAGS even where they were not asked for.
    pub with_flags: bool,
    /// MODSEQ beside such FLAGS.
    pub with_modseq: bool,
}

impl Line<'_> {
    /// Large literals become pieces of their own, shared with the message.
    pub fn write(&self, items: &[FetchItem], content: &Answer, pieces: &mut VecDeque<Bytes>) {
        let mut out = BytesMut::with_capacity(256);
        out.extend_from_slice(b"* ");
        write::number(self.message.sequence, &mut out);
        out.extend_from_slice(b" FETCH (");
        let mut first = true;
        let structure = OnceCell::new();
        for item in self.all(items) {
            if !std::mem::take(&mut first) {
                out.extend_from_slice(b" ");
            }
            self.write_item(&item, (content, &structure), &mut out, pieces);
        }
        out.extend_from_slice(b")\r\n");
        pieces.push_back(out.freeze());
    }

    fn all(&self, items: &[FetchItem]) -> Vec<FetchItem> {
        let mut all = items.to_vec();
        if self.with_flags && !all.contains(&FetchItem::Flags) {
            all.push(FetchItem::Flags);
            if self.with_modseq && !all.contains(&FetchItem::ModSeq) {
                all.push(FetchItem::ModSeq);
            }
        }
        all
    }

    fn write_item(
        &self,
        item: &FetchItem,
        (content, structure): (&Answer, &OnceCell<Structure>),
        out: &mut BytesMut,
        pieces: &mut VecDeque<Bytes>,
    ) {
        let (raw, summary) = match content {
            Answer::Message { raw, summary } => (raw.as_ref(), summary.as_ref()),
            _ => (None, None),
        };
        let nil: &[u8] = b"NIL";
        match item {
            FetchItem::Flags => {
                out.extend_from_slice(b"FLAGS ");
                write::flags(self.record.flags, self.keywords, self.recent, out);
            }
            FetchItem::InternalDate => {
                let date = self.record.internal_date;
                let date = DateTime::from_unix(date.unix_seconds, date.zone_minutes);
                out.extend_from_slice(
                    format!("INTERNALDATE \"{}\"", format_imap_date_time(&date)).as_bytes(),
                );
            }
            FetchItem::SaveDate => {
                let date = DateTime::from_unix((self.record.saved_at.0 / 1000) as i64, 0);
                out.extend_from_slice(format!("SAVEDATE \"{}\"", format_imap_date_time(&date)).as_bytes());
            }
            FetchItem::EmailId => {
                out.extend_from_slice(format!("EMAILID ({})", email_id(self.record.body)).as_bytes());
            }
            // RFC 8474 5.2: NIL where threads have no identifier.
            FetchItem::ThreadId => out.extend_from_slice(b"THREADID NIL"),
            FetchItem::Rfc822Size => {
                out.extend_from_slice(b"RFC822.SIZE ");
                write::number(self.record.size, out);
            }
            FetchItem::Uid => {
                out.extend_from_slice(b"UID ");
                write::number(self.message.uid.0, out);
            }
            FetchItem::ModSeq => {
                out.extend_from_slice(format!("MODSEQ ({})", self.record.modseq).as_bytes());
            }
            FetchItem::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                out.extend_from_slice(summary.map_or(nil, |summary| &summary.envelope));
            }
            FetchItem::Body => {
                out.extend_from_slice(b"BODY ");
                out.extend_from_slice(summary.map_or(nil, |summary| &summary.body));
            }
            FetchItem::BodyStructure => {
                out.extend_from_slice(b"BODYSTRUCTURE ");
                out.extend_from_slice(summary.map_or(nil, |summary| &summary.bodystructure));
            }
            FetchItem::Section(section) => match raw {
                Some(raw) => write_section(section, (raw, structure), out, pieces),
                None => {
                    section.write_label(out);
                    out.extend_from_slice(b" NIL");
                }
            },
        }
    }
}

/// The message is taken apart at most once, and only where a part is named.
fn write_section(
    item: &SectionItem,
    (raw, structure): (&Bytes, &OnceCell<Structure>),
    out: &mut BytesMut,
    pieces: &mut VecDeque<Bytes>,
) {
    item.write_label(out);
    let bytes = if is_top_level(&item.section) {
        Some(top_level_bytes(raw, &item.section.text))
    } else {
        section_bytes(raw, structure.get_or_init(|| mime::parse(raw)), &item.section)
    };
    match bytes {
        Some(Cow::Borrowed(bytes)) => write_literal(raw.slice_ref(cut(bytes, item.partial)), out, pieces),
        Some(Cow::Owned(bytes)) => {
            write_literal(Bytes::copy_from_slice(cut(&bytes, item.partial)), out, pieces);
        }
        None => out.extend_from_slice(b" NIL"),
    }
}

fn write_literal(bytes: Bytes, out: &mut BytesMut, pieces: &mut VecDeque<Bytes>) {
    if bytes.is_empty() {
        return out.extend_from_slice(b" \"\"");
    }
    out.extend_from_slice(format!(" {{{}}}\r\n", bytes.len()).as_bytes());
    if bytes.len() < 4096 {
        return out.extend_from_slice(&bytes);
    }
    pieces.push_back(out.split().freeze());
    pieces.push_back(bytes);
}
