//! The text of a report: JSON (RFC 8460 4.4), packed (RFC 1952), and the mail that carries it (5.3). Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::mail::address::Address;
use crate::mail::date::rfc5322_date;
use crate::mail::ids::Timestamp;
use crate::state::tls_reports::{Day, FailedSession, PolicyTally, TlsPolicyKind, TlsResult};

/// Characters of a line of base64 (RFC 2045 6.8).
const BASE64_LINE: usize = 76;

/// What one report tells, and whose it is.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    pub domain: &'a str,
    pub day: Day,
    pub since: Timestamp,
    /// The last moment of it.
    pub until: Timestamp,
    pub policies: &'a [PolicyTally],
    /// Of this day and domain, from 1 on.
    pub number: u32,
    /// In whose name it is.
    pub from: &'a Address,
    pub own_name: &'a str,
}

impl Report<'_> {
    /// Like no other's, and the same however often this one is made.
    pub fn id(&self) -> String {
        format!("{}.{}.{}@{}", date(self.day.begins()), self.number, self.domain, self.own_name)
    }

    fn submitter(&self) -> &str {
        self.from.domain()
    }

    pub fn json(&self) -> String {
        let policies: Vec<Value> = self.policies.iter().map(policy).collect();
        let report = json!({
            "organization-name": self.submitter(),
            "date-range": { "start-datetime": rfc3339(self.since), "end-datetime": rfc3339(self.until) },
            "contact-info": self.from.to_string(),
            "report-id": self.id(),
            "policies": policies,
        });
        report.to_string()
    }

    /// RFC 8460 5.1.
    fn file_name(&self) -> String {
        let (begin, end) = (self.since.0 / 1_000, self.until.0 / 1_000);
        format!("{}!{}!{begin}!{end}!{}.json.gz", self.submitter(), self.domain, self.number)
    }

    /// The whole message, its lines ended by CRLF. `dice` tells boundaries and message ids apart.
    pub fn mail(&self, to: &Address, packed: &[u8], (now, dice): (Timestamp, u64)) -> String {
        let boundary = format!("=_{dice:016x}.{}", self.own_name);
        let mut text = String::new();
        let mut line = |parts: &[&str]| {
            parts.iter().for_each(|part| text.push_str(part));
            text.push_str("\r\n");
        };
        let (from, domain, submitter) = (self.from.to_string(), self.domain, self.submitter());
        line(&["Return-Path: <", &from, ">"]);
        line(&["Date: ", &rfc5322_date(now)]);
        line(&["From: <", &from, ">"]);
        line(&["To: <", &to.to_string(), ">"]);
        line(&["Subject: Report Domain: ", domain]);
        line(&[" Submitter: ", submitter]);
        line(&[" Report-ID: <", &self.id(), ">"]);
        line(&["Message-ID: <", &format!("{dice:016x}.{now}"), "@", self.own_name, ">"]);
        line(&["TLS-Report-Domain: ", domain]);
        line(&["TLS-Report-Submitter: ", submitter]);
        // RFC 8460 5.3: it tells of TLS that fails, and must not fail for that (RFC 8689 3).
        line(&["TLS-Required: No"]);
        line(&["Auto-Submitted: auto-generated"]);
        line(&["MIME-Version: 1.0"]);
        line(&["Content-Type: multipart/report; report-type=\"tlsrpt\";"]);
        line(&["\tboundary=\"", &boundary, "\""]);
        line(&[]);
        line(&["--", &boundary]);
        line(&["Content-Type: text/plain; charset=us-ascii"]);
        line(&[]);
        line(&["This is a report on TLS with the mail servers of ", domain, ","]);
        line(&["of mail that ", submitter, " sent there on ", &date(self.day.begins()), " (UTC)."]);
        line(&[]);
        line(&["--", &boundary]);
        line(&["Content-Type: application/tlsrpt+gzip"]);
        line(&["Content-Transfer-Encoding: base64"]);
        line(&["Content-Disposition: attachment;"]);
        line(&["\tfilename=\"", &self.file_name(), "\""]);
        line(&[]);
        let encoded = STANDARD.encode(packed);
        for part in encoded.as_bytes().chunks(BASE64_LINE) {
            line(&[&String::from_utf8_lossy(part)]);
        }
        line(&["--", &boundary, "--"]);
        text
    }
}

