//! What the postmaster reads of an alarm. Pure text.

use bytes::Bytes;

use crate::admin::status::rfc3339;
use crate::mail::date::rfc5322_date;
use crate::mail::ids::Timestamp;
use crate::state::alarms::{Alarm, AlarmId};

pub struct Letter<'a> {
    pub hostname: &'a str,
    /// As `smtp.postmaster` names them.
    pub to: &'a [String],
    pub now: Timestamp,
    /// Rolled; in the message id.
    pub dice: u64,
    pub alarm: AlarmId,
    /// The node's name; `None`: the cluster as a whole.
    pub about: Option<String>,
    /// The node that writes.
    pub by: &'a str,
}

pub enum News<'a> {
    Raised { note: &'a str },
    Over { known: &'a Alarm },
}

impl Letter<'_> {
    /// The whole message, its lines ended by CRLF.
    pub fn text(&self, news: &News<'_>) -> Bytes {
        let Self { hostname, now, dice, by, .. } = self;
        let (kind, about) = (self.alarm.kind.word(), self.about.as_deref().unwrap_or("the cluster"));
        let (front, lines) = match news {
            News::Raised { note } => ("Alarm", vec![format!("{note}.")]),
            News::Over { known } => (
                "Over",
                vec![
                    format!("Over since {}. It was, since {}:", rfc3339(*now), rfc3339(known.since)),
                    format!("{}.", known.note),
                ],
            ),
        };
        // A bare name is a user of every domain: the header needs one of them whole, and a group names nobody (RFC 6854).
        let whole: Vec<&str> = self.to.iter().map(String::as_str).filter(|to| to.contains('@')).collect();
        let to = if whole.is_empty() { "postmaster:;".to_owned() } else { whole.join(",\r\n\t") };
        let mut text = format!(
            "Return-Path: <>\r\nDate: {}\r\nFrom: Pollux <MAILER-DAEMON@{hostname}>\r\nTo: {to}\r\n\
             Subject: {front}: {kind}, {about}\r\nMessage-ID: <{dice:016x}.{now}@{hostname}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
            rfc5322_date(*now)
        );
        for line in lines {
            text.push_str(&line);
            text.push_str("\r\n");
        }
        text.push_str(&format!("\r\nSeen by {by}. 'pollux cluster status' tells more.\r\n"));
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::NodeId;
    use crate::state::alarms::AlarmKind;

    #[test]
    fn a_letter_of_an_alarm_and_one_of_its_end() {
        let id = AlarmId { kind: AlarmKind::Degraded, about: Some(NodeId(2)) };
        let letter = Letter {
            hostname: "mx1.example.test",
            to: &["root".to_owned(), "ops@away.test".to_owned(), "b@away.test".to_owned()],
            now: Timestamp(1_795_651_201_000),
            dice: 0xab,
            alarm: id,
            about: Some("node2".to_owned()),
            by: "node1",
        };
        let note = "node2 does not answer";
        let raised = "Return-Path: <>\r\nDate: Thu, 26 Nov 2026 00:00:01 +0000\r\nFrom: Pollux <MAILER-DAEMON@mx1.example.test>\r\n\
            To: ops@away.test,\r\n\tb@away.test\r\nSubject: Alarm: degraded, node2\r\n\
            Message-ID: <00000000000000ab.1795651201000@mx1.example.test>\r\nAuto-Submitted: auto-generated\r\n\
            MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nnode2 does not answer.\r\n\r\n\
            Seen by node1. 'pollux cluster status' tells more.\r\n";
        assert_eq!(letter.text(&News::Raised { note }), raised);
        let (since, by, note) = (Timestamp(1_795_651_141_000), NodeId(1), note.to_owned());
        let known = Alarm { id, since, by, note, mailed: true };
        let text = letter.text(&News::Over { known: &known });
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains("Subject: Over: degraded, node2\r\n"), "{text}");
        assert!(
            text.contains(
                "Over since 2026-11-26T00:00:01Z. It was, since 2026-11-25T23:59:01Z:\r\nnode2 does"
            ),
            "{text}"
        );
        let nobody = Letter { to: &["root".to_owned()], about: None, ..letter };
        let text = nobody.text(&News::Raised { note: "x" });
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(
            text.contains("To: postmaster:;\r\n") && text.contains("degraded, the cluster\r\n"),
            "{text}"
        );
    }
}
