//! Users' filters (Sieve): whose are asked of a mail, what they are shown of it, and what follows from what they say.
//!
//! A filter sees a mail that would be taken, and not one that was judged to be junk. It never loses one: a script that
//! does not compile, or stumbles, keeps the mail as if it were not there, and so does whatever it asks for that cannot be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tracing::warn;

use super::backend::user_of;
use super::envelope::{MailParams, RcptParams};
use super::reply::Reply;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::flags::NamedFlags;
use crate::mail::ids::AccountId;
use crate::policy;
use crate::session::smtp::Flavor;
use crate::sieve::{Action, Mail, Script, Vacation};
use crate::state::command::{Command, DeliverTo};
use crate::state::directory::Directory;
use crate::state::outcome::Outcome;
use crate::state::queue::TlsWish;
use crate::state::record::MailboxRecord;
use crate::state::routing::{LocalTarget, Route, is_own, route};

/// Octets that filters see of a mail, from its beginning: more than the longest header that is taken.
pub const SEEN_BYTES_MAX: usize = 512 * 1024;
/// Accounts that one recipient's mail goes through, each by the filter of the one before; then it stays where it is.
pub const ACCOUNTS_MAX: usize = 10;
/// Characters of a reason that go into a reply.
const REASON_CHARS_MAX: usize = 200;
const INBOX: &str = "INBOX";

/// The filters that are to be asked of the mail that is under way.
#[derive(Default)]
pub struct Filters {
    /// SMTP has one reply for all recipients, LMTP one for each.
    one_reply: bool,
    /// Of recipients that were taken; `None`: there is none, or none that compiles.
    scripts: BTreeMap<AccountId, Option<Arc<Script>>>,
    recipients: usize,
    /// One of them may refuse the mail.
    may_refuse: bool,
    seen: Vec<u8>,
    bytes: u64,
}

/// Who a mail is by and for, as the client named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub from: ReversePath,
    pub params: MailParams,
    /// One for each recipient that was taken.
    pub to: Vec<Named>,
    /// It is neither by a user nor by a client that may send on.
    pub by_stranger: bool,
    pub tls: TlsWish,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub path: ForwardPath,
    pub params: RcptParams,
    /// To how many addresses elsewhere it leads.
    pub elsewhere: usize,
}

impl Names {
    /// The first recipient that leads to other servers.
    pub fn first_elsewhere(&self) -> Option<&ForwardPath> {
        self.to.iter().find(|named| named.elsewhere > 0).map(|named| &named.path)
    }

    /// Of a mail whose names do not matter.
    #[cfg(test)]
    pub fn nobody() -> Box<Self> {
        let (from, params) = (ReversePath::Null, MailParams::default());
        Box::new(Self { from, params, to: Vec::new(), by_stranger: false, tls: TlsWish::Usual })
    }
}

/// What becomes of a mail.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Of each recipient, where it goes here.
    pub places: Vec<Vec<DeliverTo>>,
    /// Of each recipient, why it is not taken.
    pub refused: Vec<Option<String>>,
    /// Of each recipient, what filters did, in words.
    pub told: Vec<Vec<String>>,
    pub redirects: Vec<Redirect>,
    /// By whom.
    pub replies: Vec<(AccountId, Vacation)>,
}

/// To other servers, in the name of the user whose filter wants it.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirect {
    pub account: AccountId,
    /// Where notices go. Empty where the mail is a notice itself.
    pub sender: String,
    pub to: Vec<Address>,
}

impl Filters {
    pub fn new(flavor: Flavor) -> Self {
        Self { one_reply: flavor != Flavor::Lmtp, ..Self::default() }
    }

    /// MAIL: whatever was before is over.
    pub fn opened(&mut self) {
        *self = Self { one_reply: self.one_reply, ..Self::default() };
    }

    /// The message begins, perhaps once more.
    pub fn begin(&mut self) {
        (self.seen, self.bytes) = (Vec::new(), 0);
    }

    pub fn see(&mut self, part: &[u8]) {
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        if self.is_any() {
            let room = SEEN_BYTES_MAX - self.seen.len();
            self.seen.extend_from_slice(&part[..part.len().min(room)]);
        }
    }