fn policy(tally: &PolicyTally) -> Value {
    let kind = match tally.policy.kind {
        TlsPolicyKind::None => "no-policy-found",
        TlsPolicyKind::Sts => "sts",
        TlsPolicyKind::Tlsa => "tlsa",
    };
    let mut policy = json!({ "policy-type": kind, "policy-domain": tally.policy.domain });
    if !tally.policy.lines.is_empty() {
        policy["policy-string"] = json!(tally.policy.lines);
    }
    let mx: Vec<&str> = tally.policy.lines.iter().filter_map(|line| line.strip_prefix("mx: ")).collect();
    if tally.policy.kind == TlsPolicyKind::Sts && !mx.is_empty() {
        policy["mx-host"] = json!(mx);
    }
    let mut shown = json!({
        "policy": policy,
        "summary": {
            "total-successful-session-count": tally.successful,
            "total-failure-session-count": tally.failed,
        },
    });
    if !tally.failures.is_empty() {
        shown["failure-details"] = tally.failures.iter().map(failure).collect();
    }
    shown
}

fn failure((failed, count): &(FailedSession, u64)) -> Value {
    let mut shown = json!({ "result-type": name(failed.result), "failed-session-count": count });
    let texts = [
        ("sending-mta-ip", failed.sending_ip.map(|ip| ip.to_string())),
        ("receiving-mx-hostname", failed.mx.clone()),
        ("receiving-ip", failed.receiving_ip.map(|ip| ip.to_string())),
        ("failure-reason-code", Some(failed.reason.clone()).filter(|reason| !reason.is_empty())),
    ];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
        shown[key] = json!(text);
    }
    shown
}

fn name(result: TlsResult) -> &'static str {
    match result {
        TlsResult::StarttlsNotSupported => "starttls-not-supported",
        TlsResult::CertificateHostMismatch => "certificate-host-mismatch",
        TlsResult::CertificateExpired => "certificate-expired",
        TlsResult::CertificateNotTrusted => "certificate-not-trusted",
        TlsResult::ValidationFailure => "validation-failure",
        TlsResult::TlsaInvalid => "tlsa-invalid",
        TlsResult::StsPolicyFetchError => "sts-policy-fetch-error",
        TlsResult::StsPolicyInvalid => "sts-policy-invalid",
        TlsResult::StsWebpkiInvalid => "sts-webpki-invalid",
    }
}

fn instant(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(at.0).unwrap_or(i64::MAX)).unwrap_or_default()
}

