//! Notices as RFC 3464 has them, as we write them, as others do, and as nobody should.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use mail_parser::{MessageParser, MessagePart, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::mail::dsn::Ret;
use crate::mail::ids::Timestamp;
use crate::mail::notice::{self, About, Kind, notice};

const RETURNED: &str = "Content-Type: message/rfc822\n\nMessage-ID: <one@a.test>\nSubject: x\n\nHi.\n";

/// A notice of these parts, each with its header.
fn report(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\n{part}\n")).collect();
    let head =
        "From: MAILER-DAEMON@b.test\nContent-Type: multipart/report; report-type=delivery-status; boundary=b";
    format!("{head}\n\nA notice.\n{parts}--b--\n")
}

fn told_by(status: &str) -> Option<DeliveryStatus> {
    read(report(&[&format!("Content-Type: message/delivery-status\n\n{status}"), RETURNED]).as_bytes())
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_fields_of_each_recipient_are_read_and_whose_mail_it_was() {
    let status = "Reporting-MTA: dns; mx.b.test\nArrival-Date: Thu, 26 Nov 2026 05:00:00 +0000\n\n\
        Original-Recipient: rfc822; Bob@a.test\nFinal-Recipient: RFC822;<bob@b.test>\nAction: Failed (for good)\n\
        Status: 5.1.1 (no mailbox)\nRemote-MTA: dns; in.b.test\nDiagnostic-Code: smtp; 550-5.1.1 no\n 550 5.1.1 such; user\n\n\n\
        Final-Recipient: rfc822; eve@b.test\nAction: delayed\nStatus: 4.4.1\n";
    for status in [status.to_owned(), status.replace('\n', "\r\n")] {
        let found = told_by(&status).unwrap();
        assert_eq!((found.reporting_mta, found.message_id), (text("mx.b.test"), text("one@a.test")));
        let bob = Recipient {
            final_recipient: text("bob@b.test"),
            original_recipient: text("Bob@a.test"),
            action: Some(Action::Failed),
            status: Some(Status(5, 1, 1)),
            diagnostic: text("550-5.1.1 no 550 5.1.1 such; user"),
            remote_mta: text("in.b.test"),
        };
        let eve = Recipient {
            final_recipient: text("eve@b.test"),
            action: Some(Action::Delayed),
            status: Some(Status(4, 4, 1)),
            ..Recipient::default()
        };
        assert_eq!(found.recipients, [bob, eve]);
    }
}

#[test]
fn what_is_badly_written_is_read_as_far_as_it_goes() {
    let one = |status: &str| told_by(status).map(|found| found.recipients);
    let named = |name: &str| Recipient { final_recipient: text(name), ..Recipient::default() };
    // No blank line behind the fields of the whole mail, nor between two recipients.
    let run_together =
        "Reporting-MTA: dns; b.test\nFinal-Recipient: rfc822; a@b.test\nFinal-Recipient: c@b.test\n";
    assert_eq!(one(run_together), Some(vec![named("a@b.test"), named("c@b.test")]));
    // A blank line with blanks in it is none.
    assert_eq!(one("Final-Recipient: a@b.test\n \nFinal-Recipient: c@b.test").map(|it| it.len()), Some(2));
    for (field, expected) in [
        ("Action: failure", named("a@b.test")),
        ("Action: expanded", Recipient { action: Some(Action::Expanded), ..named("a@b.test") }),
        ("Status: 5.7.509", Recipient { status: Some(Status(5, 7, 509)), ..named("a@b.test") }),
        ("Status: 5.1", named("a@b.test")),
        ("Status: 5.1.1.1", named("a@b.test")),
        ("Status: 5.1.1000", named("a@b.test")),
        ("Status: 3.1.1", named("a@b.test")),
        ("Status: five", named("a@b.test")),
        ("Status:", named("a@b.test")),
        (
            "Diagnostic-Code: 550 no; really",
            Recipient { diagnostic: text("550 no; really"), ..named("a@b.test") },
        ),
        ("Diagnostic-Code: x-unix;", named("a@b.test")),
        ("Remote-MTA: \u{fc}", Recipient { remote_mta: text("\u{fc}"), ..named("a@b.test") }),
        ("Remote-MTA: dns; a\tb\u{7}c", Recipient { remote_mta: text("a b c"), ..named("a@b.test") }),
    ] {
        assert_eq!(
            one(&format!("Final-Recipient: rfc822; a@b.test\n{field}\n")),
            Some(vec![expected]),
            "{field}"
        );
    }
    for nobody in
        ["", "Reporting-MTA: dns; b.test\n", "Action: failed\nStatus: 5.0.0\n", "Final-Recipient: rfc822;"]
    {
        assert_eq!(one(nobody), None, "{nobody}");
    }
}

#[test]
fn only_what_the_notice_itself_says_counts() {
    let status = "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.test\n";
    let whole = report(&[status, RETURNED]);
    // A notice that came to somebody else, and was sent on.
    for kind in ["message/rfc822", "text/plain", "multipart/mixed"] {
        assert_eq!(read(format!("Content-Type: {kind}\n\n{whole}").as_bytes()), None, "{kind}");
    }
    assert_eq!(read(report(&[RETURNED]).as_bytes()), None);
    let id = |parts: &[&str]| read(report(parts).as_bytes()).unwrap().message_id;
    for kind in ["text/rfc822-headers", "message/global", "message/global-headers", "message/rfc822-headers"]
    {
        let returned = RETURNED.replace("message/rfc822", kind);
        assert_eq!(id(&[status, &returned]), text("one@a.test"), "{kind}");
        assert_eq!(id(&[&returned, status]), text("one@a.test"), "{kind}");
    }
    assert_eq!(id(&[status]), None);
    assert_eq!(id(&[status, &RETURNED.replace("message/rfc822", "text/plain")]), None);
    assert_eq!(id(&[status, &RETURNED.replace("<one@a.test>", "none")]), None);
    let encoded = "Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\nRmluYWwtUmVjaXBpZW50OiBhQGIudGVzdAo=\n";
    assert_eq!(read(report(&[encoded]).as_bytes()).unwrap().recipients[0].final_recipient, text("a@b.test"));
    // It breaks off, as the beginning of a long one does.
    let cut = whole.find("Subject: x").unwrap();
    assert_eq!(read(&whole.as_bytes()[..cut]).unwrap().message_id, text("one@a.test"));
}

#[test]
fn no_more_is_kept_than_the_bounds_say() {
    let many = |count: usize| {
        let all: String = (0..count).map(|at| format!("Final-Recipient: rfc822; a{at}@b.test\n\n")).collect();
        told_by(&all).unwrap().recipients
    };
    assert_eq!(many(RECIPIENTS_MAX).len(), RECIPIENTS_MAX);
    assert_eq!(many(RECIPIENTS_MAX + 1), many(RECIPIENTS_MAX));
    let long = |bytes: usize| {
        let status = format!("Final-Recipient: a@b.test\nDiagnostic-Code: smtp; {}", "x".repeat(bytes));
        told_by(&status).unwrap().recipients[0].diagnostic.as_ref().unwrap().len()
    };
    assert_eq!((long(TEXT_BYTES_MAX), long(TEXT_BYTES_MAX + 1)), (TEXT_BYTES_MAX, TEXT_BYTES_MAX));
    let id = |bytes: usize| {
        let returned = RETURNED.replace("one@a.test", &"x".repeat(bytes));
        let status = "Content-Type: message/delivery-status\n\nFinal-Recipient: a@b.test\n";
        read(report(&[status, &returned]).as_bytes()).unwrap().message_id.map(|id| id.len())
    };
    assert_eq!((id(ID_BYTES_MAX), id(ID_BYTES_MAX + 1)), (Some(ID_BYTES_MAX), None));
}

proptest! {
    /// What we write we read.
    #[test]
    fn our_own_notices_read_back(
        kind in prop::sample::select(vec![
            Kind::Failed, Kind::Delayed { until: Timestamp(2_000) }, Kind::Delivered, Kind::Relayed, Kind::Expanded,
        ]),
        to in prop::collection::vec(("[a-z0-9.+]{1,20}@[a-z]{1,20}\\.test", 0u16..=999, 0u16..=999, "[ -~]{0,80}"), 1..5),
        headers_only: bool,
        smtputf8: bool,
        remote in prop::option::of("[a-z]{1,20}\\.test"),
    ) {
        let original = Bytes::from_static(b"Message-ID: <one@a.test>\r\n\r\nHi.\r\n");
        let about = About {
            sender: "a@a.test",
            envid: None,
            ret: headers_only.then_some(Ret::Headers),
            smtputf8,
            arrived: Timestamp(0),
            text: &original,
            own_name: "mx.a.test",
            now: Timestamp(1_000),
            dice: 7,
            remote: remote.as_deref(),
        };
        let of: Vec<notice::Recipient<'_>> = to
            .iter()
            .map(|(address, subject, detail, said)| notice::Recipient {
                address,
                orcpt: Some("rfc822;team@a.test"),
                status: format!("5.{subject}.{detail}"),
                said: Some(said.clone()),
            })
            .collect();
        let found = read(&notice(kind, &about, &of)).unwrap();
        prop_assert_eq!(found.reporting_mta.as_deref(), Some("mx.a.test"));
        prop_assert_eq!(found.message_id.as_deref(), Some("one@a.test"));
        prop_assert_eq!(found.recipients.len(), to.len());
        for (found, (address, subject, detail, said)) in found.recipients.iter().zip(&to) {
            prop_assert_eq!(found.final_recipient.as_ref(), Some(address));
            prop_assert_eq!(found.original_recipient.as_deref(), Some("team@a.test"));
            prop_assert_eq!(found.status, Some(Status(5, *subject, *detail)));
            prop_assert_eq!(found.diagnostic.as_deref().unwrap_or_default(), said.trim());
            prop_assert_eq!(&found.remote_mta, &remote);
            prop_assert!(found.action.is_some());
        }
    }

    #[test]
    fn hostile_status_is_read_within_the_bounds(
        lines in prop::collection::vec(prop::sample::select(vec![
            "\n", "\r\n", " \n", "\r", "Final-Recipient: rfc822; a@b", "Final-Recipient:", "Original-Recipient: ;;", "Status: 5..1",
            "Status: 5.1.1", "Action: \u{fc}", "Reporting-MTA: dns;", "Diagnostic-Code: smtp;\n \u{0}x", "no field", ": x",
        ]), 0..60),
        any in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let status = [lines.join("\n").into_bytes(), any].concat();
        let whole = [b"Content-Type: message/delivery-status\n\n".as_slice(), &status].concat();
        if let Some(found) = read(&whole) {
            prop_assert!((1..=RECIPIENTS_MAX).contains(&found.recipients.len()));
            for it in found.recipients {
                let texts = [it.final_recipient, it.original_recipient, it.diagnostic, it.remote_mta];
                for text in texts.into_iter().flatten() {
                    prop_assert!(!text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control));
                }
            }
        }
    }
}

