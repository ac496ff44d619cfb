//! Notices to the sender (RFC 3461 6, RFC 3464, RFC 6533): what failed for good, what takes long. Pure text.

use std::fmt::Write;

use bytes::Bytes;

use super::reply::{Class, Reply};
use super::text::with_crlf;
use crate::mail::date::rfc5322_date;
use crate::mail::dsn::{Ret, decode_xtext};
use crate::mail::header;
use crate::mail::ids::Timestamp;
use crate::state::stored::{QueuedRow, RecipientRow};

/// A message comes back whole up to this, where its sender asked for it (RFC 3461 4.3); octets.
pub const RETURNED_BYTES_MAX: usize = 1024 * 1024;
/// The same where the sender said nothing; beyond, its header alone.
pub const RETURNED_UNASKED_BYTES_MAX: usize = 50 * 1024;
/// Octets of a header that come back.
const HEADER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    /// It is tried until then.
    Delayed {
        until: Timestamp,
    },
}

/// The mail that a notice is about, and whose notice it is.
pub struct About<'a> {
    pub mail: &'a QueuedRow,
    pub text: &'a Bytes,
    pub own_name: &'a str,
    pub now: Timestamp,
    /// Rolled; in the message id and the boundary.
    pub dice: u64,
    /// The server that answered, if one did.
    pub remote: Option<&'a str>,
}

/// The whole message, its lines ended by CRLF.
pub fn notice(kind: Kind, about: &About<'_>, of: &[(RecipientRow, Reply)]) -> Bytes {
    let mut text = String::new();
    let boundary = format!("=_{:016x}.{}", about.dice, about.own_name);
    head(&mut text, kind, about, &boundary);
    part(&mut text, &boundary, "text/plain; charset=utf-8", "Notification");
    explanation(&mut text, kind, about, of);
    let global = about.mail.smtputf8;
    let report = if global { "message/global-delivery-status" } else { "message/delivery-status" };
    part(&mut text, &boundary, report, "Delivery report");
    status(&mut text, kind, about, of);
    let original = with_crlf(about.text.clone());
    let whole = kind == Kind::Failed && comes_back_whole(about.mail.ret, original.len());
    let (kind_of_original, name) = match (whole, global) {
        (true, false) => ("message/rfc822", "Undelivered message"),
        (true, true) => ("message/global", "Undelivered message"),
        (false, false) => ("text/rfc822-headers", "Header of the message"),
        (false, true) => ("message/global-headers", "Header of the message"),
    };
    part(&mut text, &boundary, kind_of_original, name);
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(if whole { &original } else { header_of(&original) });
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    bytes.into()
}

fn comes_back_whole(ret: Option<Ret>, bytes: usize) -> bool {
    match ret {
        Some(Ret::Headers) => false,
        Some(Ret::Full) => bytes <= RETURNED_BYTES_MAX,
        None => bytes <= RETURNED_UNASKED_BYTES_MAX,
    }
}

fn header_of(text: &[u8]) -> &[u8] {
    let mut end = 0;
    for field in header::fields(text) {
        if end + field.raw.len() > HEADER_BYTES_MAX {
            break;
        }
        end += field.raw.len();
    }
    &text[..end]
}

fn head(text: &mut String, kind: Kind, about: &About<'_>, boundary: &str) {
    let subject = match kind {
        Kind::Failed => "Undelivered mail returned to sender",
        Kind::Delayed { .. } => "Your mail is delayed",
    };
    let own = about.own_name;
    line(text, "Return-Path: <>");
    line(text, &format!("Date: {}", rfc5322_date(about.now)));
    line(text, &format!("From: Mail Delivery System <MAILER-DAEMON@{own}>"));
    line(text, &format!("To: <{}>", about.mail.sender));
    line(text, &format!("Subject: {subject}"));
    line(text, &format!("Message-ID: <{:016x}.{}@{own}>", about.dice, about.now));
    // RFC 3834 5: no vacation notice answers it.
    line(text, "Auto-Submitted: auto-replied");
    line(text, "MIME-Version: 1.0");
    line(text, "Content-Type: multipart/report; report-type=delivery-status;");
    line(text, &format!("\tboundary=\"{boundary}\""));
    line(text, "");
    line(text, "This is a MIME message.");
}

