//! LIST (RFC 3501 6.3.8, RFC 5258) with CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154), STATUS (RFC 5819) and METADATA
//! (RFC 9590).

mod lsub;
mod names;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

pub use self::lsub::Lsub;
use self::names::Patterns;
pub use self::names::{Names, superiors};
use super::acl::write_my_rights;
use super::metadata;
use super::status::{self, Counted};
use crate::mail::ids::MailboxId;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{ListRequest, NameCoding, StatusItem};
use crate::session::imap::limits::OUTPUT_CHUNK_BYTES;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::write;
use crate::state::command::SpecialUse;
use crate::state::metadata::{ANNOTATING, Annotation, Depth, Place, Wanted};
use crate::state::record::MailboxRecord;

enum Stage {
    Begin,
    Mailboxes,
    Subscriptions(Vec<MailboxRecord>),
    Telling,
    /// Messages of the mailbox at the front are being counted.
    Counting,
    /// The annotations of the mailbox at the front are being read.
    Annotations,
}

/// A name that is still to be told.
struct Listed {
    /// The LIST response.
    line: BytesMut,
    /// Where its STATUS is wanted, too.
    status_of: Option<MailboxRecord>,
    /// Where its METADATA is wanted, too.
    metadata_of: Option<(MailboxId, String)>,
}

pub struct List {
    request: ListRequest,
    stage: Stage,
    listed: VecDeque<Listed>,
}

impl List {
    pub fn new(request: ListRequest) -> Self {
        Self { request, stage: Stage::Begin, listed: VecDeque::new() }
    }

    fn begin(&mut self, core: &mut Core, out: &mut BytesMut) -> Next {
        if self.request.status.contains(&StatusItem::HighestModSeq) {
            core.enable_condstore(out);
        }
        if !self.request.extended && self.request.patterns.iter().all(String::is_empty) {
            // RFC 3501 6.3.8: an empty name asks for the separator and the root. RFC 5258 3: but not in the new form.
            out.extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Next::Done(Reply::ok("That is the separator"));
        }
        self.stage = Stage::Mailboxes;
        Next::Ask(Question::Visible(core.account()))
    }

    fn wants_subscriptions(&self) -> bool {
        self.request.select_subscribed || self.request.return_subscribed
    }

    /// Gathers what is to be told, then begins to tell it.
    fn gather(
        &mut self,
        core: &Core,
        mailboxes: &[MailboxRecord],
        subscribed: &BTreeSet<String>,
        io: &mut Io,
    ) -> Next {
        let Some(patterns) = Patterns::new(&self.request.reference, &self.request.patterns) else {
            return too_many_wildcards();
        };
        let mut names = Names::of(mailboxes);
        if self.request.select_subscribed {
            for name in subscribed {
                names.by_name.entry(name).or_insert(None);
                // RFC 5258 3.1: a level that is no mailbox may stand for what is subscribed below it.
                for level in superiors(name).filter(|_| self.request.recursive_match) {
                    names.by_name.entry(level).or_insert(None);
                }
            }
        }
        let choice = Choice { request: &self.request, subscribed, patterns: &patterns };
        let inferiors = choice.inferiors(&names);
        let mut listed = VecDeque::new();
        for (name, record) in names.by_name.iter().filter(|(name, _)| patterns.mean(name)) {
            let selected = choice.selects(name, *record);
            let child_info = match inferiors.get(name) {
                None => false,
                // RFC 5258 3.5: a name that is there for its inferiors alone is of no use when all of them are told.
                Some(inferiors) => selected || *inferiors == Inferiors::Untold,
            };
            if !selected && !child_info {
                continue;
            }
            let mut attributes = attributes(name, *record, &names, self.request.extended);
            if self.wants_subscriptions() && subscribed.contains(*name) {
                attributes.push("\\Subscribed");
            }
            let mut line = BytesMut::new();
            write_name("LIST", (name, core.names), &attributes, &mut line);
            if child_info {
                self.write_child_info(&mut line);
            }
            line.extend_from_slice(b"\r\n");
            // RFC 8440 3.
            if let Some(record) = record.filter(|_| self.request.return_my_rights) {
                write_my_rights(record, core.names, &mut line);
            }
            // RFC 5819 2: only what can be selected has a STATUS; 3: and only what is itself meant.
            let wanted = selected && !self.request.status.is_empty();
            let has_status = |record: &&MailboxRecord| !record.no_select && record.rights.has(Rights::READ);
            let status_of = record.filter(|record| wanted && has_status(record)).cloned();
            // RFC 9590 3, 4: what exists and is itself meant has METADATA, for those who may read it.
            let may_read = |record: &&MailboxRecord| selected && record.rights.has_any(ANNOTATING);
            let annotated = record.filter(|_| !self.request.metadata.is_empty()).filter(may_read);
            let metadata_of = annotated.map(|record| (record.id, record.name.clone()));
            listed.push_back(Listed { line, status_of, metadata_of });
        }
        self.listed = listed;
        self.tell(core, io.out)
    }

