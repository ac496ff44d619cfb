//! What would be made of a mail of a stranger on port 25: the checks themselves, without a client, and without a trace.

use std::sync::Arc;

use bytes::Bytes;

use super::backend::SmtpBackend;
use super::checked::{Checked, Checks};
use super::greylisting::Memory;
use super::listed::{Listed, Opening};
use super::machine::{Answer, Question, Verdict};
use super::reply::{self, Reply};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::policy::lists::{self, Found};
use crate::policy::rehearsal::{Message, Rehearsal, Said, Told};
use crate::policy::{self, Arrival, Skip};
use crate::session::driver::Backend;
use crate::session::login::{LoginBounds, Logins};
use crate::state::lists::Seen;

const GREYLIST: &str = "greylist.enabled";

/// `Err` of the request, in words.
pub async fn rehearse<R: Replica>(
    replica: R,
    checks: Checks,
    asked: Rehearsal,
) -> Result<Result<Told, Fault>, String> {
    let (from, sender) = match asked.sender.as_str() {
        "" => (ReversePath::Null, None),
        address => (ReversePath::Address(parse(address)?), Some(address.to_owned())),
    };
    let paths = asked.recipients.iter().map(|to| match to.eq_ignore_ascii_case("postmaster") {
        true => Ok(ForwardPath::Postmaster),
        false => parse(to).map(ForwardPath::Address),
    });
    let paths: Vec<ForwardPath> = paths.collect::<Result<_, _>>()?;
    let receiver = replica.directory().settings().hostname().to_owned();
    let arrival = Arrival { address: asked.client.to_canonical(), helo: asked.helo, sender, receiver };
    let logins = Arc::new(Logins::new(replica.clone(), LoginBounds::default()));
    let backend =
        SmtpBackend::new(replica, logins, checks).listed(Listed::new(Some(asked.client), Arc::default()));
    let backend = backend.remembering(Memory::Untouched);
    Ok(Play { backend, arrival, from }.play(&paths, asked.text).await)
}

fn parse(address: &str) -> Result<Address, String> {
    Address::parse(address).map_err(|error| format!("{address}: {error}"))
}

struct Play<R: Replica> {
    backend: SmtpBackend<R>,
    arrival: Arrival,
    from: ReversePath,
}

impl<R: Replica> Play<R> {
    async fn play(mut self, paths: &[ForwardPath], text: Option<Vec<u8>>) -> Result<Told, Fault> {
        let directory = self.backend.replica.directory();
        let exempt = directory.settings().is_exempt(self.arrival.address);
        let arrival = (!exempt).then(|| Box::new(self.arrival.clone()));
        let (from, helo) = (self.from.clone(), self.arrival.helo.clone());
        let question = Question::Sender { from, authenticated: false, helo, arrival };
        let Answer::Sender(opening) = self.backend.answer(question).await else {
            return Err(Fault::Busy("an answer that does not fit".to_owned()));
        };
        let opening = opening?;
        let client = Some(self.arrival.address);
        let sender = self.sender();
        let seen = Seen { client, sender: sender.as_deref(), recipient: None };
        let found = lists::look(&directory, seen);
        let mut told = Told { sender: said(reply::SENDER_OK, String::new(), &found), ..Told::default() };
        match &opening {
            Opening::Refused(refusal) => {
                told.sender = said(Reply::of_policy(refusal.clone()), rule_of(&found), &found);
                return Ok(told);
            }
            Opening::Trusted => "it sends without a login (relay)".clone_into(&mut told.sender.decided_by),
            _ if exempt => "checks.exempt_networks".clone_into(&mut told.sender.decided_by),
            Opening::Stranger | Opening::Unsure => {}
        }
        let trusted = opening == Opening::Trusted;
        let size = text.as_ref().map(|text| text.len() as u64);
        let mut taken = false;
        for path in paths {
            let (said, is_taken) = self.recipient(path, size, trusted).await?;
            taken |= is_taken;
            told.recipients.push(said);
        }
        if let Some(text) = text.filter(|_| taken) {
            told.message = Some(match exempt || trusted {
                true => Message {
                    found: Vec::new(),
                    outcome: "taken".to_owned(),
                    decided_by: told.sender.decided_by.clone(),
                },
                false => self.message(text).await?,
            });
        }
        Ok(told)
    }

    async fn recipient(
        &mut self,
        path: &ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    ) -> Result<(Said, bool), Fault> {
        let question = Question::Recipient { path: path.clone(), size, authenticated };
        let Answer::Recipient(verdict) = self.backend.answer(question).await else {
            return Err(Fault::Busy("an answer that does not fit".to_owned()));
        };
        let verdict = verdict?;
        let directory = self.backend.replica.directory();
        let recipient = match path {
            ForwardPath::Postmaster => None,
            ForwardPath::Address(address) => Some(address.canonical()),
        };
        let found = lists::look(&directory, Seen { recipient: recipient.as_deref(), ..Seen::default() });
        let skip = self.backend.listed.skip_of(path, &directory);
        let at_the_door =
            self.backend.opened.refused(path, skip, &directory).map(|refused| refused.rule.to_owned());
        let decided_by = match &verdict {
            Verdict::Refused(_) if !authenticated => at_the_door.unwrap_or_else(|| match found.block {
                Some(_) => rule_of(&found),
                None => GREYLIST.to_owned(),
            }),
            Verdict::Accept(targets) if targets.is_empty() => rule_of(&found),
            _ => String::new(),
        };
        let taken = matches!(&verdict, Verdict::Accept(targets) if !targets.is_empty())
            || matches!(&verdict, Verdict::Relay { .. })
            // When it comes again.
            || decided_by == GREYLIST;
        Ok((said(Reply::of_verdict(&verdict), decided_by, &found), taken))
    }

    async fn message(&self, text: Vec<u8>) -> Result<Message, Fault> {
        let opening = self.backend.opened.findings().cloned();
        let mut checked = Checked::new(self.arrival.clone(), opening, &self.backend.checks);
        checked.push(Bytes::from(text)).await?;
        let now = self.backend.replica.clock().now();
        let directory = self.backend.replica.directory();
        let judged = checked
            .judge((&directory, self.backend.listed.skip()), (None, now), &self.backend.checks)
            .await?;
        let outcome = match judged.verdict {
            policy::Verdict::Accept => "taken".to_owned(),
            policy::Verdict::Junk => "taken, to Junk".to_owned(),
            policy::Verdict::Discard => "taken, and dropped".to_owned(),
            policy::Verdict::Refuse(refusal) => Reply::of_policy(refusal).to_string(),
        };
        Ok(Message { found: judged.found, outcome, decided_by: judged.rule.to_owned() })
    }

    fn sender(&self) -> Option<String> {
        match &self.from {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address.canonical()),
        }
    }
}

fn rule_of(found: &Found<'_>) -> String {
    found.block.map(|rule| format!("rule {}", rule.name)).unwrap_or_default()
}

fn said(reply: Reply, decided_by: String, found: &Found<'_>) -> Said {
    let Skip { dnsbl, spf, antivirus, dkim, dmarc, greylist } = found.skip;
    let each = [
        (dnsbl, "dnsbl"),
        (spf, "spf"),
        (antivirus, "antivirus"),
        (dkim, "dkim"),
        (dmarc, "dmarc"),
        (greylist, "greylist"),
    ];
    Said {
        reply: reply.to_string(),
        decided_by,
        let_off: each.into_iter().filter(|(off, _)| *off).map(|(_, check)| check).collect(),
        allowed_by: found.allows.iter().map(|rule| rule.name.clone()).collect(),
    }
}
