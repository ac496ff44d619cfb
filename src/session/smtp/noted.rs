//! What a session does with each mail, for the log of mails.

use std::net::IpAddr;

use super::checked::Judged;
use super::listed::Opening;
use super::machine::{Answer, Verdict};
use super::received::Stamp;
use super::reply::{self, Reply};
use crate::cluster::replica::Fault;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::header;
use crate::mail::ids::{QueueId, Timestamp};
use crate::maillog::{Check, Client, DISCARDED, JUNK, MailLog, Received, Recipient, Refused, TAKEN, What};
use crate::policy;

/// Octets of a header in which the Message-ID is looked for.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The log, as one session writes to it.
#[derive(Default)]
pub struct Noted {
    log: MailLog,
    client: Option<IpAddr>,
    mail: Option<Box<OfMail>>,
}

/// Of the mail that is under way.
struct OfMail {
    client: Client,
    sender: String,
    recipients: Vec<Recipient>,
    id: String,
    head: Head,
    bytes: u64,
    judged: Option<Found>,
    queued: Option<u64>,
}

/// What the checks found, and what was made of it.
struct Found {
    checks: Vec<Check>,
    rule: &'static str,
    outcome: &'static str,
}

/// The text until its header ends, or is longer than is looked at.
enum Head {
    Open(Vec<u8>),
    Read(Option<String>),
}

impl Noted {
    pub fn new(log: MailLog, client: Option<IpAddr>) -> Self {
        Self { log, client, mail: None }
    }

    /// MAIL, and what was made of it.
    pub fn opened(
        &mut self,
        (from, login, helo): (&ReversePath, Option<&str>, &str),
        opening: &Result<Opening, Fault>,
        at: Timestamp,
    ) {
        let sender = from.bare();
        let client = Client {
            address: self.client.map(|address| address.to_canonical()),
            helo: helo.to_owned(),
            login: login.map(str::to_owned),
        };
        let said = match opening {
            Ok(Opening::Refused(refusal)) => Some(Reply::of_policy(refusal.clone())),
            Ok(Opening::Stranger | Opening::Trusted | Opening::Unsure) => None,
            Err(_) => Some(reply::UNAVAILABLE),
        };
        self.mail = None;
        match said {
            Some(said) => {
                let refused = Refused { client, sender, recipient: None, said: said.to_string() };
                self.log.note(at, What::Refused(refused));
            }
            None => {
                self.mail = Some(Box::new(OfMail {
                    client,
                    sender,
                    recipients: Vec::new(),
                    id: String::new(),
                    head: Head::Open(Vec::new()),
                    bytes: 0,
                    judged: None,
                    queued: None,
                }));
            }
        }
    }

    pub fn recipient(&mut self, path: &ForwardPath, verdict: &Result<Verdict, Fault>, at: Timestamp) {
        let Some(mail) = &mut self.mail else { return };
        let to = match path {
            ForwardPath::Postmaster => "postmaster".to_owned(),
            ForwardPath::Address(address) => address.to_string(),
        };
        let outcome = match verdict {
            Ok(Verdict::Accept(targets)) if targets.is_empty() => "dropped",
            Ok(Verdict::Accept(_)) => "local",
            Ok(Verdict::Relay { local, .. }) if local.is_empty() => "queued",
            Ok(Verdict::Relay { .. }) => "local, queued",
            Ok(_) | Err(_) => {
                let said = verdict.as_ref().map_or(reply::UNAVAILABLE, Reply::of_verdict);
                self.log.note(
                    at,
                    What::Refused(Refused {
                        client: mail.client.clone(),
                        sender: mail.sender.clone(),
                        recipient: Some(to),
                        said: said.to_string(),
                    }),
                );
                return;
            }
        };
        mail.recipients.push(Recipient { to, outcome: outcome.to_owned() });
    }

    pub fn begun(&mut self, stamp: &Stamp) {
        if let Some(mail) = &mut self.mail {
            (mail.id, mail.head, mail.bytes) = (stamp.id.clone(), Head::Open(Vec::new()), 0);
        }
    }

    pub fn read(&mut self, text: &[u8]) {
        if let Some(mail) = &mut self.mail {
            mail.head.read(text);
            mail.bytes += text.len() as u64;
        }
    }

    pub fn judged(&mut self, judged: &Judged) {
        let outcome = match judged.verdict {
            policy::Verdict::Junk => JUNK,
            policy::Verdict::Discard => DISCARDED,
            policy::Verdict::Accept | policy::Verdict::Refuse(_) => TAKEN,
        };
        let check = |found: &String| {
            let (check, result) = found.split_once('=').unwrap_or((found, ""));
            Check { check: check.to_owned(), result: result.to_owned() }
        };
        if let Some(mail) = &mut self.mail {
            let checks = judged.found.iter().map(check).collect();
            mail.judged = Some(Found { checks, rule: judged.rule, outcome });
        }
    }