    fn is_any(&self) -> bool {
        self.scripts.values().any(Option::is_some)
    }

    /// RCPT: these would be taken. Where the client has one reply for all, a filter that may refuse the mail has it for
    /// itself: the client comes again for the others at once (RFC 5321 4.5.3.1.10), and nobody is told later that it failed.
    pub async fn admit<R: Replica>(
        &mut self,
        replica: &R,
        targets: &[LocalTarget],
        authenticated: bool,
    ) -> Result<Option<policy::Refusal>, Fault> {
        let mut refusing = false;
        for target in targets {
            refusing |= self.script(replica, target.account).await?.is_some_and(|script| script.may_refuse());
        }
        if self.one_reply && !authenticated && self.recipients > 0 && (refusing || self.may_refuse) {
            let text = "One recipient at a time: a filter may refuse the mail".to_owned();
            return Ok(Some(policy::Refusal { code: 452, enhanced: "4.5.3", text }));
        }
        self.recipients += 1;
        self.may_refuse |= refusing;
        Ok(None)
    }

    async fn script<R: Replica>(
        &mut self,
        replica: &R,
        account: AccountId,
    ) -> Result<Option<Arc<Script>>, Fault> {
        if let Some(known) = self.scripts.get(&account) {
            return Ok(known.clone());
        }
        let script = replica.active_script(account).await?.and_then(|text| match Script::compile(&text) {
            Ok(script) => Some(Arc::new(script)),
            Err(error) => {
                warn!("the filter of account {account} is left out: {error}");
                None
            }
        });
        self.scripts.insert(account, script.clone());
        Ok(script)
    }

    /// Whether one of them may send the mail to other servers.
    pub fn may_redirect(&self) -> bool {
        self.scripts.values().flatten().any(|script| script.may_redirect())
    }

    /// Asks the filters of each recipient. `to`: where each leads here; `others`: the mail goes to other servers as well.
    pub async fn sort<R: Replica>(
        &mut self,
        replica: &R,
        (to, names): (&[Vec<LocalTarget>], &Names),
        others: bool,
    ) -> Result<Sorted, Fault> {
        let mut sorted = Sorted::default();
        for (at, targets) in to.iter().enumerate() {
            let path = names.to.get(at).map_or(&ForwardPath::Postmaster, |named| &named.path);
            let mut one = OfOne::new(path, &replica.directory());
            for target in targets {
                one.account(self, replica, target, &names.from).await?;
            }
            one.into(&mut sorted, targets);
        }
        let refused = sorted.refused.iter().flatten().count();
        if self.one_reply && refused > 0 && (others || refused < to.len()) {
            sorted.keep_what_is_refused(to);
        }
        Ok(sorted)
    }
}

impl Sorted {
    /// It cannot be refused for some recipients alone.
    fn keep_what_is_refused(&mut self, to: &[Vec<LocalTarget>]) {
        for (at, targets) in to.iter().enumerate() {
            if self.refused[at].take().is_some() {
                self.places[at].extend(targets.iter().map(|target| place(target, NamedFlags::default())));
                self.told[at].push(KEPT.to_owned());
            }
        }
    }
}

const KEPT: &str = "kept: it cannot be refused for one of several";

/// One recipient's mail on its way through the filters.
struct OfOne {
    recipient: String,
    /// Accounts that have had their turn.
    turns: BTreeSet<AccountId>,
    places: Vec<DeliverTo>,
    reasons: Vec<String>,
    told: Vec<String>,
    redirects: Vec<Redirect>,
    replies: Vec<(AccountId, Vacation)>,
}

impl OfOne {
    fn new(path: &ForwardPath, directory: &Directory) -> Self {
        let recipient = match path {
            ForwardPath::Address(address) => address.to_string(),
            ForwardPath::Postmaster => {
                let domain = directory.domains.first().map_or("localhost", String::as_str);
                format!("postmaster@{domain}")
            }
        };
        let (turns, places, reasons, told) = (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new());
        Self { recipient, turns, places, reasons, told, redirects: Vec::new(), replies: Vec::new() }
    }

