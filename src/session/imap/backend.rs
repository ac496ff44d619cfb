//! Answers the questions of an IMAP session from the replica.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::arrange::Facts;
use super::contents::Contents;
use super::limits::{APPEND_CHUNK_BYTES_MAX, NEWS_PACE_MS, SETTLE_WAIT_MS_MAX, TRY_WAIT_MS_MAX};
use super::question::{Answer, Previewing, Question};
use super::search::Excerpt;
use super::session::Session;
use super::summary::{Preview, Summary, SummaryCache};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::ids::{AccountId, BodyId, MailboxId, ModSeq, Uid, UidValidity};
use crate::mail::mime::{self, recode, recode::Unservable};
use crate::mail::preview;
use crate::mail::rights::Rights;
use crate::session::driver::Backend;
use crate::session::login::{Authenticated, Logins, Standing};
use crate::session::reading::ReadingRoom;
use crate::session::watched::Watched;
use crate::state::command::{Command, GuestCommand, PlacedBody};
use crate::state::directory::Directory;
use crate::state::metadata::{Annotation, SERVER_ENTRIES, Wanted};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::{MailboxRecord, MessageRecord};
use crate::state::view::{MailboxView, SharedView};

/// One session's way to the replica.
pub struct ImapBackend<R: Replica> {
    replica: R,
    logins: Arc<Logins>,
    watched: Watched,
    summaries: Arc<SummaryCache>,
    reading: Arc<ReadingRoom>,
    placing: Option<R::Placing>,
    /// The mailbox that the session selected last: what is committed to it must show before the client hears of it.
    open: Option<(MailboxId, Arc<SharedView>)>,
    /// The mailbox that was reached last, by whom, and his rights there.
    reached: Option<(MailboxId, AccountId, Rights)>,
    news: Option<watch::Receiver<u64>>,
    account_news: Option<PacedNews>,
    who: Option<Authenticated>,
}

impl<R: Replica> ImapBackend<R> {
    /// `summaries` and `reading` are shared by all sessions of a node.
    pub fn new(
        replica: R,
        logins: Arc<Logins>,
        (summaries, reading): (Arc<SummaryCache>, Arc<ReadingRoom>),
    ) -> Self {
        Self {
            replica,
            logins,
            watched: Watched::default(),
            summaries,
            reading,
            placing: None,
            open: None,
            reached: None,
            news: None,
            account_news: None,
            who: None,
        }
    }