    /// RFC 5258 3.5: by which options something below the name is selected.
    fn write_child_info(&self, line: &mut BytesMut) {
        let options: &[u8] = match (self.request.select_subscribed, self.request.select_special_use) {
            (true, true) => b"\"SUBSCRIBED\" \"SPECIAL-USE\"",
            (true, false) => b"\"SUBSCRIBED\"",
            (false, _) => b"\"SPECIAL-USE\"",
        };
        line.extend_from_slice(b" (\"CHILDINFO\" (");
        line.extend_from_slice(options);
        line.extend_from_slice(b"))");
    }

    fn tell(&mut self, core: &Core, out: &mut BytesMut) -> Next {
        self.stage = Stage::Telling;
        while let Some(listed) = self.listed.front() {
            if out.len() > OUTPUT_CHUNK_BYTES {
                return Next::Flush;
            }
            if let Some(record) = &listed.status_of
                && status::must_count(record, &self.request.status)
            {
                self.stage = Stage::Counting;
                return Next::Ask(Question::View(record.id));
            }
            if let Some(question) = self.tell_first(core, Counted::default(), out) {
                return Next::Ask(question);
            }
        }
        Next::Done(Reply::ok("Listed"))
    }

    /// Tells the first, but for its annotations: they are to be asked for.
    fn tell_first(&mut self, core: &Core, counted: Counted, out: &mut BytesMut) -> Option<Question> {
        let listed = self.listed.front()?;
        out.extend_from_slice(&listed.line);
        if let Some(record) = &listed.status_of {
            status::write_status((record, counted), &self.request.status, core, out);
        }
        let Some((mailbox, _)) = listed.metadata_of else {
            self.listed.pop_front();
            return None;
        };
        self.stage = Stage::Annotations;
        let wanted = |name: &String| Wanted { name: name.clone(), depth: Depth::Zero };
        let place = Place { account: core.account(), mailbox: Some(mailbox) };
        Some(Question::Metadata(place, self.request.metadata.iter().map(wanted).collect()))
    }

    fn tell_annotations(&mut self, core: &Core, found: Vec<Annotation>, out: &mut BytesMut) {
        let Some((_, name)) = self.listed.pop_front().and_then(|listed| listed.metadata_of) else { return };
        let mut entries = VecDeque::from(metadata::with_nil(&self.request.metadata, found));
        while !entries.is_empty() {
            metadata::write_entries((&name, core.names), &mut entries, out);
        }
    }
}

impl Task for List {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) => self.begin(core, io.out),
            (Stage::Mailboxes, Some(Answer::Mailboxes(mailboxes))) if self.wants_subscriptions() => {
                self.stage = Stage::Subscriptions(mailboxes);
                Next::Ask(Question::Subscriptions(core.account()))
            }
            (Stage::Mailboxes, Some(Answer::Mailboxes(mailboxes))) => {
                self.gather(core, &mailboxes, &BTreeSet::new(), io)
            }
            (Stage::Subscriptions(mailboxes), Some(Answer::Names(names))) => {
                self.gather(core, &mailboxes, &names.into_iter().collect(), io)
            }
            (Stage::Telling, None) => self.tell(core, io.out),
            (Stage::Counting, Some(Answer::View(view))) => {
                let record = self.listed.front().and_then(|listed| listed.status_of.as_ref());
                match (record, view) {
                    (Some(record), Some(view)) => {
                        let counted = status::count(record, &self.request.status, &view);
                        if let Some(question) = self.tell_first(core, counted, io.out) {
                            return Next::Ask(question);
                        }
                    }
                    // It was deleted meanwhile.
                    _ => drop(self.listed.pop_front()),
                }
                self.tell(core, io.out)
            }
            (Stage::Annotations, Some(Answer::Metadata(found))) => {
                self.tell_annotations(core, found, io.out);
                self.tell(core, io.out)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

/// Names below a name, of those that are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inferiors {
    /// The patterns mean them all.
    Told,
    /// There are some that no pattern means.
    Untold,
}

