//! Notices to the sender (RFC 3461 6, RFC 3464, RFC 6533): what failed for good, what takes long, what arrived. Pure text.

use std::fmt::Write;

use bytes::Bytes;

use super::date::rfc5322_date;
use super::dsn::{Ret, decode_xtext};
use super::header;
use super::ids::Timestamp;
use super::leaving::with_crlf;

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
    /// In the mailbox.
    Delivered,
    /// With a server that tells nobody of success.
    Relayed,
    /// With several, whose ends are not told of (RFC 3461 5.2.7.3).
    Expanded,
}

impl Kind {
    /// RFC 3464 2.3.3.
    fn action(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Delayed { .. } => "delayed",
            Kind::Delivered => "delivered",
            Kind::Relayed => "relayed",
            Kind::Expanded => "expanded",
        }
    }
}

/// The mail that a notice is about, and whose notice it is.
pub struct About<'a> {
    pub sender: &'a str,
    /// As xtext.
    pub envid: Option<&'a str>,
    pub ret: Option<Ret>,
    /// The mail is one of RFC 6531, and so may its notice be.
    pub smtputf8: bool,
    pub arrived: Timestamp,
    pub text: &'a Bytes,
    pub own_name: &'a str,
    pub now: Timestamp,
    /// Rolled; in the message id and the boundary.
    pub dice: u64,
    /// The server that answered, if one did.
    pub remote: Option<&'a str>,
}

/// A recipient that is told of.
pub struct Recipient<'a> {
    pub address: &'a str,
    /// `type;xtext`.
    pub orcpt: Option<&'a str>,
    /// RFC 3463.
    pub status: String,
    /// The reply that was the last word of it.
    pub said: Option<String>,
}

/// The whole message, its lines ended by CRLF.
pub fn notice(kind: Kind, about: &About<'_>, of: &[Recipient<'_>]) -> Bytes {
    let mut text = String::new();
    let boundary = format!("=_{:016x}.{}", about.dice, about.own_name);
    head(&mut text, kind, about, &boundary);
    part(&mut text, &boundary, "text/plain; charset=utf-8", "Notification");
    explanation(&mut text, kind, about, of);
    let global = about.smtputf8;
    let report = if global { "message/global-delivery-status" } else { "message/delivery-status" };
    part(&mut text, &boundary, report, "Delivery report");
    status(&mut text, kind, about, of);
    let original = with_crlf(about.text.clone());
    let whole = kind == Kind::Failed && comes_back_whole(about.ret, original.len());
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
        Kind::Delivered => "Your mail was delivered",
        Kind::Relayed => "Your mail was handed on",
        Kind::Expanded => "Your mail was handed to several recipients",
    };
    let own = about.own_name;
    line(text, "Return-Path: <>");
    line(text, &format!("Date: {}", rfc5322_date(about.now)));
    line(text, &format!("From: Mail Delivery System <MAILER-DAEMON@{own}>"));
    line(text, &format!("To: <{}>", about.sender));
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

fn explanation(text: &mut String, kind: Kind, about: &About<'_>, of: &[Recipient<'_>]) {
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
        Kind::Delivered => line(text, "Your message was delivered to the recipients below."),
        Kind::Relayed => {
            line(
                text,
                "Your message was handed on to the servers of the recipients below. You may hear no more",
            );
            line(text, "of it: they do not tell when a message is delivered.");
        }
        Kind::Expanded => {
            line(text, "Your message was delivered to the addresses below, each of which stands for several");
            line(text, "recipients. You will not hear when these have it.");
        }
    }
    for recipient in of {
        line(text, "");
        line(text, &format!("<{}>", recipient.address));
        if let Some(said) = &recipient.said {
            let of_whom = about.remote.map_or(String::new(), |host| format!("{host} says: "));
            line(text, &format!("    {of_whom}{said}"));
        }
    }
}