    /// Somebody watches over the client's logins.
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    async fn execute(&mut self, question: Question) -> Result<Answer, Fault> {
        Ok(match question {
            Question::Login(claim) => {
                let login = self.watched.check(&self.logins, &claim).await;
                if let Err(refused) = &login {
                    tracing::info!("IMAP login as {:?}: {refused}", claim.login());
                }
                self.who = login.as_ref().ok().cloned();
                Answer::Login(login)
            }
            Question::Keys(login) => Answer::Keys(self.logins.keys(&login).await),
            Question::Subscriptions(account) => Answer::Names(self.replica.subscriptions(account).await?),
            Question::Find { account, mailbox, uid_validity, uid } => {
                let wanted = (account, mailbox.as_str(), uid_validity);
                let mut found = find(&self.replica, wanted, uid).await?;
                if found.is_none() {
                    // It may have come in on the other node a moment ago.
                    self.replica.refresh().await?;
                    found = find(&self.replica, wanted, uid).await?;
                }
                Answer::Record(found)
            }
            Question::View(mailbox) => Answer::View(self.replica.view(mailbox).await?),
            Question::Reach { account, name, needs } => self.reach(account, &name, needs).await?,
            Question::Visible(account) => Answer::Mailboxes(self.replica.visible_mailboxes(account).await?),
            Question::Listen(account) => {
                let visible = self.replica.visible_mailboxes(account).await?;
                let others = visible.iter().filter(|record| record.account != account);
                let others = others.map(|record| (record.account, record.id)).collect();
                self.replica.hear_of(account, others);
                Answer::Mailboxes(visible)
            }
            Question::Account(user) => {
                Answer::Account(self.replica.directory().users.get(&user).map(|user| user.account))
            }
            Question::Acl(mailbox) => Answer::Acl(self.replica.acl(mailbox).await?),
            Question::Open(mailbox) => {
                let view = self.replica.view(mailbox).await?;
                if let Some(view) = &view {
                    self.settle_rights(mailbox, view).await;
                }
                self.open = view.clone().map(|view| (mailbox, view));
                Answer::View(view)
            }
            Question::Watch(mailbox) => {
                let open = self.open.as_ref().filter(|(open, _)| *open == mailbox);
                self.news = open.map(|(_, view)| view.watch());
                Answer::Done
            }
            Question::News(account) => {
                let news = self.replica.account_news(account);
                self.account_news =
                    Some(PacedNews { ticks: news.watch(), waiting: false, next: Instant::now() });
                Answer::News(news)
            }
            Question::Propose(command) => Answer::Outcome(self.propose(command).await?),
            Question::Try(command) => {
                let wait = Duration::from_millis(TRY_WAIT_MS_MAX);
                Answer::Outcome(timeout(wait, self.propose(command)).await.map_err(|_| Fault::NoQuorum)??)
            }
            Question::Message { body, size, raw, summary, preview } => {
                self.message((body, size), (raw, summary, preview)).await?
            }
            Question::Summaries(messages) => {
                let known = &self.summaries;
                let make = |body: BodyId, raw: &[u8]| {
                    known.keep_excerpt(body, raw);
                    Summary::of(raw)
                };
                Answer::Summaries(self.contents().derived(&known.summaries, &messages, make).await)
            }
            Question::Facts(messages) => {
                let known = &self.summaries;
                messages.iter().for_each(|(body, _)| known.keep_facts(*body));
                let make = |body: BodyId, raw: &[u8]| {
                    known.keep_excerpt(body, raw);
                    Facts::of(raw)
                };
                Answer::Facts(self.contents().derived(&known.facts, &messages, make).await)
            }
            Question::Excerpts(messages) => {
                let known = &self.summaries.excerpts;
                let make = |_: BodyId, raw: &[u8]| Excerpt::of(raw);
                let excerpts = self.contents().derived(known, &messages, make).await;
                let text = |excerpt: Option<Arc<Excerpt>>| excerpt.map(|excerpt| excerpt.0.clone());
                Answer::Texts(excerpts.into_iter().map(text).collect())
            }
            Question::Bodies(messages) => Answer::Texts(self.contents().bodies(&messages).await),
            Question::Arrange(arrangement) => {
                let arranged = tokio::task::spawn_blocking(|| arrangement.arrange()).await;
                Answer::Arranged(arranged.map_err(|error| Fault::Busy(error.to_string()))?)
            }
            Question::Pause => {
                tokio::task::yield_now().await;
                Answer::Done
            }
            Question::Metadata(place, wanted) => {
                let of_settings = match place.mailbox {
                    Some(_) => Vec::new(),
                    None => server_annotations(&self.replica.directory(), &wanted),
                };
                let mut found = self.replica.metadata(place, wanted).await?;
                found.extend(of_settings);
                Answer::Metadata(found)
            }
            Question::Quota(account) => {
                // What another node has just committed counts. Without a majority, what is known here is told.
                let wait = Duration::from_millis(TRY_WAIT_MS_MAX);
                let _ = timeout(wait, self.replica.refresh()).await;
                Answer::Quota(self.replica.quota(account).await?)
            }
            Question::Place { owner, bytes } if bytes > 0 && !self.has_room(owner, bytes).await? => {
                Answer::Outcome(Outcome::Refused(Refusal::OverQuota))
            }
            Question::Place { .. } => {
                self.placing = Some(self.replica.place().await?);
                Answer::Done
            }
            Question::Push(bytes) => {
                let pushed = match &mut self.placing {
                    Some(placing) => placing.push(bytes).await,
                    None => Err(Fault::Busy("nothing is being placed".into())),
                };
                if pushed.is_err() {
                    self.placing = None;
                }
                pushed?;
                Answer::Done
            }
            Question::Finish => match self.placing.take() {
                Some(placing) => Answer::Placed(placing.finish().await?),
                None => return Err(Fault::Busy("nothing is being placed".into())),
            },
            Question::Recode(body) => Answer::Recoded(self.recode(body).await?),
            Question::Abandon => {
                self.placing = None;
                Answer::Done
            }
        })
    }

    /// The message, as it is where that will do; else placed anew.
    async fn recode(&mut self, body: PlacedBody) -> Result<Result<PlacedBody, Unservable>, Fault> {
        let account = self.account();
        let raw = self.reading.read(&self.replica, account, (body.id, body.size.into())).await?;
        let recoded =
            tokio::task::spawn_blocking(move || recode::without_binary(&raw, &mime::parse(&raw))).await;
        let new = match recoded.map_err(|error| Fault::Busy(error.to_string()))? {
            Ok(Some(new)) => new,
            Ok(None) => return Ok(Ok(body)),
            Err(unservable) => return Ok(Err(unservable)),
        };
        let mut new = Bytes::from(new);
        let mut placing = self.replica.place().await?;
        while !new.is_empty() {
            placing.push(new.split_to(new.len().min(APPEND_CHUNK_BYTES_MAX))).await?;
        }
        Ok(Ok(placing.finish().await?))
    }

    fn account(&self) -> AccountId {
        self.who.as_ref().map_or(AccountId(0), Authenticated::account)
    }

