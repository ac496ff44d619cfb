//! NOTIFY (RFC 5465 3.1).

use std::sync::Arc;

use bytes::BytesMut;

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{EventGroup, Filter, NotifyRequest};
use crate::session::imap::limits::{NOTIFY_GROUPS_MAX, NOTIFY_NAMES_MAX};
use crate::session::imap::notify::{Groups, Listening, Lists, Notify as Wishes, OfSelected};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::telling::write_part;
use crate::session::login::Authenticated;
use crate::state::news::SharedNews;
use crate::state::record::MailboxRecord;

/// RFC 5465 3.1: BADEVENT lists all events that are supported.
const BAD_EVENT: &str = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange \
    MailboxMetadataChange ServerMetadataChange)";

enum Stage {
    Begin,
    News,
    Mailboxes(Baseline),
    Subscriptions(Baseline, Vec<MailboxRecord>),
    Standing(BytesMut),
}

/// From where on news are heard.
type Baseline = (Arc<SharedNews>, u64);

pub struct Notify {
    request: NotifyRequest,
    stage: Stage,
}

impl Notify {
    pub fn new(request: NotifyRequest) -> Self {
        Self { request, stage: Stage::Begin }
    }

    fn groups(&self) -> &[EventGroup] {
        match &self.request {
            NotifyRequest::None => &[],
            NotifyRequest::Set { groups, .. } => groups,
        }
    }

    fn groups_of(&self, core: &Core) -> Groups {
        Groups::of(self.groups(), core.login.as_ref().map_or("", Authenticated::name))
    }

    fn begin(&mut self, core: &mut Core) -> Next {
        if self.request == NotifyRequest::None {
            core.notify = Some(Wishes::none());
            return Next::Done(Reply::ok("You will hear of nothing"));
        }
        let groups = self.groups();
        if groups.iter().any(|group| group.events.unsupported) {
            return Next::Done(Reply::no(BAD_EVENT, "Not all of these events are told of"));
        }
        let names = |group: &EventGroup| match &group.filter {
            Filter::Subtree(names) | Filter::Mailboxes(names) => names.len(),
            _ => 0,
        };
        if groups.len() > NOTIFY_GROUPS_MAX || groups.iter().map(names).sum::<usize>() > NOTIFY_NAMES_MAX {
            return overflow();
        }
        if self.groups_of(core).are_none() {
            return self.set(core, None);
        }
        self.stage = Stage::News;
        Next::Ask(Question::News(core.account()))
    }

    fn listen(&mut self, core: &mut Core, baseline: Baseline, lists: &Lists, io: &mut Io) -> Next {
        let Ok(listening) = Listening::begin(self.groups_of(core), baseline, core.account(), lists) else {
            return overflow();
        };
        let mut standing = BytesMut::new();
        if matches!(self.request, NotifyRequest::Set { status: true, .. }) {
            listening.write_standing(core.hearer(), &mut standing);
        }
        self.set(core, Some(listening));
        self.write_standing(standing, io)
    }

    fn set(&mut self, core: &mut Core, account: Option<Listening>) -> Next {
        let selected = OfSelected::of(self.groups());
        core.notify = Some(Wishes { selected, account, settling: true });
        done()
    }

    fn write_standing(&mut self, mut standing: BytesMut, io: &mut Io) -> Next {
        if write_part(&mut standing, io.out) {
            return done();
        }
        self.stage = Stage::Standing(standing);
        Next::Flush
    }
}

impl Task for Notify {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) => self.begin(core),
            (Stage::News, Some(Answer::News(news))) => {
                // Before the lists are read: they are not older.
                let heard = news.version();
                self.stage = Stage::Mailboxes((news, heard));
                Next::Ask(Question::Listen(core.account()))
            }
            (Stage::Mailboxes(baseline), Some(Answer::Mailboxes(mailboxes))) => {
                self.stage = Stage::Subscriptions(baseline, mailboxes);
                Next::Ask(Question::Subscriptions(core.account()))
            }
            (Stage::Subscriptions(baseline, mailboxes), Some(Answer::Names(names))) => {
                let lists = Lists { mailboxes, subscriptions: names.into_iter().collect() };
                self.listen(core, baseline, &lists, io)
            }
            (Stage::Standing(standing), None) => self.write_standing(standing, io),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn done() -> Next {
    Next::Done(Reply::ok("You will hear of it"))
}

fn overflow() -> Next {
    Next::Done(Reply::no("NOTIFICATIONOVERFLOW", "That is more than this server listens to for a session"))
}
