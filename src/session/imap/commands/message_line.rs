//! Writes one message's `* n FETCH (…)`, or its UIDFETCH.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::message_parts::{Raw, write_binary};
use crate::mail::date::{DateTime, format_imap_date_time};
use crate::session::imap::item::{BinaryItem, FetchItem, write_part};
use crate::session::imap::object_id::email_id;
use crate::session::imap::question::{Answer, Previewing};
use crate::session::imap::selected::Numbered;
use crate::session::imap::string::write_nstring;
use crate::session::imap::summary::{Preview, Summary};
use crate::session::imap::write;
use crate::state::record::MessageRecord;

/// What the items need besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    pub raw: bool,
    pub summary: bool,
    pub preview: Previewing,
    /// RFC 3501 6.4.5: the fetch sets \Seen.
    pub marks_seen: bool,
}

/// A part's transfer encoding is none that we can undo (RFC 3516 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEncoding;

impl Wants {
    pub fn of(items: &[FetchItem]) -> Self {
        Self {
            raw: items.iter().any(FetchItem::needs_raw),
            summary: items.iter().any(FetchItem::needs_summary),
            preview: items.iter().map(previewing).max().unwrap_or(Previewing::No),
            marks_seen: items.iter().any(FetchItem::marks_seen),
        }
    }
}

fn previewing(item: &FetchItem) -> Previewing {
    match item {
        FetchItem::Preview { lazy: true } => Previewing::Lazy,
        FetchItem::Preview { lazy: false } => Previewing::Wanted,
        _ => Previewing::No,
    }
}

pub struct Line<'a> {
    pub message: Numbered,
    /// The client knows no message numbers (RFC 9586).
    pub uid_only: bool,
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
    ///
    /// # Errors
    /// [`UnknownEncoding`] when an item was left out for that.
    pub fn write(
        &self,
        items: &[FetchItem],
        content: &Answer,
        pieces: &mut VecDeque<Bytes>,
    ) -> Result<(), UnknownEncoding> {
        let (raw, summary, preview) = match content {
            Answer::Message { raw, summary, preview } => {
                (raw.as_ref(), summary.as_deref(), preview.as_deref())
            }
            _ => (None, None, None),
        };
        let mut raw = raw.map(Raw::new);
        let mut all_known = Ok(());
        let mut out = BytesMut::with_capacity(256);
        write::fetch(self.message, self.uid_only, &mut out);
        let mut first = true;
        for item in self.all(items) {
            let binary = match (&item, &mut raw) {
                (FetchItem::Binary(BinaryItem { part, .. }) | FetchItem::BinarySize(part), Some(raw)) => {
                    raw.binary(part)
                }
                _ => Ok(None),
            };
            let Ok(binary) = binary else {
                all_known = Err(UnknownEncoding);
                continue;
            };
            if !std::mem::take(&mut first) {
                out.extend_from_slice(b" ");
            }
            match (&item, &raw) {
                (FetchItem::Section(item), Some(raw)) => raw.write_section(item, &mut out, pieces),
                (FetchItem::Section(item), None) => {
                    item.write_label(&mut out);
                    out.extend_from_slice(b" NIL");
                }
                (FetchItem::Binary(item), _) => write_binary(item, binary, &mut out, pieces),
                (FetchItem::BinarySize(part), _) => {
                    out.extend_from_slice(b"BINARY.SIZE[");
                    write_part(part, &mut out);
                    out.extend_from_slice(b"] ");
                    // A part that is not there is NIL, and that has no octets.
                    write::number(binary.map_or(0, |bytes| bytes.len() as u64), &mut out);
                }
                (item, _) => self.write_item(item, (summary, preview), &mut out),
            }
        }
        if !first {
            out.extend_from_slice(b")\r\n");
            pieces.push_back(out.freeze());
        }
        all_known
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
        (summary, preview): (Option<&Summary>, Option<&Preview>),
        out: &mut BytesMut,
    ) {
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
            FetchItem::Preview { .. } => {
                out.extend_from_slice(b"PREVIEW ");
                write_nstring(preview.map(|preview| preview.0.as_bytes()), out);
            }
            FetchItem::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                out.extend_from_slice(summary.map_or(nil, |summary| summary.envelope()));
            }
            FetchItem::Body => {
                out.extend_from_slice(b"BODY ");
                out.extend_from_slice(summary.map_or(nil, |summary| summary.body()));
            }
            FetchItem::BodyStructure => {
                out.extend_from_slice(b"BODYSTRUCTURE ");
                out.extend_from_slice(summary.map_or(nil, |summary| summary.bodystructure()));
            }
            // Those are cut from the message's bytes.
            FetchItem::Section(_) | FetchItem::Binary(_) | FetchItem::BinarySize(_) => {}
        }
    }
}