    async fn reach(&mut self, account: AccountId, name: &str, needs: Rights) -> Result<Answer, Fault> {
        let mut reached = self.replica.reach(account, name).await?;
        if !reached.as_ref().is_some_and(|record| record.rights.has(needs)) {
            // It may have been made, or shared, on the other node a moment ago; and beyond a cut nobody knows.
            self.replica.refresh().await?;
            reached = self.replica.reach(account, name).await?;
        }
        self.reached = reached.as_ref().map(|record| (record.id, account, record.rights));
        Ok(match reached {
            Some(record) if record.rights.has(needs) => Answer::Mailbox(Some(record)),
            Some(record) if record.rights.has(Rights::LOOKUP) => {
                Answer::Outcome(Outcome::Refused(Refusal::NotPermitted))
            }
            _ => Answer::Mailbox(None),
        })
    }

    /// Rights that the rows have given show in the view a moment later.
    async fn settle_rights(&mut self, mailbox: MailboxId, view: &Arc<SharedView>) {
        if let Some((reached, account, rights)) = self.reached.take()
            && reached == mailbox
        {
            settle_until(view, |view| view.rights_of(account).has(rights)).await;
        }
    }

    /// Asked before a message is sent; the commit decides. That there is no room is said by rows that are current:
    /// another node may have made some.
    async fn has_room(&mut self, owner: AccountId, bytes: u64) -> Result<bool, Fault> {
        if self.replica.quota(owner).await?.has_room(bytes) {
            return Ok(true);
        }
        self.replica.refresh().await?;
        Ok(self.replica.quota(owner).await?.has_room(bytes))
    }

    async fn propose(&mut self, command: Command) -> Result<Outcome, Fault> {
        let outcome = self.replica.propose(command.clone()).await?;
        self.settle(&command, &outcome).await;
        Ok(outcome)
    }

    /// Waits until the session's own view shows what was committed to it. The feed is asynchronous; a session that
    /// heard OK must not see its mailbox as it was before.
    async fn settle(&mut self, command: &Command, outcome: &Outcome) {
        let Some((open, view)) = &self.open else { return };
        let (modseq, uid) = match (command, outcome) {
            (
                Command::Store(store) | Command::AsGuest { command: GuestCommand::Store(store), .. },
                Outcome::Stored { modseq, .. } | Outcome::StoredNothing { modseq, .. },
            ) if store.mailbox == *open => (*modseq, Uid(0)),
            (
                Command::Expunge { mailbox, .. }
                | Command::AsGuest { command: GuestCommand::Expunge { mailbox, .. }, .. },
                Outcome::Expunged { modseq, .. },
            ) if mailbox == open => (*modseq, Uid(0)),
            (
                Command::Append(append) | Command::AsGuest { command: GuestCommand::Append(append), .. },
                Outcome::Appended { uids, .. },
            ) if append.mailbox == *open => (ModSeq(0), uids.iter().copied().max().unwrap_or_default()),
            (
                Command::Copy(transfer)
                | Command::Move(transfer)
                | Command::AsGuest {
                    command: GuestCommand::Copy(transfer) | GuestCommand::Move(transfer), ..
                },
                Outcome::Copied { to: uids, .. },
            ) if transfer.to == *open => (ModSeq(0), uids.ranges().last().map_or(Uid(0), |(_, last)| *last)),
            (
                Command::Replace(replace) | Command::AsGuest { command: GuestCommand::Replace(replace), .. },
                Outcome::Replaced { uid, .. },
            ) => {
                let came = |view: &MailboxView| replace.to != *open || view.uid_next > *uid;
                let went = |view: &MailboxView| replace.from != *open || view.get(replace.uid).is_none();
                return settle_until(view, |view| came(view) && went(view)).await;
            }
            (
                Command::Move(transfer) | Command::AsGuest { command: GuestCommand::Move(transfer), .. },
                Outcome::Copied { from: uids, .. },
            ) if transfer.from == *open => {
                let gone = uids.ranges().last().map(|(_, last)| *last);
                return settle_until(view, |view| gone.is_none_or(|uid| view.get(uid).is_none())).await;
            }
            _ => return,
        };
        settle_until(view, |view| view.highest_modseq >= modseq && view.uid_next > uid).await;
    }

