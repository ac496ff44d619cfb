//! A part that is there already (RFC 4469): its message is found, read once, cut, and its octets pushed into the placing.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Append, Stage};
use crate::mail::ids::BodyId;
use crate::mail::mime;
use crate::session::imap::core::{Core, Io, Next, Reply};
use crate::session::imap::grammar::MessageUrl;
use crate::session::imap::limits::{APPEND_CHUNK_BYTES_MAX, BADURL_BYTES_MAX};
use crate::session::imap::question::{Answer, Previewing, Question};
use crate::session::imap::section::{is_top_level, section_bytes, top_level_bytes};

/// What is known of the part under way.
#[derive(Default)]
pub struct Source {
    url: Option<(Vec<u8>, MessageUrl)>,
    /// The message that was read last: parts of one message often follow each other.
    message: Option<(BodyId, Bytes)>,
    /// Octets that are still to be pushed.
    rest: Bytes,
}

impl Append {
    pub(super) fn begin_url(&mut self, url: Vec<u8>, core: &Core, io: &mut Io) -> Next {
        if let Err(reply) = self.count_part() {
            return self.refuse(reply, io);
        }
        let selected = core.selected.as_ref().map(|selected| selected.name.as_str());
        let Some(parsed) = MessageUrl::parse(&url, selected) else {
            return self.refuse(bad_url(&url), io);
        };
        let question = Question::Find {
            account: core.account(),
            mailbox: parsed.mailbox.clone(),
            uid_validity: parsed.uid_validity,
            uid: parsed.uid,
        };
        self.source.url = Some((url, parsed));
        self.stage = Stage::Source;
        Next::Ask(question)
    }

    /// Goes on with the part under way, or behind it.
    pub(super) fn source(&mut self, answer: Option<Answer>, core: &Core, io: &mut Io) -> Next {
        match answer {
            Some(Answer::Record(None)) => {
                let url = self.source.url.take().map(|(url, _)| url).unwrap_or_default();
                self.refuse(bad_url(&url), io)
            }
            Some(Answer::Record(Some(record))) => {
                if self.source.message.as_ref().is_some_and(|(body, _)| *body == record.body) {
                    return self.cut(core, io);
                }
                self.source.message = Some((record.body, Bytes::new()));
                self.stage = Stage::Source;
                let (body, size) = (record.body, record.size);
                Next::Ask(Question::Message {
                    body,
                    size,
                    raw: true,
                    summary: false,
                    preview: Previewing::No,
                })
            }
            Some(Answer::Message { raw: Some(raw), .. }) => {
                if let Some((_, bytes)) = &mut self.source.message {
                    *bytes = raw;
                }
                self.cut(core, io)
            }
            Some(Answer::Done) => self.push(core, io),
            answer => self.failed(&Stage::Source, answer, io),
        }
    }

    fn cut(&mut self, core: &Core, io: &mut Io) -> Next {
        let (Some((url, parsed)), Some((_, raw))) = (self.source.url.take(), &self.source.message) else {
            return Next::Done(Reply::unexpected(None));
        };
        let Some(octets) = octets_of(raw, &parsed) else { return self.refuse(bad_url(&url), io) };
        if let Err(reply) = self.add_bytes(octets.len() as u64, core) {
            return self.refuse(reply, io);
        }
        self.source.rest = octets;
        self.push(core, io)
    }

    fn push(&mut self, core: &Core, io: &mut Io) -> Next {
        if self.source.rest.is_empty() {
            self.source.rest = Bytes::new();
            return self.go_on(core, io);
        }
        self.stage = Stage::Source;
        let here = self.source.rest.len().min(APPEND_CHUNK_BYTES_MAX);
        Next::Ask(Question::Push(self.source.rest.split_to(here)))
    }
}

/// RFC 4469 3: as stored, as a FETCH BODY would give them. `None`: there is no such part.
fn octets_of(raw: &Bytes, url: &MessageUrl) -> Option<Bytes> {
    let octets = if is_top_level(&url.section) {
        top_level_bytes(raw, &url.section.text)
    } else {
        section_bytes(raw, &mime::parse(raw), &url.section)?
    };
    let (start, count) = url.partial.unwrap_or_default();
    let start = (start as usize).min(octets.len());
    let end = count.map_or(octets.len(), |count| start.saturating_add(count as usize).min(octets.len()));
    Some(match octets {
        Cow::Borrowed(octets) => raw.slice_ref(&octets[start..end]),
        Cow::Owned(octets) => Bytes::from(octets).slice(start..end),
    })
}

/// RFC 4469 4.1, 5: the URL as it came, but for what a response code cannot hold.
fn bad_url(url: &[u8]) -> Reply {
    let fits = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b']';
    let shown = url.iter().take(BADURL_BYTES_MAX).map(|byte| if fits(byte) { *byte as char } else { '?' });
    let shown: String = shown.collect();
    let code = if shown.is_empty() { "BADURL ?".to_owned() } else { format!("BADURL {shown}") };
    Reply::no("", "That names no message of yours, and no part of one").with_code(code)
}
