//! What another server says became of a mail: the delivery status in its notice (RFC 3464, RFC 6533), read. Total over any bytes,
//! and bounded; [`super::notice`] writes our own.
//!
//! Who writes notices does not always write them well. A recipient may stand where the fields of the whole mail do, and no
//! blank line between two of them. What cannot be read of a field counts as if it were not there.

use std::fmt;

use super::header::{self, Field};
use super::lines::beginning;
use super::message_id;
use super::mime::{self, Part, PartKind, Structure};

/// Recipients of one notice that are read; the others are left out.
pub const RECIPIENTS_MAX: usize = 50;
/// Octets of each text that is kept, from its beginning.
pub const TEXT_BYTES_MAX: usize = 500;
/// Octets of a Message-ID (RFC 5322 2.1.1: a line has 998); a longer one is none.
pub const ID_BYTES_MAX: usize = 998;

/// Of at least one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Who says so, by its own word.
    pub reporting_mta: Option<String>,
    pub recipients: Vec<Recipient>,
    /// Of the mail that it is about, without the angle brackets, where its header came back.
    pub message_id: Option<String>,
}

/// What became of the mail for one recipient. No text holds control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipient {
    pub final_recipient: Option<String>,
    /// As the sender named him.
    pub original_recipient: Option<String>,
    pub action: Option<Action>,
    pub status: Option<Status>,
    /// The reply that decided, or another reason.
    pub diagnostic: Option<String>,
    /// Who gave that reply.
    pub remote_mta: Option<String>,
}

/// RFC 3464 2.3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

/// RFC 3463 2: class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8, pub u16, pub u16);

/// `None`: it is no notice of this kind, or tells of nobody.
pub fn read(raw: &[u8]) -> Option<DeliveryStatus> {
    let structure = mime::parse(raw);
    let parts = own_parts(&structure);
    let status = parts.iter().find(|part| is_status(part))?;
    let (reporting_mta, recipients) = told(&status.decoded(raw));
    if recipients.is_empty() {
        return None;
    }
    let returned = parts.iter().filter(|part| came_back(part));
    let message_id = returned.filter_map(|part| message_id::named(&part.decoded(raw))).next();
    let message_id = message_id.map(|id| plain(&id)).filter(|id| id.len() <= ID_BYTES_MAX);
    Some(DeliveryStatus { reporting_mta, recipients, message_id })
}

/// All but what is within a message that the mail holds: that one may be a notice itself, which came to somebody else.
fn own_parts(structure: &Structure) -> Vec<&Part> {
    let (mut parts, mut left) = (Vec::new(), vec![structure.root()]);
    while let Some(part) = left.pop() {
        if let PartKind::Multipart(children) = &part.kind {
            left.extend(children.iter().rev().map(|child| structure.part(*child)));
        }
        parts.push(part);
    }
    parts
}

fn is_status(part: &Part) -> bool {
    ["delivery-status", "global-delivery-status"].iter().any(|sub| part.content_type.is("message", sub))
}

/// The mail or its header. `message/rfc822-headers` is of no RFC, and is sent all the same.
fn came_back(part: &Part) -> bool {
    let messages = ["rfc822", "global", "global-headers", "rfc822-headers"];
    part.content_type.is("text", "rfc822-headers")
        || messages.iter().any(|sub| part.content_type.is("message", sub))
}

/// RFC 3464 2.1: groups of fields, the first about the mail, each further one about a recipient.
fn told(mut text: &[u8]) -> (Option<String>, Vec<Recipient>) {
    let (mut reporting_mta, mut recipients) = (None, Vec::new());
    while !text.is_empty() && recipients.len() < RECIPIENTS_MAX {
        if let Some(blank) = header::blank_line_length(text) {
            text = &text[blank..];
            continue;
        }
        let mut fields = header::fields(text);
        let mut one = Recipient::default();
        for field in fields.by_ref() {
            if field.is("Reporting-MTA") {
                reporting_mta = reporting_mta.or_else(|| typed(field.value));
            } else if !one.take(&field) {
                keep(std::mem::take(&mut one), &mut recipients);
                one.take(&field);
            }
        }
        keep(one, &mut recipients);
        text = fields.rest();
    }
    (reporting_mta, recipients)
}

fn keep(one: Recipient, recipients: &mut Vec<Recipient>) {
    let is_told_of = one.final_recipient.is_some() || one.original_recipient.is_some();
    if is_told_of && recipients.len() < RECIPIENTS_MAX {
        recipients.push(one);
    }
}

impl Recipient {
    /// `false`: the field is about the next recipient. Of what stands there twice the first counts.
    fn take(&mut self, field: &Field<'_>) -> bool {
        if field.is("Final-Recipient") {
            if self.final_recipient.is_some() {
                return false;
            }
            self.final_recipient = address(field.value);
        } else if field.is("Original-Recipient") {
            self.original_recipient = self.original_recipient.take().or_else(|| address(field.value));
        } else if field.is("Action") {
            self.action = self.action.or_else(|| Action::named(field.value));
        } else if field.is("Status") {
            self.status = self.status.or_else(|| Status::read(field.value));
        } else if field.is("Diagnostic-Code") {
            self.diagnostic = self.diagnostic.take().or_else(|| typed(field.value));
        } else if field.is("Remote-MTA") {
            self.remote_mta = self.remote_mta.take().or_else(|| typed(field.value));
        }
        true
    }
}

impl Action {
    pub const ALL: [Self; 5] = [Self::Failed, Self::Delayed, Self::Delivered, Self::Relayed, Self::Expanded];

    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    /// A comment may follow.
    fn named(value: &[u8]) -> Option<Self> {
        let word = value.trim_ascii().split(|byte| !byte.is_ascii_alphabetic()).next()?;
        Self::ALL.into_iter().find(|action| word.eq_ignore_ascii_case(action.word().as_bytes()))
    }
}

impl Status {
    /// A comment may follow.
    fn read(value: &[u8]) -> Option<Self> {
        let text = value.trim_ascii();
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
        let mut numbers = text[..end].split(|byte| *byte == b'.').map(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() <= 3)?;
            digits.parse::<u16>().ok()
        });
        let status = (numbers.next()??, numbers.next()??, numbers.next()??);
        match (status.0, numbers.next()) {
            (class @ (2 | 4 | 5), None) => Some(Self(class as u8, status.1, status.2)),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// `rfc822; a@b.test`, in angle brackets or not.
fn address(value: &[u8]) -> Option<String> {
    let address = typed(value)?;
    let bare = address.trim_matches(['<', '>', ' ']);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// What stands behind the type (`dns; mx.b.test`), on one line; all of it where there is none.
fn typed(value: &[u8]) -> Option<String> {
    let line = plain(&String::from_utf8_lossy(&header::unfold(value)));
    let is_type = |kind: &str| {
        let kind = kind.trim();
        kind.starts_with(|c: char| c.is_ascii_alphabetic()) && !kind.contains(' ')
    };
    let text = match line.split_once(';') {
        Some((kind, text)) if is_type(kind) => text.trim(),
        _ => line.trim(),
    };
    (!text.is_empty()).then(|| beginning(text, TEXT_BYTES_MAX).trim_end().to_owned())
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