fn part(text: &mut String, boundary: &str, kind: &str, description: &str) {
    line(text, "");
    line(text, &format!("--{boundary}"));
    line(text, &format!("Content-Type: {kind}"));
    line(text, &format!("Content-Description: {description}"));
    line(text, "Content-Transfer-Encoding: 8bit");
    line(text, "");
}

fn explanation(text: &mut String, kind: Kind, about: &About<'_>, of: &[(RecipientRow, Reply)]) {
    line(text, &format!("This is the mail system at {}.", about.own_name));
    line(text, "");
    match kind {
        Kind::Failed => {
            line(text, "Your message could not be delivered to the recipients below, and will not be tried");
            line(text, "again. It, or its header, is attached.");
        }
        Kind::Delayed { until } => {
            line(
                text,
                "Your message could not be delivered yet to the recipients below. You need not send it",
            );
            line(text, &format!("again: it will be tried until {}.", rfc5322_date(until)));
        }
    }
    for (recipient, reply) in of {
        line(text, "");
        line(text, &format!("<{}>", recipient.address));
        let of_whom = about.remote.map_or(String::new(), |host| format!("{host} says: "));
        line(text, &format!("    {of_whom}{reply}"));
    }
}

/// RFC 3464 2.2 and 2.3.
fn status(text: &mut String, kind: Kind, about: &About<'_>, of: &[(RecipientRow, Reply)]) {
    let global = about.mail.smtputf8;
    line(text, &format!("Reporting-MTA: dns; {}", about.own_name));
    if let Some(envid) = about.mail.envid.as_deref().and_then(decode_xtext) {
        line(text, &format!("Original-Envelope-Id: {}", plain(&String::from_utf8_lossy(&envid), false)));
    }
    line(text, &format!("Arrival-Date: {}", rfc5322_date(about.mail.queued_at)));
    for (recipient, reply) in of {
        line(text, "");
        if let Some(original) = recipient.orcpt.as_deref().and_then(original_recipient) {
            line(text, &format!("Original-Recipient: {}", plain(&original, global)));
        }
        let kind_of_address = if recipient.address.is_ascii() { "rfc822" } else { "utf-8" };
        line(text, &format!("Final-Recipient: {kind_of_address}; {}", plain(&recipient.address, global)));
        let action = if kind == Kind::Failed { "failed" } else { "delayed" };
        line(text, &format!("Action: {action}"));
        // RFC 3463 3.5: what was tried for its whole life is given up for that.
        let over_age = kind == Kind::Failed && reply.class() == Class::Temporary;
        line(text, &format!("Status: {}", if over_age { "5.4.7".to_owned() } else { reply.status() }));
        if let Some(remote) = about.remote {
            line(text, &format!("Remote-MTA: dns; {}", plain(remote, global)));
        }
        let whose = if about.remote.is_some() { "smtp" } else { "X-Pollux" };
        line(text, &format!("Diagnostic-Code: {whose}; {}", plain(&reply.to_string(), global)));
        line(text, &format!("Last-Attempt-Date: {}", rfc5322_date(about.now)));
        if let Kind::Delayed { until } = kind {
            line(text, &format!("Will-Retry-Until: {}", rfc5322_date(until)));
        }
    }
}

/// `rfc822;a+2Bb@x.test` -> `rfc822; a+b@x.test`. RFC 6533 3: `utf-8` has an encoding of its own, and keeps it.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    let decoded = match kind.eq_ignore_ascii_case("utf-8") {
        true => address.to_owned(),
        false => String::from_utf8_lossy(&decode_xtext(address)?).into_owned(),
    };
    Some(format!("{kind}; {decoded}"))
}

