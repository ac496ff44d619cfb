//! What a session does with each mail, for the log of mails.

use std::net::IpAddr;

use super::checked::Judged;
use super::listed::Opening;
use super::machine::{Answer, Verdict};
use super::received::Stamp;
use super::reply::{self, Reply};
use crate::cluster::replica::Fault;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::delivery_status;
use crate::mail::ids::{LogIndex, QueueId, Timestamp};
use crate::mail::message_id;
use crate::maillog::{
    Check, Client, DISCARDED, Heard, JUNK, MailLog, Received, Recipient, Refused, TAKEN, What,
};
use crate::policy;

/// Octets of a notice in which its delivery status, and the header of the mail that it is about, are looked for.
const NOTICE_BYTES_MAX: usize = 128 * 1024;
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
    /// The beginning of what may be a notice: it has no sender.
    notice: Option<Vec<u8>>,
    judged: Option<Found>,
    queued: Option<u64>,
    entry: Option<u64>,
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
        let notice = (*from == ReversePath::Null).then(Vec::new);
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
                    notice,
                    judged: None,
                    queued: None,
                    entry: None,
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
            mail.notice.iter_mut().for_each(Vec::clear);
        }
    }

    pub fn read(&mut self, text: &[u8]) {
        if let Some(mail) = &mut self.mail {
            mail.head.read(text);
            mail.bytes += text.len() as u64;
            if let Some(notice) = &mut mail.notice {
                let room = NOTICE_BYTES_MAX - notice.len();
                notice.extend_from_slice(&text[..text.len().min(room)]);
            }
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

    /// The last of them is what 250 waited for.
    pub fn kept(&mut self, entry: Option<LogIndex>) {
        if let Some(mail) = &mut self.mail {
            mail.entry = entry.map(|entry| entry.0).or(mail.entry);
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
        let OfMail { client, sender, mut recipients, id, head, bytes, notice, judged, queued, entry } = *mail;
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
        // What is thrown away, or junk, is not believed of other mail either.
        let notice = notice.filter(|_| outcome == TAKEN).and_then(|text| delivery_status::read(&text));
        let heard = notice.map(|status| Heard::new(id.clone(), client.clone(), status));
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
            entry,
            bytes,
        };
        self.log.note(at, What::Received(received));
        heard.into_iter().for_each(|heard| self.log.note(at, What::Heard(heard)));
    }
}

impl Head {
    fn read(&mut self, text: &[u8]) {
        let Self::Open(head) = self else { return };
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(&text[..text.len().min(HEAD_BYTES_MAX - head.len())]);
        let ended = head[seen..].windows(4).any(|window| window == b"\r\n\r\n");
        if ended || head.len() == HEAD_BYTES_MAX {
            *self = Self::Read(message_id::named(head));
        }
    }

    fn message_id(self) -> Option<String> {
        match self {
            Self::Open(head) => message_id::named(&head),
            Self::Read(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::AccountId;
    use crate::maillog::{Bounds, Query};
    use crate::state::routing::LocalTarget;

    const NOTICE: &str = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
        Final-Recipient: rfc822; bob@b.test\r\nAction: failed\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n\
        Message-ID: <one@a.test>\r\n";

    /// How many notices of a mail are told of, where this one is taken or not.
    async fn heard(sender: &str, parts: &[&str], answer: Answer) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let bounds = || Bounds { bytes_max: 1 << 20, days_max: 1 };
        let log = MailLog::open(folder.path().to_owned(), "node1", bounds);
        let mut noted = Noted::new(log.clone(), None);
        let (from, _) = ReversePath::parse(sender, false).unwrap();
        noted.opened((&from, None, "mx.b.test"), &Ok(Opening::Stranger), Timestamp(1));
        let target = LocalTarget { account: AccountId(1), detail: None };
        noted.recipient(&ForwardPath::Postmaster, &Ok(Verdict::Accept(vec![target])), Timestamp(1));
        // A text that broke off, and the client began anew.
        for text in [&["x: y\r\n"][..], parts] {
            noted.begun(&Stamp { at: Timestamp(1), id: "5F".to_owned() });
            text.iter().for_each(|part| noted.read(part.as_bytes()));
        }
        noted.ended(&answer, Timestamp(1));
        let query = Query { about: Some("one@a.test".to_owned()), ..Query::default() };
        log.find(query).await.unwrap().events.len()
    }

    #[tokio::test]
    async fn what_a_notice_tells_is_told_of_where_it_is_taken() {
        let taken = || Answer::Delivered(Ok(vec![Ok(())]));
        let (begin, end) = NOTICE.split_at(100);
        assert_eq!(heard("<>", &[begin, end], taken()).await, 1);
        assert_eq!(heard("<joe@b.test>", &[NOTICE], taken()).await, 0, "it is by a sender");
        assert_eq!(heard("<>", &[end], taken()).await, 0, "it is none");
        let refusal = policy::Refusal { code: 550, enhanced: "5.7.1", text: "no".to_owned() };
        for answer in [Answer::Refused(refusal), Answer::Delivered(Ok(vec![Err(reply::UNAVAILABLE)]))] {
            assert_eq!(heard("<>", &[NOTICE], answer).await, 0, "it was not taken");
        }
    }

    #[tokio::test]
    async fn a_long_notice_is_looked_at_up_to_its_bound() {
        for (before, found) in [(NOTICE_BYTES_MAX - NOTICE.len(), 1), (NOTICE_BYTES_MAX, 0)] {
            let filler = format!("X: {}\r\n", "x".repeat(before - 5));
            let taken = Answer::Delivered(Ok(vec![Ok(())]));
            assert_eq!(heard("<>", &[&filler, NOTICE], taken).await, found, "{before}");
        }
    }

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
