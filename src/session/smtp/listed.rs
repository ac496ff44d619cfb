//! What the administrator's lists do to a mail on its way in: kept out, dropped, let off checks, or let send on. Lists speak
//! of strangers: not of users who logged in, nor of what a front end hands over.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::{info, warn};

use super::machine::Verdict;
use crate::dns::Resolver;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::policy::gather::verified;
use crate::policy::hits::Hits;
use crate::policy::lists::{Found, look, refusal};
use crate::policy::{Refusal, Skip};
use crate::state::directory::Directory;
use crate::state::lists::{Rule, Seen};

/// What becomes of a mail whose sender is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Nothing speaks for the client.
    Stranger,
    /// It sends without a login, to other servers too.
    Trusted,
    /// It may be such a client by its name, and the DNS does not tell at the moment.
    Unsure,
    Refused(Refusal),
}

/// The lists, as one session meets them.
#[derive(Default)]
pub struct Listed {
    /// `None`: they do not speak of this client.
    client: Option<IpAddr>,
    hits: Arc<Hits>,
    /// The client's verified names, once they were asked for.
    hosts: Option<Vec<String>>,
    mail: Option<OfMail>,
}

/// Of the mail that is under way.
struct OfMail {
    sender: Option<String>,
    opening: Opening,
    /// The client hears 250, and nobody gets it.
    dropped: bool,
    /// By what is known before the recipients.
    skip: Skip,
    /// What all its recipients are let off, as far as they are known.
    of_recipients: Option<Skip>,
}

impl Listed {
    pub fn new(client: Option<IpAddr>, hits: Arc<Hits>) -> Self {
        Self { client, hits, ..Self::default() }
    }

    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// MAIL of a user who logged in: the lists are silent until the next one.
    pub fn user(&mut self) {
        self.mail = None;
    }

    /// MAIL of anybody else. What rules are met is counted with [`Listed::note`].
    pub async fn mail(&mut self, from: &ReversePath, directory: &Directory, dns: &Resolver) -> Opening {
        self.mail = None;
        let Some(client) = self.client else { return Opening::Stranger };
        let sender = match from {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address.canonical()),
        };
        let found =
            look(directory, Seen { client: Some(client), sender: sender.as_deref(), recipient: None });
        let opening = match found.block.and_then(refusal) {
            Some(refusal) => Opening::Refused(refusal),
            None => self.trust(client, directory, dns).await,
        };
        let (dropped, skip) = (found.block.is_some(), found.skip);
        self.mail = Some(OfMail { sender, opening: opening.clone(), dropped, skip, of_recipients: None });
        opening
    }

    /// Counts what the mail met, and tells of what keeps it out.
    pub fn note(&self, directory: &Directory) {
        let (Some(client), Some(mail)) = (self.client, &self.mail) else { return };
        let seen = Seen { client: Some(client), sender: mail.sender.as_deref(), recipient: None };
        self.count(&look(directory, seen), directory);
        if mail.opening == Opening::Trusted
            && let Some(rule) = self.relay_rule(client, directory)
        {
            self.hits.count(rule, &directory.lists);
        }
    }

    async fn trust(&mut self, client: IpAddr, directory: &Directory, dns: &Resolver) -> Opening {
        if may_send_on(client, directory) {
            return Opening::Trusted;
        }
        if !directory.lists.asks_for_hosts() {
            return Opening::Stranger;
        }
        if self.hosts.is_none() {
            match verified(dns, client).await {
                Ok(hosts) => self.hosts = Some(hosts),
                Err(error) => {
                    warn!("the name of {client} is not known at the moment: {error}");
                    return Opening::Unsure;
                }
            }
        }
        match self.relay_rule(client, directory) {
            Some(_) => Opening::Trusted,
            None => Opening::Stranger,
        }
    }

    fn relay_rule<'a>(&self, client: IpAddr, directory: &'a Directory) -> Option<&'a Rule> {
        let lists = &directory.lists;
        let by_name = || self.hosts.iter().flatten().find_map(|host| lists.relay_host(host));
        lists.relay(client).or_else(by_name)
    }

    /// What the recipient is to hear, where `verdict` was reached without the lists.
    pub fn recipient(&self, path: &ForwardPath, verdict: Verdict, directory: &Directory) -> Verdict {
        let (Some(client), Some(mail)) = (self.client, &self.mail) else { return verdict };
        match verdict {
            Verdict::RelayDenied if mail.opening == Opening::Unsure => return Verdict::Outbound,
            // It was let in a moment ago, on another node: the next mail is.
            Verdict::RelayDenied if may_send_on(client, directory) => return Verdict::Outbound,
            Verdict::Accept(_) | Verdict::Relay { .. } => {}
            other => return other,
        }
        match of_recipient(path, directory, |found| found.block.map(refusal)) {
            Some(Some(refusal)) => Verdict::Refused(refusal),
            Some(None) => Verdict::Accept(Vec::new()),
            None if mail.dropped => Verdict::Accept(Vec::new()),
            None => verdict,
        }
    }

    /// The recipient is answered with `verdict`.
    pub fn note_recipient(&mut self, path: &ForwardPath, verdict: &Verdict, directory: &Directory) {
        if self.mail.is_none() {
            return;
        }
        let taken = match verdict {
            Verdict::Accept(targets) => !targets.is_empty(),
            Verdict::Relay { .. } => true,
            Verdict::Refused(_) => false,
            _ => return,
        };
        let skip = of_recipient(path, directory, |found| {
            self.count(&found, directory);
            found.skip
        });
        if let Some(mail) = self.mail.as_mut().filter(|_| taken) {
            mail.of_recipients = Some(mail.of_recipients.map_or(skip, |others| others.and(skip)));
        }
    }

    /// What the mail is let off for this recipient.
    pub fn skip_of(&self, path: &ForwardPath, directory: &Directory) -> Skip {
        let Some(mail) = &self.mail else { return Skip::default() };
        mail.skip.or(of_recipient(path, directory, |found| found.skip))
    }

    /// What the mail as a whole is let off.
    pub fn skip(&self) -> Skip {
        let Some(mail) = &self.mail else { return Skip::default() };
        mail.skip.or(mail.of_recipients.unwrap_or_default())
    }

    fn count(&self, found: &Found, directory: &Directory) {
        match (found.block, self.client) {
            (Some(block), Some(client)) => {
                info!("rule {} keeps out a mail from {client}: {}", block.name, block.action.word());
                self.hits.count(block, &directory.lists);
            }
            _ => found.allows.iter().for_each(|rule| self.hits.count(rule, &directory.lists)),
        }
    }
}

/// By its address alone.
fn may_send_on(client: IpAddr, directory: &Directory) -> bool {
    directory.settings().is_open_to(client) || directory.lists.relay(client).is_some()
}

fn of_recipient<T>(path: &ForwardPath, directory: &Directory, tell: impl FnOnce(Found) -> T) -> T {
    match path {
        // RFC 5321 4.5.1: always there.
        ForwardPath::Postmaster => tell(Found::default()),
        ForwardPath::Address(address) => {
            let recipient = address.canonical();
            tell(look(directory, Seen { recipient: Some(&recipient), ..Seen::default() }))
        }
    }
}