/// Files in which we differ on purpose, with the reason.
const ELSEWISE: &[(&str, &str)] =
    &[("bsd/rfc3464-35.eml", "a blank stands before a delimiter, which then is none")];

/// What another reader of MIME finds of a mail, and a plain look at lines: each `Status` in groups of them that name a
/// recipient, and the Message-ID of a mail that came back whole.
fn found_by_others(raw: &[u8]) -> (Vec<String>, Option<String>) {
    let Some(message) = MessageParser::default().parse(raw) else { return (Vec::new(), None) };
    let is_status = |part: &&MessagePart<'_>| {
        part.content_type().is_some_and(|kind| {
            let sub = kind.c_subtype.as_deref().unwrap_or_default();
            kind.c_type.eq_ignore_ascii_case("message")
                && sub.to_ascii_lowercase().ends_with("delivery-status")
        })
    };
    let Some(status) = message.parts.iter().find(is_status) else { return (Vec::new(), None) };
    let text = String::from_utf8_lossy(status.contents()).replace("\r\n", "\n").to_ascii_lowercase();
    let of_group = |group: &str| -> Vec<String> {
        let values = |name: &str| -> Vec<String> {
            let values = group.lines().filter_map(|line| line.strip_prefix(name));
            values.filter_map(|value| value.split_whitespace().next().map(str::to_owned)).collect()
        };
        if values("final-recipient:").is_empty() { Vec::new() } else { values("status:") }
    };
    let statuses = text.split("\n\n").flat_map(of_group).collect();
    let returned = message.parts.iter().find_map(|part| match &part.body {
        PartType::Message(message) => message.message_id().map(str::to_owned),
        _ => None,
    });
    (statuses, returned)
}