    /// One account that it comes to, and those to which that one's filter passes it on.
    async fn account<R: Replica>(
        &mut self,
        filters: &mut Filters,
        replica: &R,
        target: &LocalTarget,
        from: &ReversePath,
    ) -> Result<(), Fault> {
        let mut waiting = VecDeque::from([target.clone()]);
        while let Some(target) = waiting.pop_front() {
            let first = self.turns.insert(target.account);
            let script = match first && self.turns.len() <= ACCOUNTS_MAX {
                true => filters.script(replica, target.account).await?,
                false => None,
            };
            match script {
                Some(script) => {
                    let actions = self.ask(filters, replica, (&script, &target), from).await?;
                    for action in actions {
                        self.obey(action, replica, &target, (from, &mut waiting)).await?;
                    }
                }
                None => self.places.push(place(&target, NamedFlags::default())),
            }
        }
        Ok(())
    }

    async fn ask<R: Replica>(
        &mut self,
        filters: &Filters,
        replica: &R,
        (script, target): (&Script, &LocalTarget),
        from: &ReversePath,
    ) -> Result<Vec<Action>, Fault> {
        let mailboxes = replica.mailboxes(target.account).await?;
        let own = match script.may_answer() {
            true => own_addresses(&replica.directory(), target.account, &self.recipient),
            false => Vec::new(),
        };
        let sender = from.bare();
        let mail = Mail {
            head: &filters.seen,
            size: filters.bytes,
            sender: (!sender.is_empty()).then_some(sender.as_str()),
            recipient: &self.recipient,
            own: &own,
            now: replica.clock().now(),
        };
        let exists = |name: &str| is_among(&mailboxes, name);
        let actions = script.run(&mail, &exists);
        if let Some(fault) = actions.fault {
            warn!("the filter of account {} stumbles: {fault}", target.account);
            self.told.push(format!("filter error: {fault}"));
        }
        if actions.actions.is_empty() {
            self.told.push("discarded by the filter".to_owned());
        }
        Ok(actions.actions)
    }

    async fn obey<R: Replica>(
        &mut self,
        action: Action,
        replica: &R,
        target: &LocalTarget,
        (from, waiting): (&ReversePath, &mut VecDeque<LocalTarget>),
    ) -> Result<(), Fault> {
        match action {
            Action::Keep { flags } => self.places.push(place(target, flags)),
            Action::FileInto { mailbox, create, flags } => {
                let mailbox = self.mailbox(replica, target.account, (mailbox, create)).await?;
                self.places.push(DeliverTo { account: target.account, mailbox, flags });
            }
            Action::Redirect { address } => {
                let (local, remote) = match route(&replica.directory(), &address) {
                    Route::Ours { local, remote } => (local, remote),
                    Route::NotOurs => (Vec::new(), vec![address.clone()]),
                    Route::Unknown => {
                        self.told.push(format!("kept: there is no {address}"));
                        self.places.push(place(target, NamedFlags::default()));
                        return Ok(());
                    }
                };
                self.told.push(format!("redirected to {address}"));
                waiting.extend(local.into_iter().filter(|local| !self.turns.contains(&local.account)));
                if !remote.is_empty() {
                    let sender = match from {
                        ReversePath::Null => String::new(),
                        ReversePath::Address(_) => self.recipient.clone(),
                    };
                    self.redirects.push(Redirect { account: target.account, sender, to: remote });
                }
            }
            Action::Reject { reason } => self.reasons.push(reason),
            Action::Vacation(vacation) => self.replies.push((target.account, *vacation)),
        }
        Ok(())
    }

