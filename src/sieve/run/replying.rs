//! Whether a mail may be answered at all (RFC 5230 4.5 and 4.6, RFC 3834 2), and by what.

use super::Run;
use crate::mail::address::Address;
use crate::sieve::encode::one_line;
use crate::sieve::error::quoted;
use crate::sieve::program::Reply;
use crate::sieve::vacation::{self, Answers, Mailbox, SUBJECT_CHARS_MAX, Vacation};
use crate::sieve::work::Fault;

/// Where a mail says for whom it is (RFC 5230 4.5).
const RECIPIENT_FIELDS: [&str; 6] = ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"];
/// Local parts behind which nobody is away (RFC 5230 4.6), in lower case.
const ROBOTS: [&str; 3] = ["mailer-daemon", "listserv", "majordomo"];
/// Work for each octet of an address that is brought into the form that compares.
const STEPS_PER_OCTET: usize = 16;

impl Run<'_> {
    /// `None` where the mail must not be answered.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<Option<Vacation>, Fault> {
        let reason = self.expand(&reply.reason)?;
        let subject = reply.subject.as_ref().map(|subject| self.expand(subject)).transpose()?;
        let from = reply.from.as_ref().map(|from| self.expand(from)).transpose()?;
        let handle = reply.handle.as_ref().map(|handle| self.expand(handle)).transpose()?;
        let own = self.own_addresses(reply)?;
        let given = from.as_deref().map(|text| {
            vacation::mailbox(text).ok_or_else(|| Fault::new(format!("{} is not one address", quoted(text))))
        });
        let given = given.transpose()?;

        let Some(to) = self.mail.sender.and_then(|sender| Address::parse(sender).ok()) else {
            return Ok(None);
        };
        if is_robot(&to) || own.contains(&to.canonical()) || self.is_automatic()? || !self.is_for(&own)? {
            return Ok(None);
        }
        // RFC 5230 4.3: one that is not the user's own is not used.
        let from = given.filter(|from| self.is_own(&from.address)).or_else(|| self.usual_from());
        let Some(from) = from else { return Ok(None) };
        let key = Key { subject: &subject, from: &from, mime: reply.mime, reason: &reason };
        Ok(Some(Vacation {
            to,
            handle: digest(handle.as_deref(), &key),
            subject: self.subject(subject)?,
            from,
            reason,
            mime: reply.mime,
            seconds: reply.seconds,
            answers: Answers::to(self.message.header()),
        }))
    }

    /// In the form that compares: those of the user, and those that the script adds.
    fn own_addresses(&mut self, reply: &Reply) -> Result<Vec<String>, Fault> {
        let mut texts = self.expand_all(&reply.addresses)?;
        texts.extend(self.mail.own.iter().cloned());
        texts.push(self.mail.recipient.to_owned());
        self.work.spend(texts.iter().map(|text| text.len() * STEPS_PER_OCTET).sum())?;
        let mut own: Vec<String> =
            texts.iter().filter_map(|text| Address::parse(text).ok()).map(|own| own.canonical()).collect();
        own.sort_unstable();
        own.dedup();
        Ok(own)
    }

    fn is_own(&self, address: &Address) -> bool {
        let wanted = address.canonical();
        let own = self.mail.own.iter().map(String::as_str).chain([self.mail.recipient]);
        own.filter_map(|text| Address::parse(text).ok()).any(|own| own.canonical() == wanted)
    }

    fn usual_from(&self) -> Option<Mailbox> {
        let own = [self.mail.recipient].into_iter().chain(self.mail.own.iter().map(String::as_str));
        let address = own.filter_map(|text| Address::parse(text).ok()).next()?;
        Some(Mailbox { name: None, address })
    }

    /// True for what a program or a list has sent.
    fn is_automatic(&mut self) -> Result<bool, Fault> {
        if self.message.has_starting("List-") {
            return Ok(true);
        }
        for value in self.message.values("Auto-Submitted", None, &mut self.work)? {
            if !first_token(value).eq_ignore_ascii_case(b"no") {
                return Ok(true);
            }
        }
        let bulk = |value: &&[u8]| {
            [&b"bulk"[..], b"list", b"junk"]
                .iter()
                .any(|known| first_token(value).eq_ignore_ascii_case(known))
        };
        Ok(self.message.values("Precedence", None, &mut self.work)?.iter().any(bulk))
    }

    fn is_for(&mut self, own: &[String]) -> Result<bool, Fault> {
        for field in RECIPIENT_FIELDS {
            for mailbox in self.message.mailboxes(field, None, &mut self.work)? {
                let Some(address) = vacation::parsed(&mailbox) else { continue };
                let canonical = address.canonical();
                self.work.spend(canonical.len() * STEPS_PER_OCTET)?;
                if own.binary_search(&canonical).is_ok() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// RFC 5230 4.3: what the script gives, or that of the mail.
    fn subject(&mut self, given: Option<String>) -> Result<String, Fault> {
        let subject = match given {
            Some(given) => given,
            None => match self.message.decoded("Subject", None, &mut self.work)?.first() {
                Some(subject) if !subject.is_empty() => format!("Auto: {subject}"),
                _ => "Automated reply".to_owned(),
            },
        };
        Ok(one_line(&subject).chars().take(SUBJECT_CHARS_MAX).collect())
    }
}

fn is_robot(address: &Address) -> bool {
    let local = address.local().to_ascii_lowercase();
    ROBOTS.contains(&local.as_str()) || local.starts_with("owner-") || local.ends_with("-request")
}

/// Up to a blank, a comment or a parameter.
fn first_token(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii_start();
    let end = value.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b'('));
    &value[..end.unwrap_or(value.len())]
}

/// What makes replies alike where the script does not say (RFC 5230 4.2).
struct Key<'a> {
    subject: &'a Option<String>,
    from: &'a Mailbox,
    mime: bool,
    reason: &'a str,
}

fn digest(handle: Option<&str>, key: &Key) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    match handle {
        Some(handle) => {
            part("handle");
            part(handle);
        }
        None => {
            part(if key.mime { "mime" } else { "text" });
            part(if key.subject.is_some() { "subject" } else { "" });
            part(key.subject.as_deref().unwrap_or_default());
            part(&key.from.to_string());
            part(key.reason);
        }
    }
    *hasher.finalize().as_bytes()
}