/// A field on one line; beyond ASCII only where the kind of notice allows it.
fn plain(text: &str, global: bool) -> String {
    let keep = |c: char| if c.is_control() || (!c.is_ascii() && !global) { '?' } else { c };
    text.chars().map(keep).collect()
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{line}\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::schedule::tests::parcel;
    use super::*;

    const ORIGINAL: &str = "Subject: hello\r\nTo: x\r\n\r\nthe text\r\n";

    fn made(kind: Kind, change: impl Fn(&mut QueuedRow, &mut RecipientRow), reply: Reply) -> String {
        let mut parcel = parcel("alice@example.test", &[("bob@x.test", None)]);
        let mut recipient = parcel.recipients.remove(0).1;
        change(&mut parcel.mail, &mut recipient);
        let text = Bytes::from_static(ORIGINAL.as_bytes());
        let about = About {
            mail: &parcel.mail,
            text: &text,
            own_name: "mx.example.test",
            now: Timestamp(1_700_000_000_000),
            dice: 7,
            remote: Some("mx.x.test"),
        };
        String::from_utf8(notice(kind, &about, &[(recipient, reply)]).to_vec()).unwrap()
    }

    fn no() -> Reply {
        Reply::of_ours(550, (5, 1, 1), "no such user")
    }

    #[test]
    fn a_failure_is_a_report_that_programs_read() {
        let asked = |mail: &mut QueuedRow, to: &mut RecipientRow| {
            (mail.envid, to.orcpt) = (Some("QQ+2B1".into()), Some("rfc822;b+2Bob@x.test".into()));
        };
        let text = made(Kind::Failed, asked, no());
        assert!(text.starts_with("Return-Path: <>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
        for line in [
            "To: <alice@example.test>",
            "Auto-Submitted: auto-replied",
            "Reporting-MTA: dns; mx.example.test",
            "Original-Envelope-Id: QQ+1",
            "Original-Recipient: rfc822; b+ob@x.test",
            "Final-Recipient: rfc822; bob@x.test",
            "Action: failed",
            "Status: 5.1.1",
            "Remote-MTA: dns; mx.x.test",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user",
            "the text",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
        }
        let message = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
        let kinds: Vec<_> = message
            .parts
            .iter()
            .filter_map(|part| mail_parser::MimeHeaders::content_type(part))
            .map(|kind| format!("{}/{}", kind.c_type, kind.c_subtype.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(kinds, ["multipart/report", "text/plain", "message/delivery-status", "message/rfc822"]);
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a bare line end");
    }

    #[test]
    fn what_comes_back_is_what_was_asked_for() {
        let headers = |mail: &mut QueuedRow, _: &mut RecipientRow| mail.ret = Some(Ret::Headers);
        let text = made(Kind::Failed, headers, no());
        assert!(
            text.contains("text/rfc822-headers")
                && !text.contains("the text")
                && text.contains("Subject: hello")
        );
        assert!(
            comes_back_whole(None, RETURNED_UNASKED_BYTES_MAX)
                && !comes_back_whole(None, RETURNED_UNASKED_BYTES_MAX + 1)
        );
        let full = Some(Ret::Full);
        assert!(
            comes_back_whole(full, RETURNED_BYTES_MAX) && !comes_back_whole(full, RETURNED_BYTES_MAX + 1)
        );
        assert!(!comes_back_whole(Some(Ret::Headers), 1));
        let long = format!("A: b\r\n{}", "B: c\r\n".repeat(HEADER_BYTES_MAX / 6));
        assert_eq!(header_of(long.as_bytes()).len(), HEADER_BYTES_MAX / 6 * 6);
    }

    #[test]
    fn a_delay_says_until_when_it_is_tried() {
        let later = Reply::of_ours(450, (4, 2, 0), "later \u{fc}");
        let text = made(Kind::Delayed { until: Timestamp(1_700_000_060_000) }, |_, _| {}, later.clone());
        for line in ["Action: delayed", "Status: 4.2.0", "Will-Retry-Until: Tue, 14 Nov 2023 22:14:20 +0000"]
        {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
        }
        assert!(!text.contains("the text"));
        assert!(text.contains("Diagnostic-Code: smtp; 450 4.2.0 later ?\r\n"), "{text}");
        assert!(made(Kind::Failed, |_, _| {}, later).contains("\r\nStatus: 5.4.7\r\n"), "its life is over");
    }

    #[test]
    fn a_notice_of_international_mail_is_one_itself() {
        let global = |mail: &mut QueuedRow, to: &mut RecipientRow| {
            (mail.smtputf8, to.address) = (true, "d\u{fc}rst@x.test".into());
            to.orcpt = Some("utf-8;d\\x{FC}rst@x.test".into());
        };
        let text = made(Kind::Failed, global, no());
        for part in [
            "message/global-delivery-status",
            "Content-Type: message/global\r\n",
            "Final-Recipient: utf-8; d\u{fc}rst@x.test\r\n",
            "Original-Recipient: utf-8; d\\x{FC}rst@x.test\r\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
