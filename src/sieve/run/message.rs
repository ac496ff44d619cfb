//! The mail as tests see it: its fields, and its parts once one asks for them.

use crate::mail::header::{self, Field, Mailbox};
use crate::mail::html;
use crate::mail::mime::{self, Structure};
use crate::sieve::BODY_SEEN_BYTES_MAX;
use crate::sieve::program::Index;
use crate::sieve::work::{Fault, Work};

/// Fields of a header that are looked at, from the first on.
pub const FIELDS_SEEN_MAX: usize = 10_000;
/// Work for each octet of a value that is copied and decoded.
const STEPS_PER_OCTET: usize = 4;

pub(super) struct Message<'a> {
    /// The header, and what is seen of the body.
    pub(super) raw: &'a [u8],
    fields: Vec<Field<'a>>,
    body_at: usize,
    structure: Option<Structure>,
    /// What a person reads, part by part.
    texts: Option<Vec<String>>,
}

impl<'a> Message<'a> {
    pub(super) fn new(head: &'a [u8]) -> Self {
        let mut iterator = header::fields(head);
        let mut fields: Vec<Field> = iterator.by_ref().take(FIELDS_SEEN_MAX).collect();
        iterator.by_ref().for_each(drop);
        // RFC 5228 2.4.2.2: what is no field has no name that a script could give.
        fields.retain(|field| !field.name.is_empty());
        let rest = iterator.rest();
        let body_at = head.len() - rest.len() + header::blank_line_length(rest).unwrap_or(0);
        let end = head.len().min(body_at + BODY_SEEN_BYTES_MAX);
        Self { raw: &head[..end], fields, body_at, structure: None, texts: None }
    }

    pub(super) fn header(&self) -> &'a [u8] {
        &self.raw[..self.body_at]
    }

    pub(super) fn body(&self) -> &'a [u8] {
        &self.raw[self.body_at..]
    }

    pub(super) fn has(&self, name: &str, work: &mut Work) -> Result<bool, Fault> {
        work.spend(self.fields.len() + 1)?;
        Ok(self.fields.iter().any(|field| field.is(name)))
    }

    /// The fields of that name, or of those the one that `index` says; folded as they stand.
    pub(super) fn values(
        &self,
        name: &str,
        index: Option<Index>,
        work: &mut Work,
    ) -> Result<Vec<&'a [u8]>, Fault> {
        work.spend(self.fields.len() + 1)?;
        let mut values: Vec<&[u8]> =
            self.fields.iter().filter(|field| field.is(name)).map(|field| field.value).collect();
        if let Some(Index { number, from_last }) = index {
            let before = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
            let at =
                if from_last { values.len().checked_sub(before.saturating_add(1)) } else { Some(before) };
            values = at.and_then(|at| values.get(at).copied()).into_iter().collect();
        }
        work.spend(values.iter().map(|value| value.len() * STEPS_PER_OCTET + 1).sum())?;
        Ok(values)
    }

    /// What [`Self::values`] are on one line each, with encoded-words decoded (RFC 5228 2.7.2).
    pub(super) fn decoded(
        &self,
        name: &str,
        index: Option<Index>,
        work: &mut Work,
    ) -> Result<Vec<String>, Fault> {
        let values = self.values(name, index, work)?;
        Ok(values.into_iter().map(header::decode_text).collect())
    }

    /// The addresses in what [`Self::values`] are; those of groups among them, not the groups.
    pub(super) fn mailboxes(
        &self,
        name: &str,
        index: Option<Index>,
        work: &mut Work,
    ) -> Result<Vec<Mailbox>, Fault> {
        let values = self.values(name, index, work)?;
        let entries = values.into_iter().flat_map(header::addresses);
        Ok(entries.filter_map(header::Address::into_mailbox).collect())
    }

    /// True where any field's name starts so, compared without case.
    pub(super) fn has_starting(&self, start: &str) -> bool {
        let begins = |name: &[u8]| {
            name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start.as_bytes()))
        };
        self.fields.iter().any(|field| begins(field.name))
    }

    pub(super) fn structure(&mut self, work: &mut Work) -> Result<&Structure, Fault> {
        if self.structure.is_none() {
            work.spend(self.raw.len())?;
        }
        let raw = self.raw;
        Ok(self.structure.get_or_insert_with(|| mime::parse(raw)))
    }

    /// The text of each part that is text, without the markup of HTML.
    pub(super) fn texts(&mut self, work: &mut Work) -> Result<&[String], Fault> {
        if self.texts.is_none() {
            work.spend(self.raw.len() * STEPS_PER_OCTET)?;
            let raw = self.raw;
            let structure = self.structure(work)?;
            let parts = structure.parts().iter().filter(|part| !part.holds_parts());
            let texts = parts.filter(|part| part.content_type.is_main("text")).map(|part| {
                let text = part.text(raw);
                match part.content_type.is("text", "html") {
                    true => html::text(&text, BODY_SEEN_BYTES_MAX),
                    false => text.into_owned(),
                }
            });
            let texts = texts.collect();
            self.texts = Some(texts);
        }
        Ok(self.texts.as_deref().unwrap_or_default())
    }
}