/// RFC 3464 2.2 and 2.3.
fn status(text: &mut String, kind: Kind, about: &About<'_>, of: &[Recipient<'_>]) {
    let global = about.smtputf8;
    line(text, &format!("Reporting-MTA: dns; {}", about.own_name));
    if let Some(envid) = about.envid.and_then(decode_xtext) {
        line(text, &format!("Original-Envelope-Id: {}", plain(&String::from_utf8_lossy(&envid), false)));
    }
    line(text, &format!("Arrival-Date: {}", rfc5322_date(about.arrived)));
    for recipient in of {
        line(text, "");
        if let Some(original) = recipient.orcpt.and_then(original_recipient) {
            line(text, &format!("Original-Recipient: {}", plain(&original, global)));
        }
        let kind_of_address = if recipient.address.is_ascii() { "rfc822" } else { "utf-8" };
        line(text, &format!("Final-Recipient: {kind_of_address}; {}", plain(recipient.address, global)));
        line(text, &format!("Action: {}", kind.action()));
        line(text, &format!("Status: {}", recipient.status));
        if let Some(remote) = about.remote {
            line(text, &format!("Remote-MTA: dns; {}", plain(remote, global)));
        }
        if let Some(said) = &recipient.said {
            let whose = if about.remote.is_some() { "smtp" } else { "X-Pollux" };
            line(text, &format!("Diagnostic-Code: {whose}; {}", plain(said, global)));
        }
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
    use super::*;

    const ORIGINAL: &str = "Subject: hello\r\nTo: x\r\n\r\nthe text\r\n";
    const NO: &str = "550 5.1.1 no such user";

    fn about(text: &Bytes) -> About<'_> {
        About {
            sender: "alice@example.test",
            envid: None,
            ret: None,
            smtputf8: false,
            arrived: Timestamp(1_000),
            text,
            own_name: "mx.example.test",
            now: Timestamp(1_700_000_000_000),
            dice: 7,
            remote: Some("mx.x.test"),
        }
    }

    fn made(
        kind: Kind,
        (status, said): (&str, Option<&str>),
        change: impl Fn(&mut About<'_>, &mut Recipient<'_>),
    ) -> String {
        let text = Bytes::from_static(ORIGINAL.as_bytes());
        let (status, said) = (status.to_owned(), said.map(str::to_owned));
        let mut recipient = Recipient { address: "bob@x.test", orcpt: None, status, said };
        let mut about = about(&text);
        change(&mut about, &mut recipient);
        String::from_utf8(notice(kind, &about, &[recipient]).to_vec()).unwrap()
    }

    #[test]
    fn a_failure_is_a_report_that_programs_read() {
        let text = made(Kind::Failed, ("5.1.1", Some(NO)), |mail, to| {
            (mail.envid, to.orcpt) = (Some("QQ+2B1"), Some("rfc822;b+2Bob@x.test"));
        });
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
        let text = made(Kind::Failed, ("5.1.1", Some(NO)), |mail, _| mail.ret = Some(Ret::Headers));
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
        let until = Timestamp(1_700_000_060_000);
        let text = made(Kind::Delayed { until }, ("4.2.0", Some("450 4.2.0 later \u{fc}")), |_, _| {});
        for line in ["Action: delayed", "Status: 4.2.0", "Will-Retry-Until: Tue, 14 Nov 2023 22:14:20 +0000"]
        {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
        }
        assert!(!text.contains("the text"));
        assert!(text.contains("Diagnostic-Code: smtp; 450 4.2.0 later ?\r\n"), "{text}");
    }

    /// RFC 3461 4.3: RET is about failures; of what arrived nothing but the header comes back.
    #[test]
    fn success_is_told_without_the_text() {
        for (kind, action) in
            [(Kind::Delivered, "delivered"), (Kind::Relayed, "relayed"), (Kind::Expanded, "expanded")]
        {
            let text = made(kind, ("2.0.0", None), |mail, to| {
                (mail.ret, mail.remote) = (Some(Ret::Full), None);
                to.orcpt = Some("rfc822;team@x.test");
            });
            for line in
                [&format!("Action: {action}"), "Status: 2.0.0", "Original-Recipient: rfc822; team@x.test"]
            {
                assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
            }
            for absent in ["the text", "Diagnostic-Code", "Remote-MTA", "Will-Retry"] {
                assert!(!text.contains(absent), "{absent}: {text}");
            }
            assert!(
                text.contains("text/rfc822-headers") && text.contains("\r\nSubject: hello\r\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_notice_of_international_mail_is_one_itself() {
        let text = made(Kind::Failed, ("5.1.1", Some(NO)), |mail, to| {
            (mail.smtputf8, to.address) = (true, "d\u{fc}rst@x.test");
            to.orcpt = Some("utf-8;d\\x{FC}rst@x.test");
        });
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