    /// What users' filters did with it, of each recipient.
    pub fn filtered(&mut self, told: &[Vec<String>]) {
        let Some(mail) = &mut self.mail else { return };
        for (recipient, told) in mail.recipients.iter_mut().zip(told).filter(|(_, told)| !told.is_empty()) {
            recipient.outcome = format!("{} ({})", recipient.outcome, told.join(", "));
        }
    }

    /// The first of them, where filters send it elsewhere as well.
    pub fn queued(&mut self, id: Option<QueueId>) {
        if let Some(mail) = &mut self.mail {
            mail.queued = mail.queued.or(id.map(|id| id.0));
        }
    }

    /// The client is about to hear this of the whole mail.
    pub fn ended(&mut self, answer: &Answer, at: Timestamp) {
        let Some(mail) = self.mail.take() else { return };
        let OfMail { client, sender, mut recipients, id, head, bytes, judged, queued } = *mail;
        let (checks, rule, usual) =
            judged.map_or((Vec::new(), "", TAKEN), |found| (found.checks, found.rule, found.outcome));
        let outcome = match answer {
            Answer::Delivered(Ok(results)) => {
                for (recipient, result) in recipients.iter_mut().zip(results) {
                    if let Err(refusal) = result {
                        recipient.outcome = refusal.to_string();
                    }
                }
                let dropped = recipients.iter().all(|recipient| recipient.outcome == "dropped");
                match results.iter().find_map(|result| result.as_ref().err()) {
                    Some(refusal) if results.iter().all(Result::is_err) => refusal.to_string(),
                    _ if dropped => DISCARDED.to_owned(),
                    _ => usual.to_owned(),
                }
            }
            Answer::Refused(refusal) => Reply::of_policy(refusal.clone()).to_string(),
            _ => reply::UNAVAILABLE.to_string(),
        };
        let message_id = head.message_id();
        let decided_by = rule.to_owned();
        let received = Received {
            id,
            message_id,
            client,
            sender,
            recipients,
            checks,
            decided_by,
            outcome,
            queued,
            bytes,
        };
        self.log.note(at, What::Received(received));
    }
}

impl Head {
    fn read(&mut self, text: &[u8]) {
        let Self::Open(head) = self else { return };
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(&text[..text.len().min(HEAD_BYTES_MAX - head.len())]);
        let ended = head[seen..].windows(4).any(|window| window == b"\r\n\r\n");
        if ended || head.len() == HEAD_BYTES_MAX {
            *self = Self::Read(message_id(head));
        }
    }

    fn message_id(self) -> Option<String> {
        match self {
            Self::Open(head) => message_id(&head),
            Self::Read(id) => id,
        }
    }
}

fn message_id(head: &[u8]) -> Option<String> {
    let field = header::find(head, "Message-ID")?;
    let value = header::unfold(field.value);
    let text = String::from_utf8_lossy(&value);
    let (id, _) = text.split_once('<')?.1.split_once('>')?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> (bool, Option<String>) {
        let mut head = Head::Open(Vec::new());
        parts.iter().for_each(|part| head.read(part));
        (matches!(head, Head::Read(_)), head.message_id())
    }

    #[test]
    fn the_message_id_is_found_however_the_text_comes_and_in_the_header_alone() {
        let id = Some("one@a.test".to_owned());
        let text: &[u8] =
            b"Received: x\r\nMessage-ID:\r\n <one@a.test>\r\nSubject: s\r\n\r\nMessage-ID: <two@a.test>\r\n";
        for at in 0..text.len() {
            assert_eq!(read(&[&text[..at], &text[at..]]), (true, id.clone()), "{at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&bytes), (true, id.clone()));
        assert_eq!(read(&[b"Message-ID: <one@a.test>\r\n"]), (false, id));
        assert_eq!(read(&[b"Subject: s\r\n\r\nMessage-ID: <two@a.test>\r\n"]), (true, None));
        assert_eq!(read(&[]), (false, None));
    }

    #[test]
    fn a_long_header_is_looked_at_up_to_its_bound() {
        let id = b"Message-ID: <one@a.test>\r\n";
        for (before, found) in [(HEAD_BYTES_MAX - id.len(), true), (HEAD_BYTES_MAX, false)] {
            let filler = [b"X: ".as_slice(), &vec![b'x'; before - 5], b"\r\n"].concat();
            assert_eq!(filler.len(), before);
            let (closed, message_id) = read(&[&filler, id, b"\r\n"]);
            assert!(closed);
            assert_eq!(message_id.is_some(), found, "{before}");
        }
    }
}