    /// INBOX where there is none by that name, and none may be made.
    async fn mailbox<R: Replica>(
        &mut self,
        replica: &R,
        account: AccountId,
        (wanted, create): (String, bool),
    ) -> Result<String, Fault> {
        let mut found = self::found(replica, account, &wanted).await?;
        if found.is_none() && create {
            let command = Command::CreateMailbox { account, name: wanted.clone(), special_use: None };
            found = match replica.propose(command).await? {
                // Perhaps another node has made it meanwhile.
                Outcome::Refused(_) => self::found(replica, account, &wanted).await?,
                _ => Some(wanted.clone()),
            };
        }
        self.told.push(match &found {
            Some(name) => format!("filed into {name}"),
            None => format!("kept: there is no mailbox {wanted}"),
        });
        Ok(found.unwrap_or_else(|| INBOX.to_owned()))
    }

    /// A mail is refused for a recipient that leads to one account alone, which does nothing else with it.
    fn into(mut self, sorted: &mut Sorted, targets: &[LocalTarget]) {
        let alone = targets.len() == 1 && self.places.is_empty() && self.redirects.is_empty();
        let reason = self.reasons.pop();
        if reason.is_some() && !alone {
            self.places.extend(targets.iter().map(|target| place(target, NamedFlags::default())));
            self.told.push(KEPT.to_owned());
        }
        sorted.refused.push(reason.filter(|_| alone));
        sorted.places.push(self.places);
        sorted.told.push(self.told);
        for redirect in self.redirects {
            sorted.redirect(redirect);
        }
        for (account, reply) in self.replies {
            let same = |(who, known): &(AccountId, Vacation)| *who == account && known.handle == reply.handle;
            if !sorted.replies.iter().any(same) {
                sorted.replies.push((account, reply));
            }
        }
    }
}

impl Sorted {
    /// To each address once in a user's name.
    fn redirect(&mut self, redirect: Redirect) {
        match self.redirects.iter_mut().find(|known| known.account == redirect.account) {
            Some(known) => {
                for address in redirect.to {
                    if !known.to.iter().any(|known| known.canonical() == address.canonical()) {
                        known.to.push(address);
                    }
                }
            }
            None => self.redirects.push(redirect),
        }
    }
}

/// Where mail for the target goes by itself.
pub fn place(target: &LocalTarget, flags: NamedFlags) -> DeliverTo {
    let mailbox = target.detail.clone().unwrap_or_else(|| INBOX.to_owned());
    DeliverTo { account: target.account, mailbox, flags }
}

/// What the client hears of a mail that a filter refuses (RFC 5429 2.1.1).
pub fn refusal(reason: &str) -> Reply {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let text: String = reason.trim().chars().take(REASON_CHARS_MAX).map(plain).collect();
    let text = if text.trim().is_empty() { "The recipient does not take this mail".to_owned() } else { text };
    Reply { code: 550, enhanced: "5.7.1", text: text.into() }
}

/// One that mail can go into. INBOX is never asked for: a filter that files into it keeps the mail.
async fn found<R: Replica>(replica: &R, account: AccountId, name: &str) -> Result<Option<String>, Fault> {
    let found = replica.mailbox(account, name).await?;
    Ok(found.filter(|found| !found.no_select).map(|found| found.name))
}

/// INBOX is known by any case.
fn is_among(mailboxes: &[MailboxRecord], name: &str) -> bool {
    let is = |mailbox: &MailboxRecord| {
        !mailbox.no_select
            && (mailbox.name == name || mailbox.name == INBOX && name.eq_ignore_ascii_case(INBOX))
    };
    mailboxes.iter().any(is)
}

/// The user's name in each domain, the aliases that name him, and the address that was used.
fn own_addresses(directory: &Directory, account: AccountId, used: &str) -> Vec<String> {
    let mut own = vec![used.to_owned()];
    let Some(user) = user_of(directory, account) else { return own };
    let in_all = |local: &str| -> Vec<String> {
        directory.domains.iter().map(|domain| format!("{local}@{domain}")).collect()
    };
    own.extend(in_all(&user.name));
    for alias in directory.aliases.keys() {
        let addresses = match alias.contains('@') {
            true => vec![alias.clone()],
            false => in_all(alias),
        };
        let leads_here = |address: &String| {
            Address::parse(address).is_ok_and(|address| is_own(directory, account, &address))
        };
        own.extend(addresses.into_iter().filter(leads_here));
    }
    own
}