fn rfc3339(at: Timestamp) -> String {
    instant(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn date(at: Timestamp) -> String {
    instant(at).format("%Y-%m-%d").to_string()
}

/// RFC 1952, without a name or a time.
pub fn packed(text: &str) -> Vec<u8> {
    const LEVEL: u8 = 6;
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    bytes.extend(miniz_oxide::deflate::compress_to_vec(text.as_bytes(), LEVEL));
    bytes.extend(crc32fast::hash(text.as_bytes()).to_le_bytes());
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::header;
    use crate::state::tls_reports::TlsPolicy;

    fn tallies() -> Vec<PolicyTally> {
        let failed = FailedSession {
            result: TlsResult::CertificateExpired,
            sending_ip: Some([192, 0, 2, 1].into()),
            mx: Some("mx.x.test".to_owned()),
            receiving_ip: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
            reason: "old \"and\" cold".to_owned(),
        };
        let bare = FailedSession {
            result: TlsResult::StsPolicyFetchError,
            sending_ip: None,
            mx: None,
            receiving_ip: None,
            reason: String::new(),
        };
        let lines = ["version: STSv1", "mode: enforce", "mx: *.x.test", "max_age: 86400"];
        let lines = lines.map(str::to_owned).to_vec();
        let sts = TlsPolicy { kind: TlsPolicyKind::Sts, domain: "x.test".to_owned(), lines };
        let none = TlsPolicy { kind: TlsPolicyKind::None, domain: "x.test".to_owned(), lines: Vec::new() };
        vec![
            PolicyTally { policy: sts, successful: 5, failed: 3, failures: vec![(failed, 2), (bare, 1)] },
            PolicyTally { policy: none, successful: 1, failed: 0, failures: Vec::new() },
        ]
    }

    fn report<'a>(policies: &'a [PolicyTally], from: &'a Address) -> Report<'a> {
        let day = Day(19_675);
        Report {
            domain: "x.test",
            day,
            since: day.begins(),
            until: Timestamp(day.next().begins().0 - 1_000),
            policies,
            number: 1,
            from,
            own_name: "mx.example.test",
        }
    }

    #[test]
    fn a_report_says_what_rfc_8460_wants_to_be_said() {
        let (tallies, from) = (tallies(), Address::parse("postmaster@example.test").unwrap());
        let told: Value = serde_json::from_str(&report(&tallies, &from).json()).unwrap();
        let expected = json!({
            "organization-name": "example.test",
            "date-range": {
                "start-datetime": "2023-11-14T00:00:00Z",
                "end-datetime": "2023-11-14T23:59:59Z",
            },
            "contact-info": "postmaster@example.test",
            "report-id": "2023-11-14.1.x.test@mx.example.test",
            "policies": [
                {
                    "policy": {
                        "policy-type": "sts",
                        "policy-string": ["version: STSv1", "mode: enforce", "mx: *.x.test", "max_age: 86400"],
                        "policy-domain": "x.test",
                        "mx-host": ["*.x.test"],
                    },
                    "summary": { "total-successful-session-count": 5, "total-failure-session-count": 3 },
                    "failure-details": [
                        {
                            "result-type": "certificate-expired",
                            "sending-mta-ip": "192.0.2.1",
                            "receiving-mx-hostname": "mx.x.test",
                            "receiving-ip": "2001:db8::1",
                            "failed-session-count": 2,
                            "failure-reason-code": "old \"and\" cold",
                        },
                        { "result-type": "sts-policy-fetch-error", "failed-session-count": 1 },
                    ],
                },
                {
                    "policy": { "policy-type": "no-policy-found", "policy-domain": "x.test" },
                    "summary": { "total-successful-session-count": 1, "total-failure-session-count": 0 },
                },
            ],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn its_mail_is_one_that_receivers_know() {
        let (tallies, from) = (tallies(), Address::parse("postmaster@example.test").unwrap());
        let (report, to) = (report(&tallies, &from), Address::parse("tls@x.test").unwrap());
        let packed = packed(&report.json());
        let mail = report.mail(&to, &packed, (Timestamp(1_700_006_400_000), 7));
        assert!(mail.split("\r\n").all(|line| line.len() <= 100 && !line.contains(['\r', '\n'])), "{mail}");
        let field = |name: &str| {
            let field = header::find(mail.as_bytes(), name).unwrap_or_else(|| panic!("{name}"));
            String::from_utf8_lossy(field.value).replace("\r\n", "").trim().to_owned()
        };
        for (name, value) in [
            (
                "Subject",
                "Report Domain: x.test Submitter: example.test Report-ID: <2023-11-14.1.x.test@mx.example.test>",
            ),
            ("From", "<postmaster@example.test>"),
            ("To", "<tls@x.test>"),
            ("TLS-Report-Domain", "x.test"),
            ("TLS-Report-Submitter", "example.test"),
            ("TLS-Required", "No"),
        ] {
            assert_eq!(field(name), value);
        }
        assert!(field("Content-Type").starts_with("multipart/report; report-type=\"tlsrpt\";"));
        assert!(
            mail.contains("filename=\"example.test!x.test!1699920000!1700006399!1.json.gz\"\r\n"),
            "{mail}"
        );
        let (_, part) = mail.split_once("!1.json.gz\"\r\n\r\n").unwrap();
        let (encoded, _) = part.split_once("\r\n--").unwrap();
        assert_eq!(STANDARD.decode(encoded.replace("\r\n", "")).unwrap(), packed);
    }

    #[test]
    fn what_is_packed_unpacks() {
        let text = "a report ".repeat(1_000);
        let packed = packed(&text);
        assert!(packed.len() < text.len() / 10 && packed.starts_with(&[0x1f, 0x8b, 8]));
        let (body, end) = packed[10..].split_at(packed.len() - 18);
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(body).unwrap(), text.as_bytes());
        assert_eq!(end[..4], crc32fast::hash(text.as_bytes()).to_le_bytes());
        assert_eq!(end[4..], (text.len() as u32).to_le_bytes());
    }
}