    async fn message(
        &mut self,
        (body, size): (BodyId, u32),
        (raw, summary, preview): (bool, bool, Previewing),
    ) -> Result<Answer, Fault> {
        let known = if summary { self.summaries.summaries.get(body) } else { None };
        let previewed = match preview {
            Previewing::No => None,
            Previewing::Lazy | Previewing::Wanted => self.summaries.previews.get(body),
        };
        let lacks_preview = preview == Previewing::Wanted && previewed.is_none();
        if !raw && known.is_some() == summary && !lacks_preview {
            return Ok(Answer::Message { raw: None, summary: known, preview: previewed });
        }
        let account = self.account();
        let bytes = self.reading.read(&self.replica, account, (body, size.into())).await?;
        let summary = match (summary, known) {
            (false, _) => None,
            (true, Some(known)) => Some(known),
            (true, None) => Some(self.summaries.summaries.put(body, Summary::of(&bytes))),
        };
        let preview = match (preview, previewed) {
            (Previewing::No, _) => None,
            (_, Some(previewed)) => Some(previewed),
            // RFC 8970 4.1: with the message at hand it is no delay.
            (Previewing::Lazy | Previewing::Wanted, None) => {
                let text = preview::preview(&bytes, &mime::parse(&bytes));
                Some(self.summaries.previews.put(body, Preview(text.into())))
            }
        };
        Ok(Answer::Message { raw: raw.then_some(bytes), summary, preview })
    }

    fn contents(&self) -> Contents<'_, R> {
        let account = self.who.as_ref().map_or(AccountId(0), Authenticated::account);
        Contents { replica: &self.replica, reading: &self.reading, account }
    }
}

impl<R: Replica> Backend<Session> for ImapBackend<R> {
    async fn answer(&mut self, question: Question) -> Answer {
        match self.execute(question).await {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::warn!(%fault, "an IMAP command could not be done");
                Answer::Fault(fault)
            }
        }
    }

    fn standing(&self) -> Option<Standing> {
        self.who.as_ref().map(|who| self.logins.standing(who))
    }

    fn news(&mut self) -> impl Future<Output = ()> + Send {
        let (view, account) = (self.news.as_mut(), self.account_news.as_mut());
        async move {
            tokio::select! {
                () = changed(view) => {}
                () = PacedNews::heard(account) => {}
            }
        }
    }
}

async fn find<R: Replica>(
    replica: &R,
    (account, name, uid_validity): (AccountId, &str, Option<UidValidity>),
    uid: Uid,
) -> Result<Option<MessageRecord>, Fault> {
    let mailbox = replica.reach(account, name).await?.filter(|row| row.rights.has(Rights::READ));
    let valid = |row: &MailboxRecord| uid_validity.is_none_or(|validity| validity == row.uid_validity);
    let Some(mailbox) = mailbox.filter(valid) else { return Ok(None) };
    let Some(view) = replica.view(mailbox.id).await? else { return Ok(None) };
    // The view may be a little behind the row.
    settle_until(&view, |view| view.uid_next >= mailbox.uid_next).await;
    Ok(view.read(|view| view.get(uid)))
}

/// Never, if there is nothing to watch.
async fn changed(ticks: Option<&mut watch::Receiver<u64>>) {
    if let Some(ticks) = ticks
        && ticks.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// News of an account: the first at once, those that follow after [`NEWS_PACE_MS`] and together.
struct PacedNews {
    ticks: watch::Receiver<u64>,
    /// There are some.
    waiting: bool,
    /// Before this nothing is heard.
    next: Instant,
}

impl PacedNews {
    /// Cancel-safe: what has come is remembered.
    async fn heard(account: Option<&mut Self>) {
        let Some(account) = account else { return std::future::pending().await };
        if !account.waiting {
            changed(Some(&mut account.ticks)).await;
            account.waiting = true;
        }
        if Instant::now() < account.next {
            sleep_until(account.next).await;
        }
        // All that came meanwhile is heard now.
        account.ticks.mark_unchanged();
        account.waiting = false;
        account.next = Instant::now() + Duration::from_millis(NEWS_PACE_MS);
    }
}

/// RFC 5464 3.2.1.1: what clients can read and the administrator sets.
fn server_annotations(directory: &Directory, wanted: &[Wanted]) -> Vec<Annotation> {
    let all = SERVER_ENTRIES.map(|(name, setting)| (name, directory.settings().get(setting)));
    let is_told =
        |(name, value): &(&str, &str)| !value.is_empty() && wanted.iter().any(|wanted| wanted.means(name));
    let annotation = |(name, value): (&str, &str)| Annotation { name: name.to_owned(), value: value.into() };
    all.into_iter().filter(is_told).map(annotation).collect()
}

async fn settle_until(view: &Arc<SharedView>, settled: impl Fn(&MailboxView) -> bool + Send) {
    let mut changes = view.watch();
    let wait = async {
        while !view.read(|view| view.deleted || settled(view)) {
            if changes.changed().await.is_err() {
                break;
            }
        }
    };
    if timeout(Duration::from_millis(SETTLE_WAIT_MS_MAX), wait).await.is_err() {
        tracing::warn!("a mailbox view lags behind what was committed");
    }
}