/// What the selection options and the patterns choose.
struct Choice<'a> {
    request: &'a ListRequest,
    subscribed: &'a BTreeSet<String>,
    patterns: &'a Patterns,
}

impl Choice<'_> {
    fn selects(&self, name: &str, record: Option<&MailboxRecord>) -> bool {
        let has_use = record.is_some_and(|record| record.special_use.is_some());
        (has_use || !self.request.select_special_use)
            && (self.subscribed.contains(name) || !self.request.select_subscribed)
    }

    /// With RECURSIVEMATCH, the names that have something selected below them.
    fn inferiors<'n>(&self, names: &Names<'n>) -> BTreeMap<&'n str, Inferiors> {
        let mut above = BTreeMap::new();
        if !self.request.recursive_match {
            return above;
        }
        for (name, _) in names.by_name.iter().filter(|(name, record)| self.selects(name, **record)) {
            let told = self.patterns.mean(name);
            for superior in superiors(name) {
                let inferiors = above.entry(superior).or_insert(Inferiors::Told);
                if !told {
                    *inferiors = Inferiors::Untold;
                }
            }
        }
        above
    }
}

fn attributes(
    name: &str,
    record: Option<&MailboxRecord>,
    names: &Names,
    extended: bool,
) -> Vec<&'static str> {
    let mut attributes = Vec::new();
    match record {
        // RFC 5258 3: \NonExistent implies \Noselect, for a client that knows it.
        None if extended => attributes.push("\\NonExistent"),
        None => attributes.push("\\Noselect"),
        Some(record) if record.no_select => attributes.push("\\Noselect"),
        Some(_) => {}
    }
    let children = names.with_children.contains(name);
    attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(record.and_then(|record| record.special_use).map(special_use_name));
    attributes
}

/// What LIST says of one mailbox among all of them.
pub fn attributes_of(record: &MailboxRecord, mailboxes: &[MailboxRecord]) -> Vec<&'static str> {
    attributes(&record.name, Some(record), &Names::of(mailboxes), true)
}

/// LIST as NOTIFY has it told (RFC 5465 5.4), with the name that the mailbox had.
pub fn write_listed(
    (name, old_name): (&str, Option<&str>),
    (names, subscribed): (&Names, bool),
    coding: NameCoding,
    out: &mut BytesMut,
) {
    let record = names.by_name.get(name).copied().flatten();
    let mut attributes = attributes(name, record, names, true);
    if subscribed {
        attributes.push("\\Subscribed");
    }
    list_line((name, old_name), &attributes, coding, out);
}

/// A LIST that nobody asked for; with OLDNAME where the client spelt the name differently (RFC 9051 6.3.9.7).
pub fn list_line(
    (name, old_name): (&str, Option<&str>),
    attributes: &[&str],
    coding: NameCoding,
    out: &mut BytesMut,
) {
    write_name("LIST", (name, coding), attributes, out);
    if let Some(old_name) = old_name {
        out.extend_from_slice(b" (\"OLDNAME\" (");
        write::mailbox_name(old_name, coding, out);
        out.extend_from_slice(b"))");
    }
    out.extend_from_slice(b"\r\n");
}

fn special_use_name(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

/// A response up to its end of line, where more may follow.
fn write_name(response: &str, (name, names): (&str, NameCoding), attributes: &[&str], out: &mut BytesMut) {
    out.extend_from_slice(format!("* {response} ({}) \"/\" ", attributes.join(" ")).as_bytes());
    write::mailbox_name(name, names, out);
}

fn too_many_wildcards() -> Next {
    Next::Done(Reply::no("LIMIT", "The pattern has too many wildcards"))
}