/// Notices of many servers, without a word of what is to be read in them. Those of the folder `mac` end their lines with CR
/// alone, which no mail does.
#[test]
fn the_notices_of_others_are_read() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let root = std::env::var_os("POLLUX_CORPORA").map_or_else(beside, PathBuf::from).join("sisimai/maildir");
    if !root.is_dir() {
        return eprintln!("skipped: there is no {}", root.display());
    }
    let (mut notices, mut with_id, mut others, mut differ) = (0, 0, 0, Vec::new());
    for folder in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let raw = std::fs::read(&path).unwrap();
            let (statuses, id) = found_by_others(&raw);
            let (ours, our_id) = match read(&raw) {
                Some(found) => {
                    notices += 1;
                    with_id += usize::from(found.message_id.is_some());
                    let statuses = found.recipients.iter().filter_map(|it| it.status);
                    (statuses.map(|status| status.to_string()).collect(), found.message_id)
                }
                None => {
                    others += 1;
                    (Vec::new(), None)
                }
            };
            if ours != statuses || (!ours.is_empty() && id.is_some() && our_id != id) {
                let name = path.strip_prefix(&root).unwrap().display();
                differ.push(format!("{name}: {ours:?} {our_id:?}, by others {statuses:?} {id:?}"));
            }
        }
    }
    eprintln!("{notices} are of RFC 3464, {with_id} of them name their mail; {others} are something else");
    let is_meant = |it: &&String| ELSEWISE.iter().any(|(name, _)| it.starts_with(&format!("{name}:")));
    let unexplained: Vec<&String> = differ.iter().filter(|it| !is_meant(it)).collect();
    assert!(unexplained.is_empty(), "{}: {unexplained:#?}", unexplained.len());
    assert_eq!(differ.len(), ELSEWISE.len(), "some differ no longer: {differ:#?}");
    assert!(notices > 300, "{notices}");
}
